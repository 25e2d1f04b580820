"""The rule of every op that only moves numbers: run it on positions and read off where the ids went."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fxprune.groups.labels import Axis, Ids, Labels
from fxprune.groups.movement import Landing, Route, routes
from fxprune.groups.op import Op

__all__ = ["move"]

_known: dict[Any, tuple[Route, ...]] = {}


def move(op: Op, labels: Labels | None = None, **literals: Any) -> list[Labels]:
    """Labels of each output of an op that copies numbers without mixing them.

    Args:
        labels: of the moved tensor, where a rule knows better than its own.
        literals: overrides arguments while positions are moved (0 stands for "a constant").
    """
    moved = op.tensors()[0]
    labels = labels or op.lookup(moved)
    if labels.bare:
        return [Labels((None,) * out.dim(), labels.weight) for out in op.outputs]
    wanted = tuple(d for d, axis in enumerate(labels.axes) if axis is not None)
    key = (op.signature(), tuple(sorted(literals.items())), wanted)
    if key not in _known:
        _known[key] = _read_off(op, moved, literals, wanted)
    return [_land(op, labels, route) for route in _known[key]]


def _read_off(op: Op, moved: torch.Tensor, literals: dict[str, Any], wanted: tuple[int, ...]) -> tuple[Route, ...]:
    def run(field: torch.Tensor) -> list[torch.Tensor]:
        field = field.contiguous() if "stride" in op.args else field  # of which the call itself says how it lies
        out = op.rerun(lambda t: field if t is moved else torch.zeros(t.shape, dtype=t.dtype), **literals)
        return [out] if isinstance(out, torch.Tensor) else list(out)

    shape = tuple(moved.shape)
    if op.name == "pixel_shuffle" and not {len(shape) - 2, len(shape) - 1} & set(wanted) and min(shape[-2:]) > 2:
        shape = (*shape[:-2], 2, 2)  # what becomes of channels does not depend on how many pixels there are
    return routes(run, shape, wanted)


def _land(op: Op, labels: Labels, route: Route) -> Labels:
    axes: list[Axis | None] = [None] * route.rank
    for landing in route.landings:
        axis = labels.axes[landing.source]
        if axis is None:
            continue
        if not landing.axes:
            position = int(landing.positions)
            if position >= 0:
                op.fix(Axis(axis.ids[position : position + 1], axis.zero), f"`{op.place.op}` picks single channels")
            continue
        arrived = _arrive(op, axis, route, landing)
        if arrived is None:
            continue
        at, moved = arrived
        held = axes[at]
        if held is None:
            axes[at] = moved
        else:  # two labelled dimensions on one: a coordinate would live only if both do; keep the wider one
            wide, narrow = (moved, held) if len(np.unique(moved.ids)) > len(np.unique(held.ids)) else (held, moved)
            op.fix(narrow, None if labels.weight else f"`{op.place.op}` merges it with other channels")
            axes[at] = wide
    return Labels(tuple(axes), labels.weight)


def _arrive(op: Op, axis: Axis, route: Route, landing: Landing) -> tuple[int, Axis] | None:
    """The output dimension that stays prunable, and its axis; ties along the others."""
    axis = Axis(axis.ids, axis.zero)  # a removed channel is found again by elementwise ops only
    if len(landing.axes) == 1:
        return landing.axes[0], axis.take(landing.positions)
    found = route.spread(landing, op.prefer if "view" in op.name else "most")
    if found is None:
        op.fix(axis, f"`{op.place.op}` spreads it over several dimensions")
        return None
    a, b = _once(axis.ids[found.a], axis.ids[found.b])
    if a.size:
        op.tie(a, b)
    return found.axis, axis.take(found.lead)


def _once(a: Ids, b: Ids) -> tuple[Ids, Ids]:
    """The same pairs, each once, none of an id with itself. A few are left as they are."""
    if a.size <= FEW:
        return a, b
    apart = a != b
    size = int(b.max()) + 1
    both = a[apart] * size + b[apart]
    both.sort()
    both = both[np.diff(both, prepend=-1) != 0]
    return both // size, both % size


FEW = 4096  # pairs that are no matter
