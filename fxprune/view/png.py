"""Shapes and their places → a PNG, drawn by pillow with the font it brings along: no browser, no system font."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from fxprune.view.draw import Rect, Shape, Text
from fxprune.view.layout import Placed, Wire
from fxprune.view.picture import Picture
from fxprune.view.style import GROUPS, LIGHT, ink
from fxprune.view.svg import MARGIN

__all__ = ["png"]

SCALE = 2  # pixels per unit
FINE = 2  # drawn larger by this and then reduced, for smooth edges
LARGEST = 16_000  # pixels along a side; larger pictures are drawn smaller
STEP = re.compile(r"([MVHQC])([^MVHQC]*)")
SIZES = {
    "name": 12,
    "title": 11,
    "op": 11,
    "on": 11,
    "times": 11,
    "tiny": 9,
    "sub": 10,
    "width": 10,
    "was": 10,
    "now": 10,
}
COLOURS = {"sub": "muted", "width": "muted", "was": "muted", "title": "muted", "now": "accent", "times": "page"}
PLAIN = str.maketrans({"→": ">", "×": "x", "–": "-", "…": "…"})  # what the font lacks

Point = tuple[float, float]


def png(picture: Picture) -> bytes:
    """The picture as a file, light, two pixels per unit."""
    placed = picture.placed
    width, height = placed.left + placed.right + 2 * MARGIN, placed.height + 2 * MARGIN
    scale = min(SCALE * FINE, LARGEST / max(width, height))
    image = Image.new("RGB", (round(width * scale), round(height * scale)), LIGHT["page"])
    _Painter(picture, image, scale).paint(placed, placed.left + MARGIN, MARGIN)
    out = io.BytesIO()
    image.reduce(FINE).save(out, "PNG", optimize=True)
    return out.getvalue()


class _Painter:
    """Draws in units; knows the scale."""

    def __init__(self, picture: Picture, image: Image.Image, scale: float) -> None:
        self.picture = picture
        self.image = image
        self.draw = ImageDraw.Draw(image, "RGBA")
        self.scale = scale
        self.fonts: dict[float, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}

    def paint(self, placed: Placed, x: float, y: float) -> None:
        """A box at its place, and all that is in it."""
        for rect in self.picture.frame(placed):
            self.rect(rect, x, y)
        for wire in placed.wires:
            self.wire(wire, x, y)
        for shape in self.picture.header(placed):
            self.shape(shape, x, y)
        for inner in placed.inside:
            if isinstance(inner.item, int):
                for shape in self.picture.cards[inner.item].shapes:
                    self.shape(shape, x + inner.x, y + inner.y)
            else:
                self.paint(inner, x + inner.x, y + inner.y)

    def shape(self, shape: Shape, x: float, y: float) -> None:
        if isinstance(shape, Rect):
            self.rect(shape, x, y)
        else:
            self.text(shape, x, y)

    def rect(self, rect: Rect, x: float, y: float) -> None:
        left, top = (x + rect.x) * self.scale, (y + rect.y) * self.scale
        box = (left, top, left + rect.width * self.scale, top + rect.height * self.scale)
        fill, outline = _paint(rect.look)
        if fill == "hatch":
            self.hatch(box, faint="tint" in rect.look)
            return
        self.draw.rounded_rectangle(box, rect.radius * self.scale, fill, outline, max(1, round(self.scale)))

    def hatch(self, box: tuple[float, float, float, float], *, faint: bool) -> None:
        """Slanted lines, cut off at the sides of the box."""
        left, top, right, bottom = (round(side) for side in box)
        tile = Image.new("L", (max(1, right - left), max(1, bottom - top)), 0)
        pen = ImageDraw.Draw(tile)
        step = round(8 * self.scale)
        for start in range(-tile.height, tile.width, step):
            pen.line((start, tile.height, start + tile.height, 0), 60 if faint else 255, round(2 * self.scale))
        self.image.paste(LIGHT["hatch"], (left, top), tile)

    def text(self, text: Text, x: float, y: float) -> None:
        looks = text.look.split()
        size = SIZES[next(look for look in reversed(looks) if look in SIZES)]
        colour = next((COLOURS[look] for look in looks if look in COLOURS), "text")
        group = next((look for look in looks if re.fullmatch(r"k\d", look)), None)
        at = ((x + text.x) * self.scale, (y + text.y) * self.scale)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[text.anchor]
        fill = ink(group) if group else LIGHT[colour]
        bold = 0.35 * self.scale if looks[0] in ("name", "now", "on", "times") else 0
        words = text.text.translate(PLAIN)
        self.draw.text(at, words, fill, self.font(size), anchor, stroke_width=bold)
        if "was" in looks:
            box = self.draw.textbbox(at, words, self.font(size), anchor)
            middle = (box[1] + box[3]) / 2
            self.draw.line((box[0], middle, box[2], middle), fill, max(1, round(self.scale * 0.8)))

    def font(self, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        if size not in self.fonts:
            self.fonts[size] = ImageFont.load_default(size * 1.08 * self.scale)
        return self.fonts[size]

    def wire(self, wire: Wire, x: float, y: float) -> None:
        looks = self.picture.wire(wire).split()
        group = next((look for look in looks if re.fullmatch(r"k\d", look)), None)
        colour = GROUPS[int(group[1:])] if group else LIGHT["wire"]
        points = [((x + a) * self.scale, (y + b) * self.scale) for a, b in _points(wire.path)]
        self.draw.line(points, colour, round((3 if wire.residual else 1.3) * self.scale), "curve")
        if wire.arrow and not wire.residual:
            a, b = points[-1]
            half, long = 4 * self.scale, 8 * self.scale
            self.draw.polygon([(a, b), (a - half, b - long), (a + half, b - long)], colour)


def _paint(look: str) -> tuple[str | tuple[int, int, int, int] | None, str | None]:
    """Fill and outline of a rectangle's classes."""
    looks = look.split()
    group = next((GROUPS[int(one[1:])] for one in looks if re.fullmatch(r"k\d", one)), None)
    outline = LIGHT["edge"] if looks[0] in ("edge", "pill", "cut") else None
    if looks[0] in ("box", "under"):
        return ((60, 80, 110, 9) if looks[0] == "box" else LIGHT["page"]), LIGHT["frame"]
    if "fixed" in looks:
        return "hatch", None
    if looks[0] == "tint" and group:
        return (*_rgb(group), 33), None
    if "none" in looks or looks[0] == "edge":
        return None, outline
    named = {"card": "card", "cut": "card", "pill": "card", "badge": "muted", "seg": "free"}
    return (LIGHT["panel"] if "port" in looks else group or LIGHT[named[looks[0]]]), outline


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _points(path: str) -> list[Point]:
    """An SVG path of the kind that layout.py writes, as points."""
    found: list[Point] = []
    for command, text in STEP.findall(path):
        numbers = [float(number) for number in text.split()]
        x, y = found[-1] if found else (0.0, 0.0)
        if command == "M":
            found.append((numbers[0], numbers[1]))
        elif command == "V":
            found.append((x, numbers[0]))
        elif command == "H":
            found.append((numbers[0], y))
        else:
            corners = [(x, y), *zip(numbers[::2], numbers[1::2], strict=True)]
            found += [_curve(corners, k / 12) for k in range(1, 13)]
    return found


def _curve(corners: Sequence[Point], at: float) -> Point:
    """de Casteljau."""
    while len(corners) > 1:
        corners = [(a[0] + (b[0] - a[0]) * at, a[1] + (b[1] - a[1]) * at) for a, b in pairwise(corners)]
    return corners[0]
