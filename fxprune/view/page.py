"""A picture → a page: one file that opens offline, in which blocks unfold and what is tied together lights up.

Everything that a model's author chose (paths, lines of source) is escaped where it is written; the page's policy allows
the one script in it, by its hash, and no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from fxprune.groups import Group, Groups
from fxprune.plan import Plan
from fxprune.view.boxes import Box, Item, leaves
from fxprune.view.closed import closed_card
from fxprune.view.flow import Stop
from fxprune.view.folding import fold
from fxprune.view.layout import METRICS
from fxprune.view.picture import Picture, picture
from fxprune.view.sheet import Sheet
from fxprune.view.style import css
from fxprune.view.svg import DEFINITIONS, UNSEEN, markup
from fxprune.view.why import Tie, ties_of

__all__ = ["graph_data", "groups_html", "render"]


def groups_html(groups: Groups, plan: Plan | None = None, *, title: str | None = None) -> str:
    """The constraint graph as a page.

    Args:
        groups: what was found.
        plan: what would be cut, drawn into it.
        title: what to call the network; its class by default.
    """
    drawn = picture(groups, plan, title=title)
    return render("groups.html", title=drawn.title, summary=_summary(groups), graph=graph_data(drawn))


def render(template: str, graph: Mapping[str, Any], **values: Any) -> str:
    """A template with style, script and data put in."""
    script = _asset("place.js") + _asset("graph.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _templates().get_template(template)
    return page.render(
        css=Markup(css("svg.fxprune") + "\n" + _asset("page.css")),
        script=Markup(script),
        digest=digest,
        definitions=Markup(DEFINITIONS),
        data=Markup(_json(graph)),
        **values,
    )


def graph_data(drawn: Picture) -> dict[str, Any]:
    """What graph.js draws from, as plain values."""
    groups = drawn.flow.groups
    stops = drawn.flow.stops
    cards: dict[str, int] = {}
    listed = []
    for k, stop in enumerate(stops):
        card = drawn.artist.card(stop, drawn.labels[k], (), [stops[k + d] for d in drawn.room[k]])
        look = drawn.artist.look(stop.leaves[0].group) if len(stop.leaves) == 1 else ""
        entry: dict[str, Any] = {
            "path": stop.path,
            "what": stop.what,
            "kind": stop.kind,
            "card": cards.setdefault(markup(card.shapes), len(cards)),
            "size": [card.width, card.height],
            "groups": stop.groups,
            "made": tuple(dict.fromkeys(stop.made)),
            "look": look if look.startswith("k") else "",
        }
        if drawn.flow.planned:
            entry["after"] = [stop.width("enters", True), stop.width("leaves", True)]
        listed.append(entry)
    ties = ties_of(groups)
    known: dict[tuple[int, int], list[Stop]] = {}
    return {
        "metrics": METRICS,
        "stops": listed,
        "boxes": [_box(drawn, box, cards, known) for box in _all(drawn.root)],
        "cards": list(cards),
        "groups": [
            _group(drawn, group, after, ties.get(group.index, ()))
            for group, after in zip(groups, drawn.flow.kept(), strict=True)
        ],
    }


def _all(box: Box) -> Iterable[Box]:
    yield box
    for item in box.items:
        if isinstance(item, Box):
            yield from _all(item)


def _item(item: Item | None) -> int | None:
    """A stop by its position, a box by its number below zero."""
    return -item.number if isinstance(item, Box) else item


def _box(drawn: Picture, box: Box, cards: dict[str, int], known: dict[tuple[int, int], list[Stop]]) -> dict[str, Any]:
    title, badge = drawn.titled(box) if box.number else ("", "")
    card = closed_card(drawn, box, known)
    inside = leaves(box)
    return {
        "number": box.number,
        "title": title,
        "badge": badge,
        "room": drawn.room_of(box),
        "times": box.times,
        "items": [_item(item) for item in box.items],
        "sheet": _sheet(drawn.sheets[box.number]),
        "inside": [inside[0], inside[-1]],
        "closed": [cards.setdefault(markup(card.shapes), len(cards)), card.width, card.height],
    }


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {
        "spots": [[_item(spot.item), spot.value] for spot in sheet.spots],
        "rows": sheet.rows,
        "lines": [[x.source, x.target, x.value, int(x.residual), x.lane, x.slot, x.slots] for x in sheet.lines],
        "lanes": [[lane.side, lane.first, lane.last] for lane in sheet.lanes],
        "enters": sheet.enters,
        "leaves": sheet.leaves,
    }


def _group(drawn: Picture, group: Group, after: int, ties: tuple[Tie, ...]) -> dict[str, Any]:
    roles: dict[str, list[str]] = {"out": [], "in": [], "along": []}
    for member in group.members:
        roles[member.role].append(member.path or member.tensor)
    places: dict[tuple[str, str], list[str]] = {}
    for tie in ties:
        places.setdefault((tie.op, tie.line or ""), []).append(tie.path)
    return {
        "name": group.name,
        "kind": group.kind,
        "letter": drawn.artist.letters.get(group.index, ""),
        "look": drawn.artist.look(group.index),
        "told": drawn.artist.told(group),
        "width": group.width,
        "after": after,
        "reason": group.reason,
        "layers": len(group.producers),
        **{role: [str(line) for line in fold(names)] for role, names in roles.items()},
        "ties": [[op, _folded(paths), line] for (op, line), paths in places.items()],
    }


def _folded(paths: list[str]) -> str:
    return ", ".join(str(line) for line in fold(path or "the top level" for path in paths))


def _summary(groups: Groups) -> str:
    kinds = [f"{len(groups.of(kind))} {kind}" for kind in ("free", "constrained", "protected") if groups.of(kind)]
    return f"{len(groups)} groups: {', '.join(kinds)}"


def _json(value: Any) -> str:
    """JSON that can stand in a script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return UNSEEN.sub("\ufffd", text)


@cache
def _asset(name: str) -> str:
    return files("fxprune.view").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FunctionLoader(lambda name: _asset(name + ".j2")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
