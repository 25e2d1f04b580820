"""A box of a picture → the one card that stands for it while it is closed: its class, its layers, what goes through."""

from __future__ import annotations

from dataclasses import replace

from fxprune.view.boxes import Box, leaves
from fxprune.view.draw import Drawing
from fxprune.view.flow import Stop
from fxprune.view.picture import Picture

__all__ = ["closed_card"]


def closed_card(drawn: Picture, box: Box, known: dict[tuple[int, int], list[Stop]]) -> Drawing:
    """What enters its first stop and what leaves its last; wide enough for the ranges of all boxes alike.

    Args:
        known: filled with what boxes alike have in common, so that it is gathered once.
    """
    stops = drawn.flow.stops
    inside = leaves(box)
    first, last = inside[0], inside[-1]
    layers = sum(stops[k].kind == "layer" for k in inside)
    title, badge = drawn.titled(box)
    counted = f"{layers} layer{'s' * (layers != 1)}"
    whole = Stop(
        node="",
        path=box.path,
        kind="layer",
        what=", ".join(filter(None, [f"{_class(drawn, box)} {badge}".strip(), counted])),
        boxes=(),
        tensors=(),
        enters=stops[first].enters,
        leaves=stops[last].leaves,
        groups=(),
        ties=False,
    )
    alike = first + min(drawn.room[first]), last + min(drawn.room[last])
    if drawn.flow.planned and alike not in known:
        ways_in = {stops[first + k].enters for k in drawn.room[first]}
        ways_out = {stops[last + k].leaves for k in drawn.room[last]}
        known[alike] = [replace(whole, enters=way) for way in ways_in]
        known[alike] += [replace(whole, leaves=way) for way in ways_out]
    return drawn.artist.card(whole, f"▸ {title}", (), known.get(alike, ()))


def _class(drawn: Picture, box: Box) -> str:
    """Class of the module; empty for several things that repeat together."""
    if box.name:
        return ""
    try:
        return type(drawn.flow.groups.traced.module.get_submodule(box.path)).__name__
    except AttributeError:
        return ""
