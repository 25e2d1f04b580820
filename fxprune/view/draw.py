"""Stops and boxes → shapes: what a card, an op, the frame of a module look like, before anyone knows where they go.

A shape's class says what it means; style.py says how that looks. A card's coordinates count from the
middle of its upper edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fxprune.groups import Group, Groups
from fxprune.view.boxes import Box, relative
from fxprune.view.flow import Flow, Portion, Stop

__all__ = ["COLOURS", "Artist", "Drawing", "Rect", "Shape", "Text", "letters", "titled"]

COLOURS = 8  # how many different ones groups can have
STRIP_TOP, STRIP_BOTTOM = 4, 12  # heights of the bars that show the groups of what enters and leaves
CARD, PILL = 50, 24  # heights
RADIUS = 3
NAME, SMALL = 7.25, 6.1  # width of a letter of the name, and of smaller ones
NARROWEST = 132


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    look: str  # classes


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; y is that of its baseline."""

    x: float
    y: float
    text: str
    look: str  # classes
    anchor: str = "start"  # start, middle, end


Shape = Rect | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """A card."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    hint: str  # what hovering tells


def letters(groups: Groups) -> dict[int, str]:
    """Constrained group → its letter: A ties most layers. Z is followed by AA."""
    order = sorted(groups.constrained, key=lambda group: (-len(group.producers), group.index))
    return {group.index: _letter(k) for k, group in enumerate(order)}


def _letter(k: int) -> str:
    return (_letter(k // 26 - 1) if k >= 26 else "") + chr(ord("A") + k % 26)


def titled(box: Box, outer: str) -> tuple[str, str]:
    """Title of a box inside the box of a path, and for a run how often."""
    if box.name:
        title = box.name
    elif box.run and box.last != box.path:
        first, last = box.path.split("."), box.last.split(".")
        shared = next(k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
        tail = ".".join(last[shared:])
        title = f"{relative(box.path, outer)} … {tail}"
    else:
        title = relative(box.path, outer)
    again = ", same weights" if box.again else ""
    return title, f"× {box.times}{again}" if box.run else ""


class Artist:
    """Draws the stops of one flow."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.groups = flow.groups.groups
        self.letters = letters(flow.groups)
        self._told: dict[int, str] = {}
        order = list(self.letters)
        self.colour = {index: k if k < COLOURS else 1 + (k - 1) % (COLOURS - 1) for k, index in enumerate(order)}

    def look(self, index: int | None) -> str:
        """Class of a group: a colour, `free`, `fixed` (protected) or `none` (nothing that could be removed)."""
        if index is None:
            return "none"
        group = self.groups[index]
        return {"free": "free", "protected": "fixed"}.get(group.kind) or f"k{self.colour[index]}"

    def card(self, stop: Stop, label: str, shown: Sequence[Stop] = (), room: Sequence[Stop] = ()) -> Drawing:
        """The card of a layer, or the pill of anything else.

        Args:
            label: its name in the box around it.
            shown: the stops that it stands for: identical blocks that are folded. Widths are given as a range.
            room: the stops that it may stand for when more is folded, for its size.
        """
        return self._layer(stop, label, shown or (stop,), room or (stop,)) if stop.kind == "layer" else self._pill(stop)

    def _pill(self, stop: Stop) -> Drawing:
        shown = stop.what
        if stop.kind in ("input", "output"):
            shown += f"  {stop.width('leaves')}"
        made = [k for k in stop.made if k in self.letters]
        letter = self.letters[made[0]] if stop.ties and len(made) == 1 and len(stop.leaves) == 1 else ""
        width = max(46, math.ceil(len(shown) * 6.6) + 22 + (8 + 7 * len(letter) if letter else 0))
        look = self.look(stop.leaves[0].group) if stop.ties and len(stop.leaves) == 1 else ""
        solid = look.startswith("k")
        base = "pill port" if stop.kind in ("input", "output") else f"pill {look if solid else ''}".strip()
        shapes: list[Shape] = [Rect(-width / 2, 0, width, PILL, PILL / 2, base)]
        if look == "fixed":
            shapes.append(Rect(-width / 2, 0, width, PILL, PILL / 2, "tint fixed"))
        elif not solid and stop.kind == "op" and any(self.look(p.group) != "free" for p in stop.leaves):
            strip = [
                (p, *span)
                for p, span in zip(stop.leaves, _spans(stop.leaves, -width / 2 + 12, width - 24), strict=True)
            ]
            shapes += [Rect(x, PILL - 3, w, 3, 0, f"seg {self.look(p.group)}") for p, x, w in strip]
        text = f"on {look}" if solid else "op"
        shapes.append(Text(-3.5 - 3.5 * len(letter) if letter else 0, 16, shown, text, "middle"))
        if letter:
            shapes.append(Text(width / 2 - 9, 16, letter, f"on {look} letter", "end"))
        return Drawing(width, PILL, tuple(shapes), self.hint(stop))

    def _layer(self, stop: Stop, label: str, shown: Sequence[Stop], room: Sequence[Stop]) -> Drawing:
        before = f"{stop.width('enters')} → {stop.width('leaves')}"
        after, widest = (_left(shown), _left(room)) if self.flow.planned else (before, before)
        aside = max(len(before), len(widest)) * SMALL
        width = max(NARROWEST, math.ceil(max(len(label) * NAME, len(stop.what) * SMALL) + aside) + 34)
        left = -width / 2
        shapes: list[Shape] = [Rect(left, 0, width, CARD, RADIUS, "card")]
        main = max(stop.leaves, key=lambda p: (p.group in self.letters, p.before), default=None)
        look = self.look(main.group) if main else "none"
        if look != "free" and look != "none":
            shapes.append(Rect(left, 0, width, CARD, RADIUS, f"tint {look}"))
        shapes += self._strip(stop.enters, left, 0, width, STRIP_TOP, named=False)
        shapes += self._strip(stop.leaves, left, CARD - STRIP_BOTTOM, width, STRIP_BOTTOM, named=True)
        shapes.append(Rect(left, 0, width, CARD, RADIUS, "edge"))
        right = width / 2 - 9
        shapes.append(Text(left + 9, 18, label, "name"))
        shapes.append(Text(left + 9, 32, stop.what, "sub"))
        if widest != before:
            shapes.append(Text(right, 18, before, "was", "end"))
            shapes.append(Text(right, 32, after, "now", "end"))
        else:
            shapes.append(Text(right, 18, before, "width", "end"))
        return Drawing(width, CARD, tuple(shapes), self.hint(stop))

    def _strip(
        self, portions: Sequence[Portion], left: float, y: float, width: float, height: float, *, named: bool
    ) -> Iterator[Shape]:
        """A bar divided among groups; of each, what the plan takes away is drawn empty."""
        for portion, (x, share) in zip(portions, _spans(portions, left, width), strict=True):
            look = self.look(portion.group)
            yield Rect(x, y, share, height, 0, f"seg {look}")
            kept = share * portion.after / portion.before if portion.before else share
            if share - kept > 0.5:
                yield Rect(x + kept, y, share - kept, height, 0, "cut")
            letter = self.letters.get(portion.group if portion.group is not None else -1, "")
            if named and letter and kept >= 7 * len(letter) + 4:
                yield Text(x + kept / 2, y + height - 3, letter, f"on {look} tiny", "middle")

    def hint(self, stop: Stop) -> str:
        """What there is to say about a stop, in lines."""
        lines = [f"{stop.path}  {stop.what}" if stop.kind == "layer" else f"{stop.what}  {stop.path}".strip()]
        lines += [self.told(self.groups[k]) for k in dict.fromkeys(stop.made)]
        return "\n".join(lines)

    def told(self, group: Group) -> str:
        """A group in one line."""
        if group.index not in self._told:
            self._told[group.index] = self._tell(group)
        return self._told[group.index]

    def _tell(self, group: Group) -> str:
        if group.kind == "protected":
            return f"{group.width} channels protected: {group.reason}"
        if group.kind == "free":
            return f"{group.width} channels free"
        return f"{group.width} channels of group {self.letters[group.index]}, tied over {len(group.producers)} layers"


def _spans(portions: Sequence[Portion], left: float, width: float) -> list[tuple[float, float]]:
    """Start and width of each portion's part of a bar."""
    total = sum(p.before for p in portions) or 1
    spans: list[tuple[float, float]] = []
    at = left
    for portion in portions:
        share = width * portion.before / total
        spans.append((at, share))
        at += share
    return spans


def _left(stops: Sequence[Stop]) -> str:
    """Widths after the plan, of stops that are shown as one."""
    return f"{_range(s.width('enters', True) for s in stops)} → {_range(s.width('leaves', True) for s in stops)}"


def _range(values: Iterable[int]) -> str:
    held = sorted(set(values))
    return str(held[0]) if len(held) == 1 else f"{held[0]}–{held[-1]}"
