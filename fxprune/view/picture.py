"""`Groups` and perhaps a `Plan` → a picture: everything that the SVG, the PNG and the page are drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fxprune.groups import Groups
from fxprune.plan import Plan
from fxprune.view.boxes import Box, boxes_of, leaves, relative
from fxprune.view.contract import flow_of
from fxprune.view.draw import SMALL, Artist, Drawing, Rect, Shape, Text, titled
from fxprune.view.flow import Flow
from fxprune.view.layout import METRICS, Placed, Wire, place
from fxprune.view.sheet import Sheet, sheets_of

__all__ = ["Picture", "picture"]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A network, its groups, and where everything goes while repeated blocks are folded."""

    title: str
    flow: Flow
    root: Box
    sheets: dict[int, Sheet] = field(repr=False)  # by number of a box
    artist: Artist = field(repr=False)
    labels: dict[int, str] = field(repr=False)  # stop → its name in the box around it
    outer: dict[int, str] = field(repr=False)  # number of a box → path of the module around it
    room: dict[int, tuple[int, ...]] = field(repr=False)  # stop → distances to those alike in all runs around it
    cards: dict[int, Drawing] = field(repr=False)  # of the stops that show
    placed: Placed = field(repr=False)

    def frame(self, placed: Placed) -> list[Rect]:
        """What is drawn under a box's content."""
        assert isinstance(placed.item, Box)
        if placed.item.number == 0:
            return []
        width = placed.left + placed.right
        rects = []
        if placed.folded:
            for k in (2, 1):
                shift = METRICS["stack"] * k
                rects.append(Rect(-placed.left + shift, shift, width, placed.height, 8, "under"))
            rects.append(Rect(-placed.left, 0, width, placed.height, 8, "under"))
        rects.append(Rect(-placed.left, 0, width, placed.height, 8, "box"))
        return rects

    def header(self, placed: Placed) -> list[Shape]:
        """Title and badge of a box."""
        assert isinstance(placed.item, Box)
        if placed.item.number == 0:
            return []
        title, badge = self.titled(placed.item)
        shapes: list[Shape] = [Text(-placed.left + 10, 16, title, "title")]
        if badge:
            width = self.room_of(placed.item)[1] - 12
            shapes.append(Rect(placed.right - width - 6, 4, width, 17, 8.5, "badge"))
            shapes.append(Text(placed.right - 6 - width / 2, 16, badge, "times", "middle"))
        return shapes

    def titled(self, box: Box) -> tuple[str, str]:
        """Title and badge of a box, in words."""
        return titled(box, self.outer[box.number])

    def room_of(self, box: Box) -> tuple[int, int]:
        """Widths of the words in a box's header, with the mark that a page puts before them, and of its badge."""
        words, badge = self.titled(box) if box.number else ("", "")
        return math.ceil((len(words) + 2 * bool(words)) * 6.7), math.ceil(len(badge) * SMALL) + 44 if badge else 0

    def wire(self, wire: Wire) -> str:
        """Classes of an edge: residual ones have the colour of their group."""
        if not wire.residual:
            return "wire"
        looks = [self.artist.look(p.group) for p in self.flow.stops[wire.value].leaves]
        colour = looks[0] if len(looks) == 1 and looks[0].startswith("k") else ""
        return f"wire residual {colour}".strip()


def picture(
    groups: Groups, plan: Plan | None = None, *, title: str | None = None, folded: Callable[[Box], bool] | None = None
) -> Picture:
    """Lay out a network.

    Args:
        groups: what was found.
        plan: what would be cut, drawn into it.
        title: what to call the network; its class by default.
        folded: which runs show their first thing only; all by default.
    """
    flow = flow_of(groups, None if plan is None else plan.removed)
    root = boxes_of(flow)
    sheets = sheets_of(flow, root)
    artist = Artist(flow)
    labels: dict[int, str] = {}
    outer: dict[int, str] = {}
    _name(root, "", flow, labels, outer)
    shut = folded or (lambda box: True)
    room: dict[int, tuple[int, ...]] = {}
    _alike(root, (0,), room)
    cards: dict[int, Drawing] = {}
    _cards(root, (0,), shut, artist, labels, room, cards)
    called = title or type(groups.traced.module).__name__
    made = Picture(called, flow, root, sheets, artist, labels, outer, room, cards, Placed(0, 0, 0, 0))

    placed = place(root, sheets, lambda stop: (cards[stop].width, cards[stop].height), made.room_of, shut)
    return replace(made, placed=placed)


def _name(box: Box, around: str, flow: Flow, labels: dict[int, str], outer: dict[int, str]) -> None:
    """Names are told from the nearest module that is drawn as a box of its own."""
    outer[box.number] = around
    inner = around if box.run else box.path
    for item in box.items:
        if isinstance(item, Box):
            _name(item, inner, flow, labels, outer)
        else:
            labels[item] = relative(flow.stops[item].path, inner)


def _cards(
    box: Box,
    offsets: tuple[int, ...],
    folded: Callable[[Box], bool],
    artist: Artist,
    labels: dict[int, str],
    room: dict[int, tuple[int, ...]],
    cards: dict[int, Drawing],
) -> None:
    """Cards of what shows. Identical blocks have as many stops each, so those alike stand at fixed distances."""
    stops = artist.flow.stops
    items = box.items
    if box.run and folded(box):
        starts = [leaves(item)[0] for item in items]
        offsets = tuple(offset + start - starts[0] for offset in offsets for start in starts)
        items = items[:1]
    for item in items:
        if isinstance(item, Box):
            _cards(item, offsets, folded, artist, labels, room, cards)
        else:
            shown = [stops[item + k] for k in offsets]
            cards[item] = artist.card(stops[item], labels[item], shown, [stops[item + k] for k in room[item]])


def _alike(box: Box, offsets: tuple[int, ...], room: dict[int, tuple[int, ...]]) -> None:
    """Of each stop, the distances to those that correspond to it if every run around it is folded."""
    starts = [leaves(item)[0] for item in box.items]
    for item, own in zip(box.items, starts, strict=True):
        mine = tuple(offset + start - own for offset in offsets for start in starts) if box.run else offsets
        if isinstance(item, Box):
            _alike(item, mine, room)
        else:
            room[item] = mine
