"""Labels and ties → groups: connected components are the units, units with equal members make a group."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from torch.utils import _pytree as pytree

from fxprune.groups.dispatch import Labelled, Value
from fxprune.groups.groups import Group, Groups, Kind, Member
from fxprune.groups.labels import FIXED, Ids, Place, Protection
from fxprune.trace import Traced

__all__ = ["solve"]

Flags = NDArray[np.bool_]


def solve(traced: Traced, labelled: Labelled) -> Groups:
    """Find the units and gather them into groups, in graph order."""
    unit_of, tied = _components(labelled)
    firsts = np.array([start for _, _, start in labelled.owners] + [labelled.named])
    owner_of = _owners(firsts, labelled.size)
    roles, order = _roles(labelled, owner_of)
    protections, bar = _barred(labelled, unit_of)
    gathered, belongs = _gathered(_reached(unit_of, tied, owner_of, order, len(labelled.owners)), protections, bar)
    found = []
    for k, (held, why) in enumerate(gathered):
        made = sorted((owner for owner in held if owner in order), key=lambda owner: order[owner])
        kind: Kind = "protected" if why else "free" if len(made) == 1 else "constrained"
        reason, place = (_told(why), why.place) if why else (None, None)
        name, _, start = labelled.owners[made[0]]
        along = unit_of[start : firsts[made[0] + 1]]
        at = np.flatnonzero(belongs[along] == k)
        at = at[np.sort(np.unique(along[at], return_index=True)[1])]  # where each unit comes up first
        members = tuple(Member(*labelled.owners[owner][:2], roles.get(owner, "along")) for owner in held)
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


def _components(labelled: Labelled) -> tuple[Ids, Flags]:
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
    count, component = connected_components(graph, directed=False)
    first = np.empty(count, np.int64)
    first[component[::-1]] = ids[::-1]  # of several that are written, the last one stays
    first = first[component]  # the first id of each one's unit
    begins = np.ones(labelled.size, bool)
    begins[ids[first != ids]] = False
    begins[:1] = False  # units are counted from 0
    unit_of = np.cumsum(begins, dtype=np.int64)
    unit_of[ids] = unit_of[first]
    return unit_of, tied


def _barred(labelled: Labelled, unit_of: Ids) -> tuple[list[Protection], Ids]:
    """All protections, and unit → the first of them that it has, -1 for none; one worth telling comes before others."""
    protections = [
        p for leaf in pytree.tree_leaves(labelled.output) for p in _output(leaf)
    ]  # what everybody knows first
    protections += labelled.ties.protections
    partly: dict[int, bool] = {}  # array of ids → does it hold `FIXED`?
    for event in labelled.ties.events:
        if not (_holds_fixed(event.a, partly) or _holds_fixed(event.b, partly)):
            continue
        constant = (event.a == FIXED) ^ (event.b == FIXED)
        if constant.any():
            ids = np.maximum(event.a, event.b)[constant]
            protections.append(Protection(ids, f"`{event.place.op}` combines it with a constant", event.place))
    protections.sort(key=lambda protection: protection.reason is None)
    ids = np.concatenate([np.empty(0, np.int64), *(protection.ids for protection in protections)])[::-1]
    which = np.repeat(np.arange(len(protections)), [len(protection.ids) for protection in protections])[::-1]
    bar = np.full(int(unit_of.max(initial=0)) + 1, -1)
    bar[unit_of[ids[ids != FIXED]]] = which[ids != FIXED]  # of several that are written, the last one stays
    return protections, bar


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


def _owners(firsts: Ids, size: int) -> Ids:
    """Id → its owner; one more than there are, for a constant made on the way, and -1 for `FIXED`."""
    return np.repeat(np.arange(-1, firsts.size), np.diff(firsts, prepend=0, append=size))


def _roles(labelled: Labelled, owner_of: Ids) -> tuple[dict[int, Any], dict[int, int]]:
    """Owner → role, and for producers their order in the graph. Who both produces and consumes, produces."""

    roles: dict[int, Any] = {owner: "in" for _, owner in _holders(labelled, labelled.ties.consumed, owner_of)}
    order: dict[int, int] = {}
    for step, owner in _holders(labelled, labelled.ties.produced, owner_of):
        order.setdefault(owner, step)
        roles[owner] = "out"
    return roles, order


def _holders(labelled: Labelled, book: Sequence[tuple[Ids, Any]], owner_of: Ids) -> list[tuple[int, int]]:
    """(entry, owner) for every owner whose ids stand in an entry of the book, in order."""
    ids = np.concatenate([np.empty(0, np.int64), *(ids.ravel() for ids, _ in book)])
    entries = np.repeat(np.arange(len(book)), [ids.size for ids, _ in book])
    owners, count = owner_of[ids], len(labelled.owners)
    named = (owners >= 0) & (owners < count)
    pairs = entries[named] * count + owners[named]
    pairs = np.unique(pairs[np.diff(pairs, prepend=-1) != 0])  # most are as the one before
    return list(zip((pairs // count).tolist(), (pairs % count).tolist(), strict=True))


def _reached(unit_of: Ids, tied: Flags, owner_of: Ids, order: Collection[int], count: int) -> csr_matrix[np.int8]:
    """Units × owners: who holds a coordinate of what, of the units that some producer makes."""
    makes = np.zeros(count + 2, bool)  # and of those that are no owners
    makes[list(order)] = True
    made = makes[owner_of]
    wanted = np.zeros(int(unit_of.max(initial=0)) + 1, bool)
    wanted[unit_of[made]] = True
    mine = np.flatnonzero((tied | made) & (owner_of < count))  # the others are units by themselves
    mine = mine[wanted[unit_of[mine]]]
    entries = np.ones(mine.size, np.int8), (unit_of[mine], owner_of[mine])
    return coo_matrix(entries, shape=(wanted.size, count)).tocsr()


def _gathered(
    reached: csr_matrix[np.int8], protections: Sequence[Protection], bar: Ids
) -> tuple[list[tuple[tuple[int, ...], Protection | None]], Ids]:
    """Sets of units with the same owners, barred for the same reason: those owners, and the protection of the first
    unit; and unit → its set, -1 for none.
    """
    numbers: dict[str, int] = {}
    reasons = np.array([numbers.setdefault(_told(p), len(numbers)) for p in protections] + [-1])[bar]
    held, lengths = reached.indices, np.diff(reached.indptr)
    units = np.flatnonzero(lengths)
    starts, lengths, reasons = reached.indptr[units], lengths[units], reasons[units]
    new = np.ones(units.size, bool)  # not like the unit before it; most are
    if units.size:
        same = held == held[np.arange(held.size) - np.repeat(lengths, lengths)]
        same = np.logical_and.reduceat(same, starts)[1:]
        new[1:] = ~same | (np.diff(lengths) != 0) | (np.diff(reasons) != 0)
    sets: dict[tuple[tuple[int, ...], int], int] = {}
    found: list[tuple[tuple[int, ...], Protection | None]] = []
    of: list[int] = []  # new unit → its set
    for unit, start, length, reason in np.stack([units, starts, lengths, reasons], 1)[new].tolist():
        owners = tuple(held[start : start + length].tolist())
        of.append(sets.setdefault((owners, reason), len(sets)))
        if of[-1] == len(found):
            found.append((owners, protections[bar[unit]] if reason >= 0 else None))
    belongs = np.full(bar.size, -1)
    belongs[units] = np.array(of, np.int64)[np.cumsum(new) - 1]
    return found, belongs


def _told(protection: Protection) -> str:
    return protection.reason or "fixed by construction"
