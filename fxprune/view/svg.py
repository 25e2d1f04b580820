"""Shapes and their places → an SVG that stands on its own: no script, no font, nothing to load."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markupsafe import escape

from fxprune.view.draw import Rect, Shape
from fxprune.view.layout import Placed, Wire, number
from fxprune.view.picture import Picture
from fxprune.view.style import css

__all__ = ["DEFINITIONS", "markup", "svg"]

MARGIN = 24
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # what XML cannot hold

DEFINITIONS = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path class="hatching" d="M0 0V6"/></pattern>'
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'markerUnits="userSpaceOnUse" orient="auto"><path class="arrow" d="M0 .5L8 4L0 7.5Z"/></marker></defs>'
)


def svg(picture: Picture) -> str:
    """The picture as a file."""
    placed = picture.placed
    width = placed.left + placed.right + 2 * MARGIN
    height = placed.height + 2 * MARGIN
    left = number(-placed.left - MARGIN)
    body = "\n".join(_drawn(picture, placed, ""))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fxprune" width="{number(width)}" height="{number(height)}" '
        f'viewBox="{left} {-MARGIN} {number(width)} {number(height)}" role="img">\n'
        f"<title>{text(picture.title)}</title>\n<style>\n{css()}\n</style>\n{DEFINITIONS}\n"
        f'<rect class="page" x="{left}" y="{-MARGIN}" width="{number(width)}" height="{number(height)}"/>\n'
        f"{body}\n</svg>\n"
    )


def markup(shapes: Iterable[Shape]) -> str:
    """Shapes as elements."""
    return "".join(_rect(s) if isinstance(s, Rect) else _text(s) for s in shapes)


def text(value: str) -> str:
    """Any string as the content of an element or attribute."""
    return str(escape(UNSEEN.sub("�", value)))


def _text(shape: Shape) -> str:
    assert not isinstance(shape, Rect)
    anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
    return f'<text class="{shape.look}" x="{number(shape.x)}" y="{number(shape.y)}"{anchor}>{text(shape.text)}</text>'


def _rect(shape: Rect) -> str:
    radius = f' rx="{number(shape.radius)}"' if shape.radius else ""
    size = f'width="{number(shape.width)}" height="{number(shape.height)}"'
    return f'<rect class="{shape.look}" x="{number(shape.x)}" y="{number(shape.y)}" {size}{radius}/>'


def _drawn(picture: Picture, placed: Placed, move: str) -> Iterator[str]:
    yield f"<g{move}>"
    yield from (_rect(shape) for shape in picture.frame(placed))
    yield from (_wire(picture, wire) for wire in placed.wires)
    yield markup(picture.header(placed))
    for inner in placed.inside:
        at = f' transform="translate({number(inner.x)} {number(inner.y)})"'
        if isinstance(inner.item, int):
            drawing = picture.cards[inner.item]
            yield f"<g{at}><title>{text(drawing.hint)}</title>{markup(drawing.shapes)}</g>"
        else:
            yield from _drawn(picture, inner, at)
    yield "</g>"


def _wire(picture: Picture, wire: Wire) -> str:
    end = ' marker-end="url(#arrow)"' if wire.arrow and not wire.residual else ""
    return f'<path class="{picture.wire(wire)}" d="{wire.path}"{end}/>'
