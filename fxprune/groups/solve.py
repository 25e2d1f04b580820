"""Labels and ties → groups: connected components are the units, units with equal members make a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch.utils import _pytree as pytree

from fxprune.groups.dispatch import Labelled, Value
from fxprune.groups.groups import Group, Groups, Kind, Member
from fxprune.groups.labels import FIXED, Ids, Place, Protection
from fxprune.trace import Traced

__all__ = ["solve"]


def solve(traced: Traced, labelled: Labelled) -> Groups:
    """Find the units and gather them into groups, in graph order."""
    unit_of = _components(labelled)
    firsts = np.array([start for _, _, start in labelled.owners] + [labelled.named])
    owner_of = np.full(labelled.size - FIXED - 1, -1)  # of id FIXED + 1, ...; -1: of a constant made on the way
    owner_of[: labelled.named - FIXED - 1] = np.repeat(np.arange(len(labelled.owners)), np.diff(firsts))
    roles, order = _roles(labelled, owner_of)
    barred = _barred(labelled, unit_of)
    reached = _reached(unit_of[FIXED + 1 :], owner_of, np.array(sorted(order), np.int64))
    gathered: dict[tuple[tuple[int, ...], str | None], list[int]] = {}
    for unit, held in reached.items():
        reason = (barred[unit].reason or "fixed by construction") if unit in barred else None
        gathered.setdefault((held, reason), []).append(unit)
    belongs = np.full(int(unit_of.max(initial=0)) + 1, -1)  # unit → its place in `gathered`
    for k, units in enumerate(gathered.values()):
        belongs[units] = k
    found = []
    for k, ((held, reason), units) in enumerate(gathered.items()):
        made = sorted((owner for owner in held if owner in order), key=lambda owner: order[owner])
        kind: Kind = "protected" if reason else "free" if len(made) == 1 else "constrained"
        name, _, start = labelled.owners[made[0]]
        along = unit_of[start : firsts[made[0] + 1]]
        at = np.flatnonzero(belongs[along] == k)
        at = at[np.sort(np.unique(along[at], return_index=True)[1])]  # where each unit comes up first
        members = tuple(Member(*labelled.owners[owner][:2], roles.get(owner, "along")) for owner in held)
        place = barred[units[0]].place if reason else None
        group = Group(0, name.rpartition(".")[0] or name, kind, along[at], members, reason, place)
        found.append((order[made[0]], int(at[0]), group))
    found.sort(key=lambda item: item[:2])
    starts = {(name, dim): (start, int(firsts[k + 1] - start)) for k, (name, dim, start) in enumerate(labelled.owners)}
    names = _distinct([group.name for _, _, group in found])
    groups = tuple(_named(k, name, group) for k, (name, (_, _, group)) in enumerate(zip(names, found, strict=True)))
    return Groups(traced, labelled, unit_of, groups, starts)


def _distinct(names: list[str]) -> list[str]:
    """A layer may make several groups: `split`, `split#2`, …"""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return told


def _named(index: int, name: str, group: Group) -> Group:
    return Group(index, name, group.kind, group.units, group.members, group.reason, group.place)


def _components(labelled: Labelled) -> Ids:
    """id → unit number. Ids tied to a constant are not joined through it: `_barred` sees to them."""
    events = labelled.ties.events
    a = np.concatenate([event.a for event in events]) if events else np.empty(0, np.int64)
    b = np.concatenate([event.b for event in events]) if events else np.empty(0, np.int64)
    real = (a != FIXED) & (b != FIXED)
    a, b = a[real], b[real]
    graph = coo_matrix((np.ones(a.size, np.int8), (a, b)), shape=(labelled.size, labelled.size))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component, np.int64)


def _barred(labelled: Labelled, unit_of: Ids) -> dict[int, Protection]:
    """Unit → why it must exist; a reason worth telling comes before one that is not."""
    protections = list(labelled.ties.protections)
    for event in labelled.ties.events:
        constant = (event.a == FIXED) ^ (event.b == FIXED)
        if constant.any():
            ids = np.maximum(event.a, event.b)[constant]
            protections.append(Protection(ids, f"`{event.place.op}` combines it with a constant", event.place))
    for leaf in pytree.tree_leaves(labelled.output):
        protections.extend(_output(leaf))
    protections.sort(key=lambda protection: protection.reason is None)
    ids = np.concatenate([np.empty(0, np.int64), *(protection.ids for protection in protections)])
    which = np.repeat(np.arange(len(protections)), [len(protection.ids) for protection in protections])
    units, first = np.unique(unit_of[ids[ids != FIXED]], return_index=True)
    return {unit: protections[k] for unit, k in zip(units.tolist(), which[ids != FIXED][first].tolist(), strict=True)}


def _output(leaf: Any) -> list[Protection]:
    if not isinstance(leaf, Value):
        return []
    place = Place("output", "output", "")
    return [Protection(axis.ids, "it is the network's output", place) for axis in leaf.labels.axes if axis is not None]


def _roles(labelled: Labelled, owner_of: Ids) -> tuple[dict[int, Any], dict[int, int]]:
    """Owner → role, and for producers their order in the graph. Who both produces and consumes, produces."""

    def owners(ids: Ids) -> Sequence[int]:
        real = ids[ids != FIXED]
        return sorted(set(owner_of[real - FIXED - 1].tolist()) - {-1})

    roles: dict[int, Any] = {}
    for ids, _ in labelled.ties.consumed:
        roles.update(dict.fromkeys(owners(ids), "in"))
    order: dict[int, int] = {}
    for step, (ids, _) in enumerate(labelled.ties.produced):
        for owner in owners(ids):
            order.setdefault(owner, step)
            roles[owner] = "out"
    return roles, order


def _reached(unit_of: Ids, owner_of: Ids, producers: Ids) -> dict[int, tuple[int, ...]]:
    """Unit → the owners that hold a coordinate of it, for units that some producer makes."""
    wanted = np.zeros(int(unit_of.max(initial=0)) + 1, bool)
    wanted[unit_of[np.isin(owner_of, producers)]] = True
    mine = wanted[unit_of] & (owner_of >= 0)
    count = int(owner_of.max(initial=0)) + 1
    pairs = np.sort(unit_of[mine] * count + owner_of[mine])  # one number for (unit, owner): sorts much faster
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    units, held = pairs // count, (pairs % count).tolist()
    starts = np.flatnonzero(np.diff(units, prepend=-1)).tolist()
    stops = [*starts[1:], len(held)][: len(starts)]  # none, where no layer makes anything
    return {unit: tuple(held[a:b]) for unit, a, b in zip(units[starts].tolist(), starts, stops, strict=True)}
