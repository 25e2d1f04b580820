"""`Groups` → answers: which ops tie which layers, the shortest chain between two of them, why one is protected."""

from __future__ import annotations

import linecache
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from torch import fx

from fxprune.errors import InputError
from fxprune.groups import Group, Groups
from fxprune.groups.labels import FIXED, Ids, Place

__all__ = ["Step", "Tie", "Why", "source_line", "ties_of", "why"]


@dataclass(frozen=True, slots=True)
class Tie:
    """An op that makes layers live or go together."""

    op: str  # in the user's words: "add"
    path: str  # module whose forward it stands in, "" at the top
    line: str | None  # `file:line: source` of the model
    layers: tuple[str, ...]  # whose channels meet there


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a chain."""

    start: str  # layer
    end: str  # layer
    op: str
    path: str
    line: str | None

    def __str__(self) -> str:
        return f"{self.start}  is tied to  {self.end}  by  {_place(self.op, self.path, self.line)}"


@dataclass(frozen=True, slots=True)
class Why:
    """An answer."""

    answer: str  # one line
    steps: tuple[Step, ...] = ()
    reason: str | None = None  # what protects, if anything does

    def __str__(self) -> str:
        """As shown on a terminal: the answer, then the chain, a line each."""
        return "\n".join([self.answer, *(f"  {step}" for step in self.steps)])


def why(groups: Groups, layer: str, other: str | None = None) -> Why:
    """The shortest chain of ops that ties two layers; of one layer, why it is protected, or what it is tied to.

    Args:
        groups: what was found.
        layer, other: paths of modules or names of tensors.

    Raises:
        InputError: there is no such layer.
    """
    first = _groups_of(groups, layer)
    if other is None:
        return _alone(groups, layer, first)
    second = _groups_of(groups, other)
    shared = [group for group in first if group in second]
    if not shared:
        where = f"{_called(first)} and {_called(second)}"
        return Why(f"{layer} and {other} are not tied: {layer} is in {where.replace(' and ', f', {other} in ', 1)}")
    group = shared[0]
    steps = _chain(groups, group, _ids(groups, group, layer), _ids(groups, group, other))
    counted = f"{group.width} channel{'s' * (group.width != 1)}"
    return Why(f"{layer} and {other} are tied: {counted} of one {group.kind} group", steps, group.reason)


def ties_of(groups: Groups) -> dict[int, tuple[Tie, ...]]:
    """Group → the ops that tie its layers to each other, in graph order.

    What a layer does by itself (a convolution that reads its input, a bias that is added to its output) is left out.
    """
    starts = np.array([start for _, _, start in groups.labelled.owners], np.int64)
    group_of = _group_of(groups)
    layered = {_layer(name) for name in groups.labelled.tensors}
    nodes = {node.name: node for node in groups.traced.graph.graph.nodes}
    found: dict[int, dict[str, tuple[Place, dict[str, None]]]] = defaultdict(dict)
    for event in groups.labelled.ties.events:
        node = nodes.get(event.place.node)
        if node is None or (node.op == "call_module" and str(node.target) in layered):
            continue
        real = (event.a != FIXED) & (event.b != FIXED) & (event.a != event.b)
        if not real.any():
            continue
        owners = np.stack([np.searchsorted(starts, ids[real], side="right") - 1 for ids in (event.a, event.b)])
        index = group_of[groups.unit_of[event.a[real]]]
        count = len(starts)
        for code in np.unique((index * count + owners[0]) * count + owners[1]).tolist():
            k, a, b = code // count // count, code // count % count, code % count
            layers = [_layer(groups.labelled.owners[owner][0]) for owner in (a, b)]
            if k < 0:
                continue
            _, held = found[k].setdefault(event.place.node, (event.place, {}))
            held.update(dict.fromkeys(layers))
    return {
        k: tuple(Tie(p.op, p.path, source_line(nodes[p.node]), tuple(layers)) for p, layers in held.values())
        for k, held in sorted(found.items())
    }


def source_line(node: fx.Node | None) -> str | None:
    """`file:line: source` of the model's line that a node was traced from, if the trace recorded it."""
    found = node.meta.get("source") if node is not None else None
    if not isinstance(found, tuple):
        return None
    file, number = str(found[0]), int(found[1])
    code = linecache.getline(file, number).strip()
    return f"{os.path.basename(file)}:{number}" + (f": {code}" if code else "")


def _alone(groups: Groups, layer: str, found: Sequence[Group]) -> Why:
    held = sorted(found, key=lambda group: (group.kind != "protected", layer not in map(_layer, group.producers)))
    group = held[0]
    if group.kind == "protected":
        steps = _to_protection(groups, group, _ids(groups, group, layer))
        where = ""
        if group.place is not None and group.place.op not in ("output", ""):
            where = f" ({_place(group.place.op, group.place.path, _line(groups, group.place))})"
        answer = f"{layer} is protected, {group.width} of its channels: {group.reason}{where}"
        return Why(answer, steps, group.reason)
    if group.kind == "free":
        return Why(f"{layer} is free: {group.width} channels that no other layer makes")
    others = [path for path in dict.fromkeys(map(_layer, group.producers)) if path != layer]
    steps = _chain(groups, group, _ids(groups, group, layer), _ids(groups, group, others[0])) if others else ()
    return Why(f"{layer} is constrained: {group.width} channels made by {len(group.producers)} layers together", steps)


def _groups_of(groups: Groups, layer: str) -> list[Group]:
    """Groups that a layer makes channels of; of a layer that makes none, those it takes part in."""
    touched = [group for group in groups if any(_is(member.tensor, layer) for member in group.members)]
    if not touched:
        names = dict.fromkeys(_layer(name) for name in groups.labelled.tensors)
        near = get_close_matches(layer, names, n=3, cutoff=0.5)
        raise InputError(f"there is no layer {layer}", hint=f"did you mean {' or '.join(near)}?" if near else None)
    made = [group for group in touched if any(_is(m.tensor, layer) and m.role != "in" for m in group.members)]
    return made or touched


def _is(tensor: str, layer: str) -> bool:
    return tensor == layer or tensor.startswith(layer + ".")


def _ids(groups: Groups, group: Group, layer: str) -> set[int]:
    """The ids of one unit of the group in a layer: what it makes of it, or else what it takes."""
    members = [member for member in group.members if _is(member.tensor, layer)]
    made = (
        [member for member in members if member.role == "out"] or [m for m in members if m.role == "along"] or members
    )
    found: set[int] = set()
    for member in made:
        start, size = groups.starts[member.tensor, member.dim]
        ids = np.arange(start, start + size)
        found.update(ids[groups.unit_of[ids] == group.units[0]].tolist())
    return found


def _chain(groups: Groups, group: Group, start: set[int], goal: set[int]) -> tuple[Step, ...]:
    """Breadth first over the ties of one unit; the layers on the way are those whose coordinates are met."""
    links = _links(groups, int(group.units[0]))
    came: dict[int, tuple[int, Place] | None] = dict.fromkeys(sorted(start))
    waiting = deque(came)
    end = next(iter(start & goal), None)
    while waiting and end is None:
        here = waiting.popleft()
        for there, place in links[here]:
            if there not in came:
                came[there] = (here, place)
                waiting.append(there)
                if there in goal:
                    end = there
                    break
    steps: list[Step] = []
    while end is not None and (link := came[end]) is not None:
        before, place = link
        step = Step(_owner(groups, before), _owner(groups, end), place.op, place.path, _line(groups, place))
        if not step.start == step.end == step.path:  # a layer's weight and its bias
            steps.append(step)
        end = before
    return tuple(reversed(steps))


def _links(groups: Groups, unit: int) -> dict[int, list[tuple[int, Place]]]:
    links: dict[int, list[tuple[int, Place]]] = defaultdict(list)
    for event in groups.labelled.ties.events:
        mine = (groups.unit_of[event.a] == unit) & (event.a != FIXED) & (event.b != FIXED)
        for a, b in zip(event.a[mine].tolist(), event.b[mine].tolist(), strict=True):
            links[a].append((b, event.place))
            links[b].append((a, event.place))
    return links


def _to_protection(groups: Groups, group: Group, start: set[int]) -> tuple[Step, ...]:
    """From a layer to the coordinates that something protects."""
    goal: set[int] = set()
    for protection in groups.labelled.ties.protections:
        if protection.reason == group.reason and (group.place is None or protection.place.node == group.place.node):
            goal.update(_of_unit(groups, protection.ids, int(group.units[0])))
    for event in groups.labelled.ties.events:
        if group.place is not None and event.place.node == group.place.node:
            lone = (event.a == FIXED) ^ (event.b == FIXED)
            goal.update(_of_unit(groups, np.maximum(event.a, event.b)[lone], int(group.units[0])))
    return _chain(groups, group, start, goal)


def _of_unit(groups: Groups, ids: Ids, unit: int) -> list[int]:
    found: list[int] = ids[(groups.unit_of[ids] == unit) & (ids != FIXED)].tolist()
    return found


def _owner(groups: Groups, coordinate: int) -> str:
    starts = [start for _, _, start in groups.labelled.owners]
    return _layer(groups.labelled.owners[int(np.searchsorted(starts, coordinate, side="right")) - 1][0])


def _layer(tensor: str) -> str:
    return tensor.rpartition(".")[0] or tensor


def _line(groups: Groups, place: Place) -> str | None:
    return source_line(next((n for n in groups.traced.graph.graph.nodes if n.name == place.node), None))


def _place(op: str, path: str, line: str | None) -> str:
    return f"`{op}` in {path or 'the top level'}" + (f", {line}" if line else "")


def _called(found: Iterable[Group]) -> str:
    return ", ".join(f"the {group.kind} group of {group.name}" for group in found)


def _group_of(groups: Groups) -> Ids:
    """Unit → index of its group; -1 for units of none."""
    index = np.full(int(groups.unit_of.max(initial=0)) + 1, -1, np.int64)
    for group in groups:
        index[group.units] = group.index
    return index
