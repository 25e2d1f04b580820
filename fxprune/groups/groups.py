"""The value that discovery hands on: units gathered into groups, free, constrained or protected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fxprune.groups.dispatch import Labelled
from fxprune.groups.labels import Ids, Place
from fxprune.trace import Traced

__all__ = ["Group", "Groups", "Kind", "Member"]

Kind = Literal["free", "constrained", "protected"]


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A dimension of a parameter or buffer that belongs to a group."""

    tensor: str  # original name, e.g. "body.0.conv1.weight"
    dim: int
    role: Literal["out", "in", "along"]  # made by it, consumed by it, or carried along (bias, norm, depthwise)

    @property
    def path(self) -> str:
        """Module path of the tensor."""
        return self.tensor.rpartition(".")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Units with the same members; each unit is removed whole or not at all."""

    index: int
    name: str  # path of its first producer
    kind: Kind
    units: Ids  # unit numbers, in channel order of the first producer
    members: tuple[Member, ...]
    reason: str | None = None  # why it is protected
    place: Place | None = None  # where that was found

    @property
    def width(self) -> int:
        """How many units."""
        return len(self.units)

    @property
    def producers(self) -> tuple[str, ...]:
        """Tensors whose output dimension belongs to the group."""
        return tuple(m.tensor for m in self.members if m.role == "out")

    @property
    def consumers(self) -> tuple[str, ...]:
        """Tensors whose input dimension belongs to the group."""
        return tuple(m.tensor for m in self.members if m.role == "in")


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """All groups of a network, in graph order."""

    traced: Traced
    labelled: Labelled
    unit_of: Ids  # id → unit number
    groups: tuple[Group, ...]
    starts: dict[tuple[str, int], tuple[int, int]] = field(repr=False)  # (tensor, dim) → first id, size

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def of(self, kind: Kind) -> tuple[Group, ...]:
        """The groups of one kind."""
        return tuple(group for group in self.groups if group.kind == kind)

    @property
    def free(self) -> tuple[Group, ...]:
        """Groups with one producer."""
        return self.of("free")

    @property
    def constrained(self) -> tuple[Group, ...]:
        """Groups with several producers tied together."""
        return self.of("constrained")

    @property
    def protected(self) -> tuple[Group, ...]:
        """Groups that cannot be cut, each with its reason."""
        return self.of("protected")

    def units_along(self, tensor: str, dim: int) -> Ids:
        """The unit of each coordinate along one dimension of a parameter or buffer."""
        start, size = self.starts[tensor, dim]
        return self.unit_of[start : start + size]

    def alive(self, removed: Ids) -> NDArray[np.bool_]:
        """For every id, whether it lives when these units are removed."""
        dead = np.zeros(int(self.unit_of.max()) + 1, bool)
        dead[removed] = True
        return ~dead[self.unit_of]
