"""`Flow` → nested boxes: the modules as their author wrote them, repeated identical ones gathered into runs.

Laws:
- A box is one call of a module. Its stops follow each other without a gap in the order of execution, so boxes drawn as
  single nodes never make a cycle.
- A box with a single thing in it is left out.
- Two neighbours are identical if they have the same structure and the same relation to the groups: pairing what
  corresponds pairs the groups one to one, alike in kind, width and number of members. So blocks with free groups of
  their own around one shared constrained group are identical, and so are the layers of a plain chain.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fxprune.view.flow import Flow, Stop

__all__ = ["Box", "Item", "boxes_of", "leaves", "relative"]

LONGEST = 4  # things in one repeated unit
NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # a component of a path that is a number


@dataclass(slots=True, eq=False)
class Box:
    """A module, or (`times` > 0) a run of identical things one after another."""

    path: str
    items: list[Item]
    times: int = 0  # how many identical things; 0: no run
    last: str = ""  # of a run, the path of its last thing
    name: str = ""  # of several things that repeat together, what they are called
    again: bool = False  # of a run, whether it is the same layers each time
    number: int = 0  # in the order of opening
    seen: tuple[int, ...] = field(default=(), repr=False)  # its stops, once gathered

    @property
    def run(self) -> bool:
        """Whether it stands for repeated things."""
        return self.times > 0


Item = int | Box  # a stop by its position, or a box


def boxes_of(flow: Flow) -> Box:
    """The tree; its root has no path."""
    root = Box("", [])
    open_boxes: list[tuple[str, Box]] = [("", root)]
    for position, stop in enumerate(flow.stops):
        depth = 1
        while depth < len(open_boxes) and depth <= len(stop.boxes) and open_boxes[depth][0] == stop.boxes[depth - 1][0]:
            depth += 1
        del open_boxes[depth:]
        for call, path in stop.boxes[depth - 1 :]:
            box = Box(path, [])
            open_boxes[-1][1].items.append(box)
            open_boxes.append((call, box))
        open_boxes[-1][1].items.append(position)
    root.items = [_without_singles(item) for item in root.items]
    _Runs(flow).gather(root)
    for number, box in enumerate(_all(root)):
        box.number = number
    return root


def leaves(item: Item) -> tuple[int, ...]:
    """Every stop in an item, in the order of execution."""
    if isinstance(item, int):
        return (item,)
    if not item.seen:
        item.seen = tuple(leaf for inner in item.items for leaf in leaves(inner))
    return item.seen


def relative(path: str, outer: str) -> str:
    """A path as shown in a box: without the box's own, but never a bare number."""
    if not outer or path == outer or not path.startswith(outer + "."):
        return path
    rest = path[len(outer) + 1 :]
    return f"{outer.rpartition('.')[2]}.{rest}" if rest[0].isdigit() else rest


def _all(box: Box) -> Iterator[Box]:
    yield box
    for item in box.items:
        if isinstance(item, Box):
            yield from _all(item)


def _without_singles(item: Item) -> Item:
    if isinstance(item, int):
        return item
    item.items = [_without_singles(inner) for inner in item.items]
    return item.items[0] if len(item.items) == 1 else item


class _Runs:
    """Finds what repeats, level by level."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.known: dict[Any, int] = {}  # shapes, interned
        self.shapes: dict[int, int] = {}  # id of a box → its shape
        self.into: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        for edge in flow.edges:
            self.into[edge.target].append((edge.source, edge.residual))

    def gather(self, box: Box) -> None:
        """Replace repeated neighbours by runs, inner boxes first."""
        found: list[Item] = []
        shapes = [self._shape(item) for item in box.items]
        for item in box.items:
            if isinstance(item, Box):
                self.gather(item)
        start = 0
        while start < len(box.items):
            length, times = self._repeat(box.items, shapes, start)
            if times == 1:
                found.append(box.items[start])
                start += 1
                continue
            units = [self._unit(box, box.items[start + k * length :][:length]) for k in range(times)]
            paths = [self._path(unit) for unit in units]
            again = self._tensors(units[0]) == self._tensors(units[-1])
            found.append(Box(paths[0], units, times, paths[-1], _names(units), again))
            start += length * times
        if len(found) == 1 and isinstance(found[0], Box) and found[0].run and box.path:
            run = found[0]  # a module that is nothing but a run
            box.items, box.times, box.last = run.items, run.times, run.last
            box.path, box.name, box.again = run.path, run.name, run.again
            return
        box.items = found

    def _repeat(self, items: Sequence[Item], shapes: Sequence[int], start: int) -> tuple[int, int]:
        """Length and count of the repetition from here that covers most; count 1: none."""
        best = (1, 1)
        for length in range(1, LONGEST + 1):
            times = 1
            while start + (times + 1) * length <= len(items):
                a, b = start + (times - 1) * length, start + times * length
                if list(shapes[a:b]) != list(shapes[b : b + length]):
                    break
                if not self._alike(items[a:b], items[b : b + length]):
                    break
                times += 1
            few = 2 if any(isinstance(item, Box) for item in items[start : start + length]) else 3
            if times >= few and times * length > best[0] * best[1]:
                best = (length, times)
        return best

    def _alike(self, first: Sequence[Item], second: Sequence[Item]) -> bool:
        """Names differ in numbers only, and the groups correspond one to one."""
        for a, b in zip(first, second, strict=True):
            if NUMBER.sub("#", self._path(a)) != NUMBER.sub("#", self._path(b)):
                return False
        there: dict[int, int] = {}
        back: dict[int, int] = {}
        groups = self.flow.groups.groups
        for a, b in zip((x for i in first for x in leaves(i)), (x for i in second for x in leaves(i)), strict=True):
            one, other = self.flow.stops[a], self.flow.stops[b]
            for g, h in zip(_touched(one), _touched(other), strict=True):
                if there.setdefault(g, h) != h or back.setdefault(h, g) != g:
                    return False
        return all(
            groups[g].kind == groups[h].kind
            and groups[g].width == groups[h].width
            and len(groups[g].members) == len(groups[h].members)
            for g, h in there.items()
        )

    def _unit(self, box: Box, items: Sequence[Item]) -> Item:
        """What repeats: a thing, or several in a box without a module of its own."""
        if len(items) == 1:
            return items[0]
        called = [relative(i.path, box.path) if isinstance(i, Box) else self._called(i, box.path) for i in items]
        return Box(box.path, list(items), name=" · ".join(called))

    def _tensors(self, item: Item) -> list[tuple[str, ...]]:
        return [self.flow.stops[leaf].tensors for leaf in leaves(item)]

    def _called(self, leaf: int, outer: str) -> str:
        stop = self.flow.stops[leaf]
        return relative(stop.path, outer) if stop.kind == "layer" else stop.what

    def _path(self, item: Item) -> str:
        return item.path if isinstance(item, Box) else self.flow.stops[item].path

    def _shape(self, item: Item) -> int:
        """A number that is the same for things of the same structure, whatever they are called themselves."""
        if isinstance(item, int):
            stop = self.flow.stops[item]
            return self._intern((stop.kind, stop.what, _widths(stop), stop.ties, stop.reason))
        if id(item) not in self.shapes:
            inside = leaves(item)
            first = inside[0]
            members = set(inside)
            edges = tuple(
                (source - first, leaf - first, residual)
                for leaf in inside
                for source, residual in self.into[leaf]
                if source in members
            )
            parts = tuple((_within(self._path(i), item.path), self._shape(i)) for i in item.items)
            self.shapes[id(item)] = self._intern((parts, edges))
        return self.shapes[id(item)]

    def _intern(self, shape: Any) -> int:
        return self.known.setdefault(shape, len(self.known))


def _within(path: str, outer: str) -> str:
    """What is left of a path inside a box; of one that does not belong there, all but its numbers."""
    if path == outer:
        return ""
    return path[len(outer) + 1 :] if path.startswith(outer + ".") else NUMBER.sub("#", path)


def _names(units: Sequence[Item]) -> str:
    """What a run of several things together is called."""
    names = [unit.name for unit in units if isinstance(unit, Box)]
    if not any(names):
        return ""
    return names[0] if names[0] == names[-1] else f"{names[0]} … {names[-1]}"


def _widths(stop: Stop) -> tuple[Any, ...]:
    return tuple(p.before for p in stop.enters), tuple(p.before for p in stop.leaves), len(stop.groups)


def _touched(stop: Stop) -> list[int]:
    """Groups in a fixed order; -1 for what is in none."""
    shares = [-1 if p.group is None else p.group for p in (*stop.enters, *stop.leaves)]
    return [*(k for k in shares if k >= 0), *stop.groups]
