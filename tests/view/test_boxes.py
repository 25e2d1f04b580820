"""Folding: what repeats is gathered, what differs in structure or in its groups is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from fxprune.groups import Groups
from fxprune.pipeline import analyze
from fxprune.view.boxes import Box, boxes_of, leaves
from fxprune.view.contract import flow_of

Found = Callable[..., Groups]


def runs(groups: Groups) -> list[tuple[str, str, int]]:
    """First path, last path and count of every run that shows while all are folded."""

    def walk(box: Box) -> Iterator[Box]:
        if box.run:
            yield box
        for item in box.items[:1] if box.run else box.items:
            if isinstance(item, Box):
                yield from walk(item)

    return [(box.path, box.last, box.times) for box in walk(boxes_of(flow_of(groups)))]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("edsr", {}, [("body.0", "body.15", 16)]),
        ("imdn", {}, [("body.0", "body.5", 6)]),
        ("vdsr", {}, [("body.0", "body.34", 18)]),
        ("srcnn", {}, []),
        ("rcan", {"groups": 3, "blocks": 4}, [("body.0", "body.2", 3), ("body.0.body.0", "body.0.body.3", 4)]),
    ],
)
def test_what_repeats_is_a_run(
    found: Found, name: str, arguments: dict[str, object], expected: list[tuple[str, str, int]]
) -> None:
    assert runs(found(name, **arguments)) == expected


@pytest.mark.parametrize("name", ["edsr", "imdn", "carn", "drrn", "rdn"])
def test_every_stop_is_in_the_tree_once(found: Found, name: str) -> None:
    flow = flow_of(found(name))
    assert leaves(boxes_of(flow)) == tuple(range(len(flow.stops)))


class Blocks(nn.Module):
    """Residual blocks of given widths; those marked so do not add their input."""

    class Block(nn.Module):
        def __init__(self, inner: int, adds: bool) -> None:
            super().__init__()
            self.conv1, self.conv2, self.adds = nn.Conv2d(8, inner, 1), nn.Conv2d(inner, 8, 1), adds

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.conv2(self.conv1(x))
            return x + y if self.adds else y

    def __init__(self, *blocks: tuple[int, bool]) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
        self.body = nn.Sequential(*(Blocks.Block(inner, adds) for inner, adds in blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.tail(self.body(self.head(x)))
        return y


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([(4, True)] * 3, [("body.0", "body.2", 3)]),
        ([(4, True), (4, True), (6, True), (6, True)], [("body.0", "body.1", 2), ("body.2", "body.3", 2)]),
        ([(4, True), (6, True)] * 2, [("body", "body", 2)]),  # a pair, twice
        ([(4, True), (4, False), (6, True)], []),
    ],
)
def test_blocks_that_differ_are_not_folded(
    blocks: list[tuple[int, bool]], expected: list[tuple[str, str, int]]
) -> None:
    assert runs(analyze(Blocks(*blocks), torch.rand(1, 3, 8, 8))) == expected
