"""Sheets + what is folded → coordinates: where every card, box and edge of the picture goes.

assets/place.js does the same arithmetic in the page, when something is folded or unfolded; a test compares the two.
Units are pixels; a box's own coordinates count from the middle of its upper edge, x to the right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fxprune.view.boxes import Box, Item
from fxprune.view.sheet import Lane, Line, Sheet

__all__ = ["METRICS", "Placed", "Wire", "number", "place"]

# what the page's layout has to agree on
METRICS = {
    "pad": 14,  # between the side of a box and what is in it
    "header": 24,  # height of a box's title
    "gap": 26,  # between rows
    "beside": 22,  # between cards in a row
    "lane": 16,  # between lanes
    "turn": 5,  # between edges that turn in the same gap
    "port": 14,  # between ports
    "slot": 12,  # between edges that arrive at the same card
    "title": 20,  # around a title
    "middle": 144,  # the widest title that is kept to the left of the middle
    "stack": 4,  # how far the cards of a stack stand apart
}


@dataclass(frozen=True, slots=True)
class Wire:
    """One edge as drawn."""

    path: str  # SVG path
    value: int  # the stop whose value it carries
    residual: bool
    arrow: bool  # it ends at a card, not at the side of a box


@dataclass(slots=True)
class Placed:
    """A card or a box with its place inside the box around it."""

    item: Item
    left: float  # how far it reaches to the left of its middle
    right: float
    height: float
    x: float = 0.0  # of its middle
    y: float = 0.0  # of its upper edge
    folded: bool = False
    inside: list[Placed] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    ports: dict[tuple[str, int], float] = field(default_factory=dict)  # ("enters" or "leaves", value) → x

    def port(self, side: str, value: int) -> float:
        """Where a value passes the upper or lower edge; of a run that hides it, where its first one does."""
        held = [x for (which, _), x in self.ports.items() if which == side]
        return self.ports.get((side, value), held[0] if held else 0.0)


def place(
    box: Box,
    sheets: Mapping[int, Sheet],
    size: Callable[[int], tuple[float, float]],
    title: Callable[[Box], tuple[float, float]],
    folded: Callable[[Box], bool],
) -> Placed:
    """Coordinates of a box and everything that shows in it.

    Args:
        size: width and height of the card of a stop.
        title: widths of the words in a box's header and of its badge.
        folded: whether a run shows its first thing only.
    """
    first = box.items[0]
    if box.run and folded(box) and isinstance(first, Box):
        placed = place(first, sheets, size, title, folded)
        placed.item, placed.folded = box, True
        return _titled(placed, title(box))
    sheet = sheets[box.number]
    if box.run and folded(box):
        sheet = _only_first(sheet, box)
    inner = {
        k: _leaf(spot.item, size) if isinstance(spot.item, int) else place(spot.item, sheets, size, title, folded)
        for k, spot in enumerate(sheet.spots)
        if spot.item is not None and any(k in row for row in sheet.rows)
    }
    placed = _Arranger(sheet, inner, bool(box.path)).arrange(box)
    placed.folded = box.run and folded(box)
    return _titled(placed, title(box))


def _titled(placed: Placed, title: tuple[float, float]) -> Placed:
    """Wide enough for the header; a short title ends before the middle, where edges come in."""
    words, badge = title
    if words + METRICS["title"] <= METRICS["middle"]:
        placed.left = max(placed.left, words + METRICS["title"])
    placed.right = max(placed.right, words + METRICS["title"] + badge - placed.left, badge)
    return placed


def _leaf(stop: int, size: Callable[[int], tuple[float, float]]) -> Placed:
    width, height = size(stop)
    return Placed(stop, width / 2, width / 2, height)


def _only_first(sheet: Sheet, box: Box) -> Sheet:
    """A folded run of bare layers: one card between the ports."""
    count = len(box.items)
    ports = range(count, len(sheet.spots))
    top = tuple(k for k in ports if k < count + len(sheet.enters))
    bottom = tuple(k for k in ports if k >= count + len(sheet.enters))
    lines = [Line(k, 0, sheet.spots[k].value, False, -1, 0, 1) for k in top]
    lines += [Line(0, k, sheet.spots[k].value, False, -1, 0, 1) for k in bottom]
    return Sheet(sheet.spots, (top, (0,), bottom), tuple(lines), (), sheet.enters, sheet.leaves)


class _Arranger:
    """Adds up the sizes of one sheet."""

    def __init__(self, sheet: Sheet, inner: dict[int, Placed], framed: bool) -> None:
        self.sheet = sheet
        self.inner = inner
        self.framed = framed
        self.x: dict[int, float] = {}
        self.row_of = {spot: k for k, row in enumerate(sheet.rows) for spot in row}
        self.turns = [0] * len(sheet.rows)  # of each row, how many lanes turn below it
        self.nth: list[tuple[int, int]] = []  # of each lane, its places among those that turn at its ends
        for lane in sheet.lanes:
            self.nth.append((self.turns[lane.first], self.turns[lane.last - 1] + (lane.last - 1 == lane.first)))
            self.turns[lane.first] += 1
            self.turns[lane.last - 1] += lane.last - 1 != lane.first

    def arrange(self, box: Box) -> Placed:
        """The box with everything in its place."""
        m = METRICS
        left, right = zip(*(self._across(row) for row in self.sheet.rows), strict=True)
        tops, heights = self._down()
        lanes = self._lanes(left, right)
        bottom = tops[-1] + heights[-1] + (0 if self.sheet.leaves or not self.framed else m["pad"])
        placed = Placed(
            box,
            max(*left, *(-x for x in lanes), 0) + (m["pad"] if self.framed else 0),
            max(*right, *lanes, 0) + (m["pad"] if self.framed else 0),
            bottom,
        )
        for k, inner in self.inner.items():
            inner.x = self.x[k]
            row = self.row_of[k]
            inner.y = tops[row] + (heights[row] - inner.height) / 2
            placed.inside.append(inner)
        for k, spot in enumerate(self.sheet.spots):
            if spot.item is None and k in self.x:
                placed.ports["enters" if self.row_of[k] == 0 else "leaves", spot.value] = self.x[k]
        placed.wires = [self._wire(line, tops, heights, lanes) for line in self.sheet.lines]
        return placed

    def _across(self, row: tuple[int, ...]) -> tuple[float, float]:
        """Put a row's spots side by side around the middle; how far they reach."""
        if all(spot not in self.inner for spot in row):
            for k, spot in enumerate(row):
                self.x[spot] = (k - (len(row) - 1) / 2) * METRICS["port"]
            return len(row) * METRICS["port"] / 2, len(row) * METRICS["port"] / 2
        cards = [self.inner[spot] for spot in row]
        if len(cards) == 1:
            self.x[row[0]] = 0.0
            return cards[0].left, cards[0].right
        width = sum(card.left + card.right for card in cards) + METRICS["beside"] * (len(cards) - 1)
        at = -width / 2
        for spot, card in zip(row, cards, strict=True):
            self.x[spot] = at + card.left
            at += card.left + card.right + METRICS["beside"]
        return width / 2, width / 2

    def _down(self) -> tuple[list[float], list[float]]:
        """Upper edge and height of each row."""
        m = METRICS
        heights = [max((self.inner[s].height for s in row if s in self.inner), default=0) for row in self.sheet.rows]
        at: float = 0 if self.sheet.enters or not self.framed else m["header"] + m["pad"]
        tops: list[float] = []
        for k, height in enumerate(heights):
            tops.append(at)
            at += height + m["gap"] + m["turn"] * max(0, self.turns[k] - 1)
            if k == 0 and self.sheet.enters:
                at += m["header"] - m["gap"] / 2
        return tops, heights

    def _lanes(self, left: tuple[float, ...], right: tuple[float, ...]) -> list[float]:
        """x of each lane: outside the rows it passes and the lanes between."""
        found: list[float] = []
        for k, lane in enumerate(self.sheet.lanes):
            reach = left if lane.side < 0 else right
            edge = max((reach[row] for row in range(lane.first + 1, lane.last)), default=0)
            for other, x in zip(self.sheet.lanes[:k], found, strict=True):
                if other.side == lane.side and _overlap(lane, other):
                    edge = max(edge, abs(x))
            found.append(lane.side * (edge + METRICS["lane"]))
        return found

    def _wire(self, line: Line, tops: list[float], heights: list[float], lanes: list[float]) -> Wire:
        m = METRICS
        start, end = self.row_of[line.source], self.row_of[line.target]
        x1, y1 = self._leaves(line, tops)
        x2, y2 = self._arrives(line, tops)
        floor, ceiling = tops[start] + heights[start], tops[end]
        if start == 0 and self.sheet.enters:
            floor += m["header"]
        if line.lane < 0:
            path = f"M{number(x1)} {number(y1)}" + _down(y1, floor) + _bend(x1, floor, x2, ceiling) + _down(ceiling, y2)
        else:
            first, last = self.nth[line.lane]
            out, back = floor + 7 + m["turn"] * first, ceiling - 11 - m["turn"] * last
            path = _around(x1, y1, out, lanes[line.lane], back, x2, y2)
        return Wire(path, line.value, line.residual, isinstance(self.sheet.spots[line.target].item, int))

    def _leaves(self, line: Line, tops: list[float]) -> tuple[float, float]:
        source = self.inner.get(line.source)
        if source is None:
            return self.x[line.source], tops[self.row_of[line.source]]
        return source.x + source.port("leaves", line.value), source.y + source.height

    def _arrives(self, line: Line, tops: list[float]) -> tuple[float, float]:
        target = self.inner.get(line.target)
        if target is None:
            return self.x[line.target], tops[self.row_of[line.target]]
        if isinstance(target.item, Box):
            return target.x + target.port("enters", line.value), target.y
        step = min(METRICS["slot"], (target.left + target.right) / (line.slots + 1))
        return target.x + (line.slot - (line.slots - 1) / 2) * step, target.y


def _overlap(one: Lane, other: Lane) -> bool:
    return one.first < other.last and other.first < one.last


def number(value: float) -> str:
    """At most one decimal; halves go up, as in the page."""
    return f"{math.floor(value * 10 + 0.5) / 10:g}"


def _down(y1: float, y2: float) -> str:
    return f"V{number(y2)}" if y2 - y1 > 0.5 else ""


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    if abs(x1 - x2) < 0.5:
        return f"V{number(y2)}"
    middle = (y1 + y2) / 2
    return f"C{number(x1)} {number(middle)} {number(x2)} {number(middle)} {number(x2)} {number(y2)}"


def _around(x1: float, y1: float, out: float, lane: float, back: float, x2: float, y2: float) -> str:
    """Down, out to the lane, down, back in, down; with round corners."""
    a, b = (1 if lane > x1 else -1), (1 if x2 > lane else -1)
    r = min(6.0, abs(lane - x1) / 2, abs(x2 - lane) / 2, max(0.0, (back - out) / 2))
    return (
        f"M{number(x1)} {number(y1)}V{number(out - r)}Q{number(x1)} {number(out)} {number(x1 + a * r)} {number(out)}"
        f"H{number(lane - a * r)}Q{number(lane)} {number(out)} {number(lane)} {number(out + r)}"
        f"V{number(back - r)}Q{number(lane)} {number(back)} {number(lane + b * r)} {number(back)}"
        f"H{number(x2 - b * r)}Q{number(x2)} {number(back)} {number(x2)} {number(back + r)}V{number(y2)}"
    )
