"""One op on parameters → what fxprune's labels promise of it, and whether the numbers agree.

Every dimension of every operand carries ids of its own. A unit's promise, tested one unit at a time:

- *local*: where the unit is still on an axis of an output, changing an operand there changes that output only there;
- *silent*: where it has vanished from all outputs (it was summed over), leaving it out is the same as zeros;
- *zero*: an axis that claims so holds zeros at the unit, once all its coordinates in the operands are zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from fxprune.groups import dispatch, rules
from fxprune.groups.labels import FIXED
from fxprune.trace import trace

__all__ = ["Experiment", "Finding", "perform"]


class OnParameters(nn.Module):
    """Calls a function of its parameters; the input takes no part."""

    def __init__(self, function: Callable[..., Any], operands: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.operands = nn.ParameterList(nn.Parameter(x, requires_grad=False) for x in operands)

    def forward(self, x: Any) -> Any:
        return self.function(*(self.operands[k] for k in range(len(self.operands))))


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one experiment."""

    free: int  # units that no rule protects
    broken: tuple[str, ...]  # promises that the numbers do not keep
    ops: frozenset[str]  # ATen ops that were labelled


@dataclass(slots=True)
class Experiment:
    """Labels of a function's operands and outputs, and its values."""

    function: Callable[..., Any]
    operands: list[torch.Tensor]
    ids: list[list[np.ndarray | None]]  # of each dimension of each operand
    outputs: list[list[tuple[np.ndarray, bool] | None]]  # of each dimension of each output: ids, claimed zero
    unit_of: dict[int, int]
    barred: set[int]

    def units(self) -> list[int]:
        """Units of the operands of which no coordinate is protected."""
        held = {self.unit_of[int(k)] for axes in self.ids for ids in axes if ids is not None for k in ids}
        return sorted(held - self.barred)

    def at(self, ids: np.ndarray | None, unit: int) -> list[int]:
        """Coordinates of a unit along a dimension."""
        return [] if ids is None else [k for k, i in enumerate(ids) if i != FIXED and self.unit_of[int(i)] == unit]

    def run(self, operands: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs, on copies."""
        with torch.no_grad():
            out = self.function(*(x.clone() for x in operands))
        return [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, torch.Tensor)]

    def silenced(self, unit: int) -> list[torch.Tensor]:
        """The operands with zeros wherever the unit is."""
        made = []
        for x, axes in zip(self.operands, self.ids, strict=True):
            x = x.clone()
            for dim, ids in enumerate(axes):
                x[(slice(None),) * dim + (self.at(ids, unit),)] = 0
            made.append(x)
        return made

    def left_out(self, unit: int) -> list[torch.Tensor]:
        """The operands without the unit."""
        made = []
        for x, axes in zip(self.operands, self.ids, strict=True):
            for dim, ids in enumerate(axes):
                gone = self.at(ids, unit)
                if gone:
                    x = x.index_select(dim, torch.tensor([k for k in range(x.shape[dim]) if k not in gone]))
            made.append(x)
        return made

    def elsewhere(self, out: torch.Tensor, axes: Sequence[Any], unit: int) -> torch.Tensor:
        """The part of an output that is not the unit's."""
        for dim, axis in enumerate(axes):
            gone = self.at(axis[0], unit) if axis else []
            out = out.index_select(dim, torch.tensor([k for k in range(out.shape[dim]) if k not in gone]))
        return out

    def seen(self, unit: int) -> bool:
        """Is the unit on an axis of an output?"""
        return any(axis is not None and self.at(axis[0], unit) for axes in self.outputs for axis in axes)

    def broken(self, unit: int) -> list[str]:
        """Promises of one unit that do not hold."""
        found = []
        base = self.run(self.silenced(unit))
        if not self.seen(unit) and not self.unread(unit, base):
            left = self.run(self.left_out(unit))
            if any(x.shape != y.shape or not close(x, y) for x, y in zip(base, left, strict=True)):
                found.append(f"unit {unit}: leaving it out is not the same as zeros")
        for out, axes in zip(base, self.outputs, strict=True):
            for dim, axis in enumerate(axes):
                there = self.at(axis[0], unit) if axis else []
                if axis and axis[1] and there and bool((out.index_select(dim, torch.tensor(there)) != 0).any()):
                    found.append(f"unit {unit}: not zero along dimension {dim} of the output")
        if self.seen(unit):
            found += self.spread(unit, base)
        return found

    def unread(self, unit: int, base: list[torch.Tensor]) -> bool:
        """Do the outputs not depend on the unit at all? (It was not selected.)"""
        return all(close(x, y) for x, y in zip(self.run(self.operands), base, strict=True))

    def spread(self, unit: int, base: list[torch.Tensor]) -> list[str]:
        """Change one operand at the unit: nothing may change elsewhere."""
        found = []
        for k, (x, axes) in enumerate(zip(self.operands, self.ids, strict=True)):
            for dim, ids in enumerate(axes):
                there = self.at(ids, unit)
                if not there:
                    continue
                changed = self.silenced(unit)
                index = (slice(None),) * dim + (there,)
                changed[k][index] = x[index]
                for out, was, labels in zip(self.run(changed), base, self.outputs, strict=True):
                    if not close(self.elsewhere(out, labels, unit), self.elsewhere(was, labels, unit)):
                        found.append(f"unit {unit}: operand {k}, dimension {dim} reaches outputs it does not own")
        return found


def close(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Equal to rounding."""
    return bool(torch.allclose(x.double(), y.double(), rtol=1e-5, atol=1e-6, equal_nan=True))


def perform(function: Callable[..., Any], operands: Sequence[torch.Tensor]) -> Finding:
    """Label a call and test every promise that the labels make."""
    seen: set[str] = set()
    find = rules.find

    def noting(func: Any) -> Any:
        seen.add(func.overloadpacket.__name__)
        return find(func)

    rules.find = noting
    try:
        labelled = dispatch.label(trace(OnParameters(function, operands), (torch.zeros(1, 1, 4, 4),)))
    finally:
        rules.find = find
    ids = [[axis and axis.ids for axis in labelled.names[f"operands.{k}"].axes] for k in range(len(operands))]
    outputs = [
        [axis and (axis.ids, axis.zero) for axis in leaf.labels.axes]
        for leaf in pytree.tree_leaves(labelled.values["output"])
        if isinstance(leaf, dispatch.Value)
    ]
    unit_of = {k: k for k in range(1, labelled.size)}
    barred: set[int] = set()

    def root(k: int) -> int:
        while unit_of[k] != k:
            k = unit_of[k]
        return k

    pairs = [
        (int(a), int(b))
        for e in labelled.ties.events
        for a, b in zip(np.ravel(e.a).tolist(), np.ravel(e.b).tolist(), strict=True)
    ]
    for a, b in pairs:
        if FIXED not in (a, b):
            unit_of[root(a)] = root(b)
    unit_of = {k: root(k) for k in unit_of}
    for a, b in pairs:
        if (a == FIXED) != (b == FIXED):
            barred.add(unit_of[max(a, b)])
    for protection in labelled.ties.protections:
        barred |= {unit_of[int(k)] for k in np.ravel(protection.ids) if k != FIXED}
    made = Experiment(function, list(operands), ids, outputs, unit_of, barred)
    broken = tuple(promise for unit in made.units() for promise in made.broken(unit))
    return Finding(len(made.units()), broken, frozenset(seen))
