"""`Groups` and perhaps a `Plan` → the content of a file, in any format that a constraint graph is written in."""

from __future__ import annotations

import json
from collections.abc import Callable

from fxprune.errors import InputError
from fxprune.groups import Groups
from fxprune.plan import Plan
from fxprune.view.constraint import to_dot, to_graphml, to_json
from fxprune.view.page import groups_html
from fxprune.view.picture import picture
from fxprune.view.png import png
from fxprune.view.svg import svg

__all__ = ["GRAPH_FORMATS", "graph_file", "groups_png", "groups_svg"]


def groups_svg(groups: Groups, plan: Plan | None = None, *, title: str | None = None) -> str:
    """The constraint graph as an SVG that stands on its own, light or dark as its reader prefers."""
    return svg(picture(groups, plan, title=title))


def groups_png(groups: Groups, plan: Plan | None = None, *, title: str | None = None) -> bytes:
    """The constraint graph as a PNG."""
    return png(picture(groups, plan, title=title))


_WRITERS: dict[str, Callable[[Groups, Plan | None, str | None], str | bytes]] = {
    "dot": lambda groups, plan, title: to_dot(groups, plan),
    "graphml": lambda groups, plan, title: to_graphml(groups, plan),
    "html": lambda groups, plan, title: groups_html(groups, plan, title=title),
    "json": lambda groups, plan, title: json.dumps(to_json(groups, plan), indent=2, ensure_ascii=False) + "\n",
    "png": lambda groups, plan, title: groups_png(groups, plan, title=title),
    "svg": lambda groups, plan, title: groups_svg(groups, plan, title=title),
}
GRAPH_FORMATS = tuple(_WRITERS)  # what `graph_file` writes, sorted


def graph_file(groups: Groups, form: str, plan: Plan | None = None, *, title: str | None = None) -> bytes:
    """The constraint graph in a format: one of `GRAPH_FORMATS`, as a file name ends.

    Raises:
        InputError: there is no such format.
    """
    writer = _WRITERS.get(form.lower().lstrip("."))
    if writer is None:
        raise InputError(f"a constraint graph cannot be written as {form!r}", hint=f"one of {', '.join(GRAPH_FORMATS)}")
    content = writer(groups, plan, title)
    return content.encode("utf-8") if isinstance(content, str) else content
