"""A criterion + groups → one score for each unit; the least goes first."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fxprune.errors import PlanError
from fxprune.groups import Group, Groups
from fxprune.groups.labels import Ids
from fxprune.lang import Criterion
from fxprune.plan.peer import PEER_CRITERIA, Calibration, peer_scores

__all__ = ["AGGREGATES", "score"]

Scores = NDArray[np.float64]

AGGREGATES: dict[str, Callable[[NDArray[np.float64]], Scores]] = {  # over axis 0, the members
    "mean": lambda x: x.mean(0),
    "sum": lambda x: x.sum(0),
    "max": lambda x: x.max(0),
    "min": lambda x: x.min(0),
    "product": lambda x: x.prod(0),
    "first": lambda x: x[0],
}


def score(
    groups: Groups,
    which: Sequence[Group],
    criterion: Criterion,
    aggregate: str = "mean",
    calibration: Calibration | None = None,
) -> dict[int, Scores]:
    """Scores of each unit, in the order of `group.units`, by group index.

    `l1` is the mean absolute weight of the filters that make a unit and `l2` the root of their mean square, so that
    layers of different fan-in compare; a constrained group has one such score per producer, which `aggregate`
    combines. `random` depends on its seed and the group's name alone.

    Raises:
        PlanError: the criterion needs data that is not there.
    """
    name, args = criterion.name, criterion.keywords()
    if name == "random":
        return {g.index: _random(g, args) for g in which}
    if name in ("l1", "l2"):
        return {g.index: _magnitude(groups, g, name, aggregate) for g in which}
    if name == "scale":
        return {g.index: _scale(groups, g, aggregate) for g in which}
    if name in PEER_CRITERIA:
        return peer_scores(groups, which, name, args=args, aggregate=aggregate, calibration=calibration)
    raise PlanError(f"`by {name}` does not rank filters", span=criterion.span)


def _random(group: Group, args: Mapping[str, object]) -> Scores:
    seed = int(str(args.get("seed", 0)))
    return np.random.default_rng([seed, zlib.crc32(group.name.encode())]).random(group.width)


def _magnitude(groups: Groups, group: Group, norm: str, aggregate: str) -> Scores:
    scores = [
        _per_unit(groups, group, m.tensor, m.dim, along_rows(groups, m.tensor, m.dim, norm))
        for m in group.members
        if m.role == "out"
    ]
    return AGGREGATES[aggregate](np.stack(scores))


def _scale(groups: Groups, group: Group, aggregate: str) -> Scores:
    """|γ| of the batch norms the group passes through; else of the weight norm its filters could have: ‖w‖₂.

    Weight norm is w = γ·v/‖v‖, so the gain of a folded or untouched filter is its own length (ASSL, section 3).
    """
    root = groups.traced.module
    found = []
    for m in group.members:
        layer = root.get_submodule(m.path) if m.role == "along" and m.tensor.endswith(".weight") else None
        if isinstance(layer, (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)):
            values = groups.labelled.tensors[m.tensor].detach().abs().double().numpy(force=True)
            found.append(_per_unit(groups, group, m.tensor, m.dim, values))
    if found:
        return AGGREGATES[aggregate](np.stack(found))
    lengths = [
        _per_unit(groups, group, m.tensor, m.dim, along_rows(groups, m.tensor, m.dim, "length"))
        for m in group.members
        if m.role == "out"
    ]
    return AGGREGATES[aggregate](np.stack(lengths))


def along_rows(groups: Groups, tensor: str, dim: int, norm: str) -> Scores:
    """One number for each coordinate along a dimension of a weight, in double precision."""
    weight = groups.labelled.tensors[tensor].detach().double()
    if weight.device.type == "meta":
        return np.zeros(weight.shape[dim])  # nothing to tell apart: the first in order go first
    rows = weight.movedim(dim, 0).reshape(weight.shape[dim], -1)
    if norm == "l1":
        value = rows.abs().mean(1)
    else:
        value = rows.square().mean(1).sqrt() if norm == "l2" else torch.linalg.vector_norm(rows, dim=1)
    found: Scores = value.numpy(force=True)
    return found


def _per_unit(groups: Groups, group: Group, tensor: str, dim: int, values: Scores) -> Scores:
    """Coordinates' values → the mean over each unit's coordinates, in the order of `group.units`."""
    unit: Ids = groups.units_along(tensor, dim)
    order = np.argsort(group.units)
    place = np.searchsorted(group.units, unit, sorter=order)
    place = order[np.minimum(place, len(order) - 1)]
    mine = group.units[place] == unit
    total = np.bincount(place[mine], values[mine], minlength=group.width)
    return total / np.bincount(place[mine], minlength=group.width)
