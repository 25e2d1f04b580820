"""Image sets → the batches of every phase, in one process of several."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from fxprune.train.material import Material
from fxprune.train.patches import PatchSource
from fxprune.train.settings import Data

__all__ = ["Batches"]


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Where batches come from. One source for each size of batch and patch: phases share its decoded pictures."""

    images: Material
    data: Data
    rank: int = 0
    world: int = 1
    sources: dict[tuple[int, int], PatchSource] = field(default_factory=dict, repr=False)

    def of(self, batch: int, patch: int) -> PatchSource:
        """The batches of so many patches of this size.

        Raises:
            InputError: no picture is large enough, or the batch does not divide by the processes.
        """
        key = (batch, patch)
        if key not in self.sources:
            self.sources[key] = self._source(batch, patch, self.rank, self.world)
        return self.sources[key]

    def whole(self, batch: int, patch: int, step: int) -> tuple[Tensor, Tensor]:
        """The LR and HR patches of a step of all processes together."""
        return self._source(batch, patch, 0, 1).batch(step)

    @property
    def epoch(self) -> int:
        """Steps of an epoch: as many patches as there are pictures."""
        return next((source.steps_per_epoch for source in self.sources.values()), 1)

    def _source(self, batch: int, patch: int, rank: int, world: int) -> PatchSource:
        data = self.data
        return PatchSource(
            self.images.training,
            patch=patch,
            batch=batch,
            seed=data.seed,
            rank=rank,
            world=world,
            flip=data.flips,
            rotate=data.rotations,
        )
