"""Places: nothing overlaps, everything flows down, edges end where they should."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from fxprune.groups import Groups
from fxprune.view.boxes import Box
from fxprune.view.layout import Placed
from fxprune.view.picture import picture

Found = Callable[..., Groups]
NETWORKS = ["edsr", "imdn", "carn", "rdn", "vdsr", "drrn", "lapsrn", "rfdn"]


def boxes(placed: Placed) -> Iterator[Placed]:
    yield placed
    for inner in placed.inside:
        if isinstance(inner.item, Box):
            yield from boxes(inner)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_overlaps_or_sticks_out(found: Found, name: str, folded: bool) -> None:
    for box in boxes(picture(found(name), folded=lambda box: folded).placed):
        for k, one in enumerate(box.inside):
            assert -box.left <= one.x - one.left + 0.01
            assert one.x + one.right <= box.right + 0.01
            assert one.y >= 0
            assert one.y + one.height <= box.height + 0.01
            for other in box.inside[:k]:
                beside = one.x - one.left >= other.x + other.right or other.x - other.left >= one.x + one.right
                below = one.y >= other.y + other.height or other.y >= one.y + one.height
                assert beside or below


@pytest.mark.parametrize("name", NETWORKS)
def test_edges_flow_down_and_end_at_cards(found: Found, name: str) -> None:
    for box in boxes(picture(found(name), folded=lambda box: False).placed):
        tops = {round(inner.y, 1) for inner in box.inside}
        for wire in box.wires:
            downs = [float(y) for y in re.findall(r"V(-?[\d.]+)", wire.path)]
            assert downs == sorted(downs)
            end = float(re.findall(r"-?[\d.]+", wire.path)[-1])
            if wire.arrow:
                assert min(abs(end - top) for top in tops) < 0.11


@pytest.mark.parametrize("name", NETWORKS)
def test_edges_run_around_cards(found: Found, name: str) -> None:
    """The vertical part of an edge that skips rows passes no card or box."""
    for box in boxes(picture(found(name), folded=lambda box: False).placed):
        for wire in box.wires:
            lane = re.search(r"H\S+Q(-?[\d.]+) -?[\d.]+ \S+ (-?[\d.]+)V(-?[\d.]+)Q", wire.path)
            if lane is None:
                continue
            x, top, bottom = map(float, lane.groups())
            for inner in box.inside:
                if inner.y < bottom and inner.y + inner.height > top:
                    assert not inner.x - inner.left < x < inner.x + inner.right
