"""Constrained groups of a live model → their alignment loss, its gradient added to the layers' scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fxprune.errors import PlanError
from fxprune.groups import Group, Groups
from fxprune.schedule.alignment import agreement, alignment
from fxprune.schedule.live import held

__all__ = ["Aligner"]

HINT = "add a line `weight_norm` before it"


@dataclass(frozen=True, slots=True, eq=False)
class Aligner:
    """One group to be aligned."""

    name: str  # of the group
    scales: tuple[nn.Parameter, ...]  # γ of each producer
    places: tuple[Tensor | None, ...]  # units × coordinates in γ, flattened; None: in order, one each
    remove: int  # units to go, for the threshold
    weight: float  # of the loss

    @classmethod
    def of(cls, model: nn.Module, groups: Groups, group: Group, remove: int, weight: float) -> Aligner:
        """The aligner of a group.

        Raises:
            PlanError: a producer has no scale, or not as many coordinates for each unit.
        """
        scales, places = [], []
        for member in group.members:
            found = held(model, member.tensor, member.dim) if member.role == "out" else None
            if member.role != "out":
                continue
            if found is None or not found.scale:
                raise PlanError(f"`align`: {member.tensor} has no scale", hint=HINT)
            along = groups.units_along(member.tensor, member.dim)
            rows = [np.flatnonzero(along == unit) for unit in group.units]
            if len({len(row) for row in rows}) != 1:
                raise PlanError(f"`align`: the filters of {member.tensor} do not match those it is tied to")
            table = np.stack(rows)
            plain = table.shape[1] == 1 and np.array_equal(table[:, 0], np.arange(len(along)))
            scales.append(found.parameter)
            places.append(None if plain else torch.from_numpy(table).to(found.parameter.device))
        return cls(group.name, tuple(scales), tuple(places), remove, weight)

    def matrix(self) -> Tensor:
        """γ: producers × units; where a unit is several filters of a layer, their mean."""
        with torch.no_grad():
            rows = [s.flatten() if at is None else s.flatten()[at].mean(1) for s, at in self._pairs()]
            return torch.stack(rows)

    def value(self) -> Tensor:
        """The weighted loss, a scalar without gradient."""
        return self.weight * alignment(self.matrix(), self.remove)[0]

    def agreement(self) -> float:
        """How far the layers agree, in [0, 1]."""
        return float(agreement(self.matrix(), self.remove))

    def add_gradient(self) -> None:
        """`.grad` of every scale += the weighted gradient."""
        _, gradient = alignment(self.matrix(), self.remove)
        grads, rows = [], []
        for (scale, at), row in zip(self._pairs(), gradient.unbind(0), strict=True):
            if scale.grad is None:
                scale.grad = torch.zeros_like(scale)
            if at is not None:
                spread = torch.zeros_like(scale).flatten()
                row = spread.index_add(0, at.flatten(), (row / at.shape[1]).repeat_interleave(at.shape[1]))
            grads.append(scale.grad)
            rows.append(row.reshape(scale.shape))
        with torch.no_grad():
            torch._foreach_add_(grads, rows, alpha=self.weight)

    def _pairs(self) -> list[tuple[nn.Parameter, Tensor | None]]:
        return list(zip(self.scales, self.places, strict=True))
