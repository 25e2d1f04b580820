"""`Groups` → which sets of units must not go all at once: no dimension of any value may be left without a channel.

A group keeps one unit at least; where a slice, a half of a split or a picked part holds only some units of a group, one
of those has to stay too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from fxprune.groups import Groups
from fxprune.groups.dispatch import Value
from fxprune.groups.labels import FIXED, Ids
from fxprune.plan.budget import Ranked

__all__ = ["needed", "with_cores"]


def needed(groups: Groups) -> list[Ids]:
    """Sets of units of which one must stay, the smallest first; those that hold a whole group are left out."""
    group_of = np.full(int(groups.unit_of.max(initial=0)) + 1, -1)  # -1: made by no layer, goes with nothing
    for group in groups:
        group_of[group.units] = group.index
    widths = np.array([group.width for group in groups])
    protected = np.array([group.kind == "protected" for group in groups], bool)
    found: dict[bytes, Ids] = {}
    for ids in _axes(groups):
        if (ids == FIXED).any():
            continue
        units = np.unique(groups.unit_of[ids])
        own, count = np.unique(group_of[units], return_counts=True)
        if own[0] == -1 or protected[own].any() or (count == widths[own]).any():
            continue
        found[units.tobytes()] = units
    return sorted(found.values(), key=lambda units: (len(units), units.tolist()))


def _axes(groups: Groups) -> list[Ids]:
    """The ids along every labelled dimension of every tensor, each vector once."""
    labelled = groups.labelled
    values = [leaf for leaf in pytree.tree_leaves(list(labelled.values.values())) if isinstance(leaf, Value)]
    labels = [*labelled.names.values(), *(value.labels for value in values)]
    return list({id(axis.ids): axis.ids for known in labels for axis in known.axes if axis is not None}.values())


def with_cores(ranked: Sequence[Ranked], sets: Sequence[Ids]) -> list[Ranked]:
    """The ranked groups, with those units last that must stay for the sake of a set: of each set its best one.

    A set of which a unit is not at stake, because nothing here ranks it, needs none. The best unit is the one that
    would go last, as a share of its group.
    """
    place: dict[int, tuple[float, int]] = {}  # unit → (how late it goes, which of the ranked)
    for k, r in enumerate(ranked):
        place.update({int(unit): ((at + 1) / r.width, k) for at, unit in enumerate(r.order)})
    core: set[int] = set()
    for units in sets:
        members = units.tolist()
        if members and core.isdisjoint(members) and all(unit in place for unit in members):
            core.add(max(members, key=lambda unit: place[unit]))
    if not core:
        return list(ranked)
    return [_cored(r, np.isin(r.order, list(core))) for r in ranked]


def _cored(ranked: Ranked, core: NDArray[np.bool_]) -> Ranked:
    if not core.any():
        return ranked
    order = np.argsort(core, kind="stable")
    return Ranked(ranked.group, ranked.order[order], ranked.scores[order], ranked.multiple, int(core.sum()))
