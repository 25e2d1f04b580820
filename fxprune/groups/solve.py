"""Labels and ties → groups: connected components are the units, units with equal members make a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
    unit_of, tied = _components(labelled)
    firsts = np.array([start for _, _, start in labelled.owners] + [labelled.named])
    roles, order = _roles(labelled, firsts)
    barred = _barred(labelled, unit_of)
    reached = _reached(unit_of, tied, firsts, sorted(order))
    gathered: dict[tuple[tuple[int, ...], str | None], list[int]] = {}
    for unit, held in reached.items():
        reason = (barred[unit].reason or "fixed by construction") if unit in barred else None
        gathered.setdefault((held, reason), []).append(unit)
    belongs = np.zeros(int(unit_of.max(initial=0)) + 1, np.int64)  # unit → 1 + its place in `gathered`
    for k, units in enumerate(gathered.values()):
        belongs[units] = k + 1
    found = []
    for k, ((held, reason), units) in enumerate(gathered.items()):
        made = sorted((owner for owner in held if owner in order), key=lambda owner: order[owner])
        kind: Kind = "protected" if reason else "free" if len(made) == 1 else "constrained"
        name, _, start = labelled.owners[made[0]]
        along = unit_of[start : firsts[made[0] + 1]]
        at = np.flatnonzero(belongs[along] == k + 1)
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


def _components(labelled: Labelled) -> tuple[Ids, NDArray[np.bool_]]:
    """id → unit number, in the order of their first ids, and whether it is tied to another.

    Ids tied to a constant are not joined through it: `_barred` sees to them.
    """
    events = {(id(event.a), id(event.b)): event for event in labelled.ties.events}.values()  # each two arrays once
    a = np.concatenate([np.empty(0, np.int64), *(event.a for event in events)])
    b = np.concatenate([np.empty(0, np.int64), *(event.b for event in events)])
    real = (a != FIXED) & (b != FIXED) & (a != b)
    a, b = a[real], b[real]
    tied = np.zeros(labelled.size, bool)  # few are: tables of indices have many coordinates, and nothing ties them
    tied[a] = tied[b] = True
    ids = np.flatnonzero(tied)
    row = np.empty(labelled.size, np.int32)  # id → its row, where it is tied
    row[ids] = np.arange(ids.size, dtype=np.int32)
    graph = coo_matrix((np.ones(a.size, np.int8), (row[a], row[b])), shape=(ids.size, ids.size))
    _, component = connected_components(graph, directed=False)
    first = ids[np.unique(component, return_index=True)[1]][component]  # the first id of each one's unit
    begins = np.ones(labelled.size, bool)
    begins[ids[first != ids]] = False
    begins[:1] = False  # units are counted from 0
    unit_of = np.cumsum(begins, dtype=np.int64)
    unit_of[ids] = unit_of[first]
    return unit_of, tied


def _barred(labelled: Labelled, unit_of: Ids) -> dict[int, Protection]:
    """Unit → why it must exist; a reason worth telling comes before one that is not."""
    protections = list(labelled.ties.protections)
    partly: dict[int, bool] = {}  # array of ids → does it hold `FIXED`?
    for event in labelled.ties.events:
        if not (_holds_fixed(event.a, partly) or _holds_fixed(event.b, partly)):
            continue
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


def _holds_fixed(ids: Ids, known: dict[int, bool]) -> bool:
    found = known.get(id(ids))
    if found is None:
        found = known[id(ids)] = not ids.all()
    return found


def _output(leaf: Any) -> list[Protection]:
    if not isinstance(leaf, Value):
        return []
    place = Place("output", "output", "")
    return [Protection(axis.ids, "it is the network's output", place) for axis in leaf.labels.axes if axis is not None]


def _owners(ids: Ids, firsts: Ids) -> Ids:
    """The owner of each id that is not `FIXED`; one more than there are, of a constant made on the way."""
    return np.searchsorted(firsts, ids, side="right") - 1


def _roles(labelled: Labelled, firsts: Ids) -> tuple[dict[int, Any], dict[int, int]]:
    """Owner → role, and for producers their order in the graph. Who both produces and consumes, produces."""

    roles: dict[int, Any] = {owner: "in" for _, owner in _holders(labelled.ties.consumed, firsts)}
    order: dict[int, int] = {}
    for step, owner in _holders(labelled.ties.produced, firsts):
        order.setdefault(owner, step)
        roles[owner] = "out"
    return roles, order


def _holders(book: Sequence[tuple[Ids, Any]], firsts: Ids) -> list[tuple[int, int]]:
    """(entry, owner) for every owner whose ids stand in an entry of the book, in order."""
    ids = np.concatenate([np.empty(0, np.int64), *(ids.ravel() for ids, _ in book)])
    entries = np.repeat(np.arange(len(book)), [ids.size for ids, _ in book])
    owners = _owners(ids, firsts)
    named = (ids != FIXED) & (owners < len(firsts) - 1)
    count = len(firsts)
    pairs = np.unique(entries[named] * count + owners[named])
    return list(zip((pairs // count).tolist(), (pairs % count).tolist(), strict=True))


def _reached(
    unit_of: Ids, tied: NDArray[np.bool_], firsts: Ids, producers: Sequence[int]
) -> dict[int, tuple[int, ...]]:
    """Unit → the owners that hold a coordinate of it, for units that some producer makes."""
    wanted = np.zeros(int(unit_of.max(initial=0)) + 1, bool)
    near = tied[: firsts[-1]].copy()  # the others are units by themselves
    for owner in producers:
        wanted[unit_of[firsts[owner] : firsts[owner + 1]]] = True
        near[firsts[owner] : firsts[owner + 1]] = True
    mine = np.flatnonzero(near)
    mine = mine[wanted[unit_of[mine]]]
    count = len(firsts)
    pairs = np.sort(unit_of[mine] * count + _owners(mine, firsts))  # one number for (unit, owner): sorts much faster
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    units, held = pairs // count, (pairs % count).tolist()
    starts = np.flatnonzero(np.diff(units, prepend=-1)).tolist()
    stops = [*starts[1:], len(held)][: len(starts)]  # none, where no layer makes anything
    return {unit: tuple(held[a:b]) for unit, a, b in zip(units[starts].tolist(), starts, stops, strict=True)}
