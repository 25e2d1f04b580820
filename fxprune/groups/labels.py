"""Coordinate ids in, ties out: the vocabulary in which the rules speak.

Every dimension of every parameter and buffer gets fresh ids, one per coordinate. An activation's dimension either
carries such ids (`Axis`) or none (`None`: its coordinates must all exist, like the pixels of an image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FIXED",
    "Axis",
    "Count",
    "Event",
    "Ids",
    "Labels",
    "Place",
    "Protection",
    "Ties",
    "Value",
    "fresh",
    "fullest",
]

Ids = NDArray[np.int64]

FIXED = 0  # the one id that stands for "this coordinate must exist"


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The ids along one dimension of one tensor."""

    ids: Ids  # one id per coordinate; an id may appear several times
    zero: bool  # the slice at a removed coordinate is exactly zero in the masked network
    alike: bool = False  # not zero, but the same at every removed coordinate, and made by elementwise ops from zeros

    def take(self, positions: Ids) -> Axis:
        """The axis after its coordinates were moved; position -1 holds a constant, which must exist."""
        return Axis(np.where(positions < 0, FIXED, self.ids[positions]), self.zero, self.alike)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is known of one tensor."""

    axes: tuple[Axis | None, ...]  # one per dimension; None: fixed, nothing here can be removed
    weight: bool = False  # made from parameters and buffers alone
    blocks: int = 1  # of a grouped convolution's weight and bias: dimension 0 is held in so many blocks of one size
    narrow: Axis | None = None  # and of the weight: input channels, of which each row sees its block's in dimension 1

    @property
    def bare(self) -> bool:
        """True if no dimension carries ids."""
        return all(axis is None for axis in self.axes)

    def stored(self, shape: Sequence[int], alive: NDArray[np.bool_]) -> tuple[int, ...]:
        """The shape of a tensor once only the ids that are `alive` live; blocks are as large as the fullest."""
        sizes = [size if a is None else int(alive[a.ids].sum()) for size, a in zip(shape, self.axes, strict=True)]
        if self.blocks > 1 and self.axes[0] is not None:
            sizes[0] = self.blocks * fullest(alive[self.axes[0].ids], self.blocks)
        if self.narrow is not None:
            sizes[1] = fullest(alive[self.narrow.ids], self.blocks)
        return tuple(sizes)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One tensor that flows out of an fx node."""

    shape: tuple[int, ...]
    labels: Labels


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the graph something was found."""

    node: str  # name of the fx node
    op: str  # the operation in the user's words, e.g. "add"
    path: str  # module path of the node, "" at the top


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Ids tied pairwise at one place."""

    a: Ids
    b: Ids
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Protection:
    """Ids that must exist, and why."""

    ids: Ids
    reason: str | None  # in the user's words; None: by construction, not worth a line (kernel taps, image inputs)
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """One product's multiply-accumulates, in equal parts; each part shrinks with what lives of its letters."""

    node: str
    macs: int  # with every coordinate present
    parts: tuple[tuple[Ids, ...], ...]  # for each part, the labelled dimensions whose product it is proportional to;
    # ids in two dimensions are blocks, of which the fullest counts


@dataclass(slots=True)
class Ties:
    """The book that rules write into while the graph is run once."""

    events: list[Event] = field(default_factory=list)
    protections: list[Protection] = field(default_factory=list)
    produced: list[tuple[Ids, Place]] = field(default_factory=list)  # output dimensions of weights
    consumed: list[tuple[Ids, Place]] = field(default_factory=list)  # input dimensions of weights
    counts: list[Count] = field(default_factory=list)

    def tie(self, a: Ids, b: Ids, place: Place) -> None:
        """Coordinates `a[i]` and `b[i]` live or go together."""
        if a is not b:
            self.events.append(Event(a, b, place))

    def protect(self, ids: Ids, reason: str | None, place: Place) -> None:
        """Coordinates `ids` must exist."""
        self.protections.append(Protection(ids, reason, place))


def fullest(alive: NDArray[np.bool_], blocks: int) -> int:
    """How many live in that one of so many equal blocks in which most do."""
    return int(alive.reshape(blocks, -1).sum(1).max())


def fresh(shape: tuple[int, ...], start: int, zero: bool, blocks: int = 1) -> tuple[Labels, int]:
    """Labels with fresh ids for a tensor of this shape, and the next free id.

    `zero`: it is a parameter or buffer, whose removed slices the masked network sets to zero. `blocks`: the groups of
    the convolution whose weight or bias it is, where these keep their own channels.

    A dimension of one coordinate gets none: something of it always lives.
    """
    axes: list[Axis | None] = []
    narrow = None
    for dim, size in enumerate(shape):
        if blocks > 1 and dim == 1:
            narrow = Axis(np.arange(start, start + blocks * size), zero)
            start += blocks * size
        elif size > 1:
            axes.append(Axis(np.arange(start, start + size), zero))
            start += size
            continue
        axes.append(None)
    return Labels(tuple(axes), True, blocks, narrow), start
