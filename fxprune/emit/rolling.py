"""Statements in, fewer out: chains become calls of a sequence, repeated blocks become loops.

Only the order of evaluation and the values read decide; the result computes the very same operations in the same order.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import count, pairwise
from typing import NamedTuple

from fxprune.emit.program import (
    ATOM,
    Carried,
    Expr,
    Index,
    Loop,
    Node,
    Path,
    Ref,
    Stmt,
    Use,
    map_refs,
    outs,
    put_uses,
    refs,
    uses,
)

__all__ = ["collapse", "roll"]

WORTH = 2  # lines a loop must save


def readers(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Value → the positions of the nodes that read it."""
    found: dict[int, list[int]] = {}
    for position, node in enumerate(nodes):
        for value in uses(node):
            found.setdefault(value, []).append(position)
    return found


def collapse(nodes: Sequence[Node], lists: Mapping[Path, int]) -> tuple[tuple[Node, ...], frozenset[Path]]:
    """Replace each `x = body[0](x); x = body[1](x); …` over a whole list by `x = body(x)`.

    Args:
        nodes: a forward pass.
        lists: path of each list of layers → its length.

    Returns:
        the statements, and the lists that are now called.
    """
    called: set[Path] = set()
    while True:
        read = readers(nodes)
        out: list[Node] = []
        position = 0
        while position < len(nodes):
            run = chain(nodes, position, lists, read)
            if run:
                path = next(refs(nodes[position]))[:-1]
                (made,), (read_value,) = outs(nodes[position + run - 1]) or (None,), uses(nodes[position])
                called.add(path)
                word = next((p for p in reversed(path) if isinstance(p, str) and p.isidentifier()), "")
                out.append(Stmt(Expr((Ref(path), "(", Use(read_value), ")"), ATOM), made, word))
            else:
                out.append(nodes[position])
            position += run or 1
        if len(out) == len(nodes) and tuple(out) == tuple(nodes):
            return tuple(nodes), frozenset(called)
        nodes = out


def plain_call(node: Node) -> Path | None:
    """The path of the layer in `layer(value)`."""
    if not isinstance(node, Stmt):
        return None
    match node.expr.parts:
        case (Ref(path), "(", Use(), ")"):
            return path
    return None


def chain(nodes: Sequence[Node], start: int, lists: Mapping[Path, int], read: Mapping[int, list[int]]) -> int:
    """How many statements from `start` on call a whole list in order, each reading only the one before; else 0."""
    path = plain_call(nodes[start])
    if path is None or path[-1] != "0" or path[:-1] not in lists:
        return 0
    length = lists[path[:-1]]
    run = nodes[start : start + length]
    if [plain_call(node) for node in run] != [(*path[:-1], str(i)) for i in range(length)]:
        return 0
    for offset, (before, after) in enumerate(pairwise(run)):
        made = outs(before)
        if not made or tuple(uses(after)) != made or read[made[0]] != [start + offset + 1]:
            return 0
    return length


def key(node: Node) -> Hashable:
    """What two nodes must share to be two turns of one loop: everything but which values and paths they name."""
    if isinstance(node, Stmt):
        shape = tuple(
            p if isinstance(p, str) else ("use", p.level) if isinstance(p, Use) else ("ref", len(p.path))
            for p in node.expr.parts
        )
        return shape, node.out is None
    numbers: dict[int, int] = {}
    for carried in node.carried:
        numbers.setdefault(carried.phi, len(numbers))
    for inner in node.body:
        for value in outs(inner):
            numbers.setdefault(value, len(numbers))
    wires = tuple(tuple(numbers.get(value, -1) for value in uses(inner)) for inner in node.body)
    lasts = tuple(numbers[c.last] for c in node.carried)
    return "loop", node.start, node.count, tuple(key(inner) for inner in node.body), wires, lasts


class Step(NamedTuple):
    """Where in a path the running index stands."""

    prefix: Path
    first: int


def stepped(first: Sequence[Path], later: Sequence[Path], turn: int, level: int) -> set[Step] | None:
    """The lists along which `later` is `turn` places on from `first`; None if it is anything else.

    Paths that do not move at all are allowed: they name what all turns share.
    """
    steps: set[Step] = set()
    for one, other in zip(first, later, strict=True):
        if one == other or all(isinstance(b, Index) or a == b for a, b in zip(one, other, strict=True)):
            continue
        place = digit_place(one, level)
        if place is None or not isinstance(other[place], str) or not str(other[place]).isdigit():
            return None
        start = int(str(one[place]))
        if int(str(other[place])) != start + turn or one[:place] != other[:place]:
            return None
        rest = zip(one[place + 1 :], other[place + 1 :], strict=True)
        if not all(a == b or (isinstance(a, Index) and isinstance(b, Index)) for a, b in rest):
            return None
        steps.add(Step(one[:place], start))
    return steps


def digit_place(path: Path, level: int) -> int | None:
    """Where the level-th number of a path stands (0: the outermost); a loop's index counts as a number."""
    places = [i for i, part in enumerate(path) if isinstance(part, Index) or part.isdigit()]
    if level >= len(places) or isinstance(path[places[level]], Index):
        return None
    return places[level]


def plain(path: Path) -> tuple[str, ...]:
    """A path without the numbers of loops, which differ where all else is alike."""
    return tuple(part if isinstance(part, str) else "*" for part in path)


class Match(NamedTuple):
    """A stretch of nodes that is `turns` times `period` nodes."""

    period: int
    turns: int
    steps: frozenset[Step]
    wires: tuple[tuple[tuple[str, int, int], ...], ...]  # of a later turn, per node and value read
    starts: tuple[tuple[int, ...], ...]  # of the first turn: the values read


class Roller:
    """Finds loops in one list of nodes."""

    def __init__(self, nodes: Sequence[Node], lists: Mapping[Path, int], numbers: count[int]) -> None:
        self.nodes = nodes
        self.lists = lists
        self.numbers = numbers
        self.keys = [key(node) for node in nodes]
        self.paths = [tuple(refs(node)) for node in nodes]
        self.reads = [tuple(uses(node)) for node in nodes]
        self.read = readers(nodes)
        self.made = {value: (i, k) for i, node in enumerate(nodes) for k, value in enumerate(outs(node))}
        self.barren: dict[int, int] = {}  # period → position up to which no loop of this period can be had
        self.by_path: dict[tuple[Hashable, Path], list[int]] = {}
        for position, paths in enumerate(self.paths):
            if paths:
                self.by_path.setdefault((self.keys[position], plain(paths[0])), []).append(position)

    def period(self, start: int, level: int) -> int | None:
        """How far on the same statement stands with the next number in its path."""
        if not self.paths[start]:
            return None
        path = self.paths[start][0]
        place = digit_place(path, level)
        if place is None:
            return None
        after = (*path[:place], str(int(str(path[place])) + 1), *path[place + 1 :])
        for position in self.by_path.get((self.keys[start], plain(after)), ()):
            if position > start:
                return position - start
        return None

    def turn(self, start: int, period: int, number: int, level: int) -> set[Step] | None:
        """The lists stepped along if turn `number` looks like the first one."""
        steps: set[Step] = set()
        for first in range(start, start + period):
            later = first + number * period
            if later >= len(self.nodes) or self.keys[first] != self.keys[later]:
                return None
            found = stepped(self.paths[first], self.paths[later], number, level)
            if found is None:
                return None
            steps |= found
        return steps

    def wiring(self, start: int, period: int, number: int) -> tuple[tuple[tuple[str, int, int], ...], ...]:
        """Where each value read in a turn comes from: this turn, the one before, or outside."""
        begin = start + number * period
        wires = []
        for position in range(begin, begin + period):
            row = []
            for value in self.reads[position]:
                node, which = self.made.get(value, (-1, 0))
                if begin <= node < begin + period:
                    row.append(("here", node - begin, which))
                elif number and begin - period <= node < begin:
                    row.append(("before", node - begin + period, which))
                else:
                    row.append(("outside", value, 0))
            wires.append(tuple(row))
        return tuple(wires)

    def match(self, start: int, level: int) -> Match | None:
        """The longest run of equal turns from `start` on that may become a loop."""
        period = self.period(start, level)
        if period is None or start < self.barren.get(period, 0):
            return None
        wires = self.wiring(start, period, 1) if start + 2 * period <= len(self.nodes) else ()
        turns, steps = 1, set[Step]()
        while (found := self.turn(start, period, turns, level)) and self.wiring(start, period, turns) == wires:
            if steps and found != steps:
                break
            steps = found
            turns += 1
        if (turns - 1) * period <= WORTH or len({step.first for step in steps}) != 1:
            return None
        if any(self.lists.get(step.prefix, 0) < step.first + turns for step in steps):
            return None
        match = Match(period, turns, frozenset(steps), wires, tuple(self.reads[start : start + period]))
        if self.stays(start, match) or not self.sound(start, match):
            self.barren[period] = start + period * (turns - 1)
            return None
        return match

    def stays(self, start: int, match: Match) -> bool:
        """Whether a path that should step along with the others names the first member in every turn."""
        for position in range(start, start + match.period):
            for one, other in zip(self.paths[position], self.paths[position + match.period], strict=True):
                for step in match.steps:
                    if one == other and one[: len(step.prefix) + 1] == (*step.prefix, str(step.first)):
                        return True
        return False

    def sound(self, start: int, match: Match) -> bool:
        """Whether the first turn fits, and nothing made inside is read later except what the last turn hands on."""
        begin: dict[tuple[int, int], int] = {}
        for row, values in zip(match.wires, match.starts, strict=True):
            for wire, value in zip(row, values, strict=True):
                inside = self.made.get(value, (-1, 0))
                kind, place, which = wire
                if kind == "here" and inside != (start + place, which):
                    return False
                if kind == "outside" and place != value:
                    return False
                if kind == "before" and (inside[0] >= start or begin.setdefault((place, which), value) != value):
                    return False
        end = start + match.period * match.turns
        for position in range(start, end):
            for which, value in enumerate(outs(self.nodes[position])):
                turn, place = divmod(position - start, match.period)
                later = any(reader >= end for reader in self.read.get(value, ()))
                if later and (turn != match.turns - 1 or (place, which) not in begin):
                    return False
        return all(self.last_read(match, wire) <= wire[0] for wire in begin)

    @staticmethod
    def last_read(match: Match, carried: tuple[int, int]) -> int:
        return max(place for place, row in enumerate(match.wires) if ("before", *carried) in row)

    def loop(self, start: int, match: Match) -> Loop:
        """The loop; what it hands on keeps the numbers of the last turn."""
        number = next(self.numbers)
        first = self.nodes[start : start + match.period]
        last = start + (match.turns - 1) * match.period
        phis: dict[tuple[int, int], Carried] = {}
        rows: list[list[int]] = []
        for row, values in zip(match.wires, match.starts, strict=True):
            reads = []
            for (kind, place, which), value in zip(row, values, strict=True):
                if kind == "before" and (place, which) not in phis:
                    made, result = outs(first[place])[which], outs(self.nodes[last + place])[which]
                    phis[place, which] = Carried(value, next(self.numbers), made, result)
                reads.append(phis[place, which].phi if kind == "before" else value)
            rows.append(reads)
        steps = {step.prefix: len(step.prefix) for step in match.steps}
        begin = next(iter(match.steps)).first

        def indexed(path: Path) -> Path:
            for prefix, place in steps.items():
                if path[:place] == prefix and len(path) > place and path[place] == str(begin):
                    return (*prefix, Index(number), *path[place + 1 :])
            return path

        body = [map_refs(put_uses(node, iter(reads)), indexed) for node, reads in zip(first, rows, strict=True)]
        lists = tuple(sorted(steps, key=str))
        whole = begin == 0 and all(self.lists[path] == match.turns for path in lists)
        return Loop(number, lists, begin, match.turns, whole, tuple(body), tuple(phis.values()))


def roll(nodes: Sequence[Node], lists: Mapping[Path, int], numbers: count[int]) -> tuple[Node, ...]:
    """Replace repeated stretches over consecutive members of a list by loops, the innermost first.

    Args:
        nodes: a forward pass.
        lists: path of each list of layers → its length.
        numbers: gives numbers not yet used for a value.
    """
    deepest = max((sum(str(part).isdigit() for part in path) for node in nodes for path in refs(node)), default=0)
    for level in reversed(range(deepest)):
        roller = Roller(nodes, lists, numbers)
        out: list[Node] = []
        position = 0
        while position < len(nodes):
            match = roller.match(position, level)
            if match is None:
                out.append(nodes[position])
                position += 1
            else:
                out.append(roller.loop(position, match))
                position += match.period * match.turns
        nodes = out
    return tuple(nodes)
