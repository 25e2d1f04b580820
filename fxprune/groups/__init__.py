"""`Traced` → `Groups`: which channels are tied together, and which can go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch.utils import _pytree as pytree

from fxprune.groups.dispatch import Mends, Value, label
from fxprune.groups.groups import Group, Groups, Kind, Member
from fxprune.groups.labels import Place, Protection, Ties
from fxprune.groups.movement import Prefer
from fxprune.groups.rules import rule
from fxprune.groups.solve import solve
from fxprune.internals import garbage_waits
from fxprune.trace import Traced, module_path, op_name

__all__ = ["Group", "Groups", "Kind", "Member", "Mends", "discover", "guard", "rule"]


@garbage_waits()
def discover(traced: Traced, mends: Mends = lambda op, kind: False, prefer: Prefer = "most") -> Groups:
    """Find the groups of a traced network: run it once without arithmetic, then take connected components.

    Args:
        traced: the network.
        mends: which reductions over channels the rewrite can keep exact, by fx op and kind; none by default.
        prefer: of channels split into heads × head_dim, which may shrink: "heads", "head_dim" or whichever leaves
            "most" units. Where a single choice for all of them leaves much protected, others are tried as well.
    """
    found = solve(traced, label(traced, mends, prefer))
    if prefer == "most" and _protected(found) <= TOO_MUCH:
        return found
    others = [solve(traced, label(traced, mends, other)) for other in OTHERS.get(prefer, ())]
    return min((*others, found) if prefer == "heads" else (found, *others), key=_protected)


TOO_MUCH = 0.05  # share of filters protected from which on other choices are tried
OTHERS: dict[Prefer, tuple[Prefer, ...]] = {"most": ("first", "last"), "heads": ("few heads",)}


def _protected(groups: Groups) -> float:
    """Share of the filters that cannot go, those that make the network's output aside."""
    barred = np.zeros(int(groups.unit_of.max(initial=0)) + 1, bool)
    for group in groups.protected:
        barred[group.units] = group.place is None or group.place.op != "output"
    made = {(m.tensor, m.dim) for group in groups for m in group.members if m.role == "out"}
    along = [barred[groups.units_along(tensor, dim)] for tensor, dim in sorted(made)]
    return float(np.concatenate(along).mean()) if along else 0.0


def guard(groups: Groups, node: str) -> Groups | None:
    """The groups once everything that flows in and out of an fx node is protected; None if it was already.

    For what discovery took for prunable and the rewrite could not cut exactly.
    """
    labelled, graph = groups.labelled, groups.traced.graph
    where = next(n for n in graph.graph.nodes if n.name == node)
    place = Place(node, op_name(where, graph), module_path(where))
    reason = f"`{place.op}` could not be cut exactly"
    values = [v for n in (where, *where.all_input_nodes) for v in pytree.tree_leaves(labelled.values[n.name])]
    axes = [axis for v in values if isinstance(v, Value) for axis in v.labels.axes if axis is not None]
    ties = labelled.ties
    protections = [*ties.protections, *(Protection(axis.ids, reason, place) for axis in axes)]
    book = Ties(ties.events, protections, ties.produced, ties.consumed, ties.counts)
    found = solve(groups.traced, replace(labelled, ties=book))
    return found if len(found.protected) > len(groups.protected) else None
