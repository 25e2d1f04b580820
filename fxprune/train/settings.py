"""How a spec is trained, as values: data, rates, batches, averaging. `reading.py` reads them from a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fxprune.schedule import Rate
from fxprune.train.optim import Loss, Optimizing

__all__ = ["Data", "Settings", "Source", "Training"]


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures, as a spec names them."""

    name: str  # a folder, or dead_leaves
    count: int | None = None  # of dead leaves: how many pictures
    size: int | None = None  # pixels of a side
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The `data` statement. The defaults are the field's."""

    training: tuple[Source, ...] = ()  # none: what the command line gives, or dead leaves
    validation: tuple[Source, ...] = ()
    patch: int = 48  # LR pixels of a side
    batch: int = 16  # patches a step, over all processes
    flips: bool = True
    rotations: bool = True
    workers: int = 2  # threads that prepare batches
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """How one phase is trained."""

    rate: Rate
    batch: int
    patch: int
    ema: float | None = None  # decay of the running mean of the weights, which is the phase's result
    clip: float | None = None  # largest norm of the loss's gradient
    log: int | None = None  # steps between two reports; None: by the length of the phase
    validate: int | None = None  # steps between two validations; None: at the end alone
    init: bool = False  # begins from new weights
    psnr: float | None = None  # ends it when validation reaches this
    loss: float | None = None  # ends it when the mean loss between two reports falls to this

    def interval(self, length: int | None) -> int:
        """Steps between two reports: by default ten in a short phase, one every hundred steps in a long one."""
        return self.log or max(1, min(100, (length or 1000) // 10))


@dataclass(frozen=True, slots=True)
class Training:
    """How a whole spec is trained."""

    data: Data
    loss: Loss
    optimizer: Optimizing
    precision: str  # as lightning-fabric writes it
    phases: Mapping[int, Settings]  # by number of the item in the program
