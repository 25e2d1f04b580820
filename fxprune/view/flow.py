"""A network as its author thinks of it: layers and the ops that matter, and what flows between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fxprune.groups import Groups

__all__ = ["Edge", "Flow", "Portion", "Stop"]


@dataclass(frozen=True, slots=True)
class Portion:
    """Channels of one value that belong to one group."""

    group: int | None  # index of the group; None: nothing that could be removed
    before: int  # channels
    after: int  # channels left by the plan; all of them without one


@dataclass(frozen=True, slots=True)
class Stop:
    """One node of the picture."""

    node: str  # name of the fx node
    path: str  # of a layer, its module path; of an op, that of the module whose forward it stands in
    kind: str  # layer, op, input, output
    what: str  # "Conv2d 3×3", "add"
    boxes: tuple[tuple[str, str], ...]  # modules that were called to get here, outermost first: (call, path)
    tensors: tuple[str, ...]  # parameters and buffers used here, by the names that groups have for them
    enters: tuple[Portion, ...]  # channels of what flows in
    leaves: tuple[Portion, ...]  # channels of what flows out
    groups: tuple[int, ...]  # groups that have one of the tensors as a member
    ties: bool  # whether channels are tied together here
    reason: str | None = None  # why its filters are protected

    @property
    def made(self) -> tuple[int, ...]:
        """Groups of the channels that leave it."""
        return tuple(p.group for p in self.leaves if p.group is not None)

    def width(self, side: str, after: bool = False) -> int:
        """Channels that enter or leave."""
        portions = self.enters if side == "enters" else self.leaves
        return sum(p.after if after else p.before for p in portions)


@dataclass(frozen=True, slots=True)
class Edge:
    """Something flows from one stop to another, by their positions."""

    source: int
    target: int
    residual: bool  # it is added to what was made of it


@dataclass(frozen=True, slots=True)
class Flow:
    """The contracted graph, in the order of execution."""

    groups: Groups = field(repr=False)
    stops: tuple[Stop, ...]
    edges: tuple[Edge, ...]
    planned: bool  # whether `after` says something
    alive: NDArray[np.bool_] = field(repr=False)  # of each id, whether the plan leaves it

    def __iter__(self) -> Iterator[Stop]:
        return iter(self.stops)

    def kept(self) -> list[int]:
        """Of each group, how many units the plan leaves."""
        alive = np.zeros(int(self.groups.unit_of.max(initial=0)) + 1, bool)
        alive[self.groups.unit_of[self.alive]] = True
        return [int(alive[group.units].sum()) for group in self.groups]
