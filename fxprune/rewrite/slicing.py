"""Groups + removed units → the compact tensors. There is one way to slice, for every tensor and dimension."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fxprune.groups import Groups
from fxprune.groups.labels import Axis, Ids, Labels

__all__ = ["Kept", "Slicer"]

Kept = dict[str, dict[int, tuple[int, ...]]]  # original name → dimension → kept indices, where something was lost


@dataclass(frozen=True, slots=True, eq=False)
class Slicer:
    """Which coordinates live once some units are removed."""

    groups: Groups
    removed: Ids  # unit numbers
    alive: NDArray[np.bool_]  # of each id
    known: dict[int, NDArray[np.bool_] | None] = field(default_factory=dict, repr=False)  # id vector → who lives

    @classmethod
    def of(cls, groups: Groups, removed: Ids) -> Slicer:
        """The slicer that removes these units."""
        return cls(groups, removed, groups.alive(removed))

    def lives(self, axis: Axis | None) -> NDArray[np.bool_] | None:
        """Along an axis, who lives; None if everybody does."""
        if axis is None:
            return None
        key = id(axis.ids)  # labels live as long as the groups do
        if key not in self.known:
            alive = self.alive[axis.ids]
            self.known[key] = None if alive.all() else alive
        return self.known[key]

    def kept(self, filled: bool = False) -> Kept:
        """Kept indices of every parameter and buffer that lost something.

        Of a grouped convolution whose groups keep different channels, the weight's columns are not listed: what goes
        into those that went is zero. `filled` adds -1 for each row of zeros that fills a block up, so that there is an
        index for each coordinate of the compact tensor.
        """
        found: Kept = {}
        own = self.groups.traced.named()
        for name, labels in self.groups.labelled.names.items():
            if name not in own:
                continue
            for dim, alive in enumerate(self._masks(labels)):
                if alive is not None:
                    at = _in_blocks(alive, labels.blocks) if dim == 0 else np.flatnonzero(alive)
                    found.setdefault(name, {})[dim] = tuple((at if filled else at[at >= 0]).ravel().tolist())
        return found

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer of the compact network, by original name; shared ones stay shared.

        Parameters keep their `requires_grad`; all are copies, on the device they were on.
        """
        made: dict[int, torch.Tensor] = {}
        result = {}
        originals = self.groups.labelled.tensors
        for name in self.groups.labelled.names:
            tensor = originals[name]
            if id(tensor) not in made:
                value = self.cut(name, tensor.detach())
                made[id(tensor)] = (
                    nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
                )
            result[name] = made[id(tensor)]
        return result

    def cut(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """What the compact network has of a tensor shaped like the one of that name: a copy, on its device."""
        labels = self.groups.labelled.names.get(name)
        if labels is None:
            return value.clone()
        if labels.blocks > 1:
            return self._blocks(labels, value)
        masks = self._masks(labels)
        if all(alive is None for alive in masks):
            return value.clone()
        for dim, alive in enumerate(masks):
            if alive is not None:
                value = value.index_select(dim, torch.from_numpy(np.flatnonzero(alive)).to(value.device))
        return value

    def masked(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer of the original network, with the removed slices set to zero."""
        made: dict[int, torch.Tensor] = {}
        result = {}
        originals = self.groups.labelled.tensors
        for name, labels in self.groups.labelled.names.items():
            tensor = originals[name]
            if id(tensor) not in made:
                value = tensor.detach()
                for dim, alive in enumerate(self._masks(labels)):
                    if alive is not None:
                        shape = [1] * tensor.dim()
                        shape[dim] = -1
                        mask = torch.from_numpy(alive).to(value.device).reshape(shape)
                        value = torch.where(mask, value, torch.zeros((), dtype=value.dtype, device=value.device))
                made[id(tensor)] = value
            result[name] = made[id(tensor)]
        return result

    def _masks(self, labels: Labels) -> list[NDArray[np.bool_] | None]:
        """Along each dimension, who lives; None: everybody, or not the same in all rows."""
        masks = [self.lives(axis) for axis in labels.axes]
        if labels.narrow is not None:
            units = self.groups.unit_of[labels.narrow.ids].reshape(labels.blocks, -1)
            alive = self.lives(labels.narrow)
            if alive is not None and (units == units[0]).all():
                masks[1] = alive[: units.shape[1]]
        return masks

    def _blocks(self, labels: Labels, value: torch.Tensor) -> torch.Tensor:
        """Each block's own rows and columns, filled up with zeros to the size of the fullest block."""
        blocks = value.reshape(labels.blocks, -1, *value.shape[1:])
        for dim, axis in ((1, labels.axes[0]), (2, labels.narrow)):
            alive = self.lives(axis)
            if alive is None:
                continue
            at = _in_blocks(alive, labels.blocks)
            within = torch.from_numpy(np.where(at < 0, at, at % (alive.size // labels.blocks))).to(value.device)
            index = within.reshape(len(at), *(-1 if d == dim else 1 for d in range(1, blocks.dim())))
            sizes = [at.shape[1] if d == dim else size for d, size in enumerate(blocks.shape)]
            blocks = blocks.gather(dim, index.clamp(min=0).expand(sizes)).masked_fill(index < 0, 0)
        return blocks.flatten(0, 1).clone()


def _in_blocks(alive: NDArray[np.bool_], blocks: int) -> Ids:
    """(blocks, most) indices of those that live, block by block; -1 fills up what is shorter than the fullest."""
    rows = [np.flatnonzero(row) for row in alive.reshape(blocks, -1)]
    size, most = alive.size // blocks, max(map(len, rows))
    return np.stack([np.pad(row + k * size, (0, most - len(row)), constant_values=-1) for k, row in enumerate(rows)])
