"""Guards that are needless go, those that are not stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxprune
from fxprune.trace import trace
from tests.oracle import assert_exact


class Kept(nn.Module):
    """Keeps a ramp for images of one size, and makes it anew for others; rightly, or not."""

    def __init__(self, right: bool, size: tuple[int, int] = (12, 12)) -> None:
        super().__init__()
        self.size = size
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.register_buffer("kept", self.ramp(*size) * (1 if right else 2))

    def ramp(self, h: Any, w: Any) -> Tensor:
        return torch.arange(h * w).view(h, w) / 100

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        h, w = y.shape[2:]
        if (h, w) == self.size:
            return self.last(y * self.kept)
        return self.last(y * self.ramp(h, w))


@pytest.mark.parametrize("right", [True, False])
def test_an_equality_is_tried(right: bool) -> None:
    torch.manual_seed(0)
    net = Kept(right).eval()
    traced = trace(net, (torch.rand(1, 3, 8, 8),))
    assert traced.rung == "concrete"
    assert len(traced.notes) == (0 if right else 1)
    assert any(node.target is torch._assert for node in traced.graph.graph.nodes) is not right
    for size in ((9, 7), (8, 12), (10, 10)):
        image = torch.rand(1, 3, *size)
        torch.testing.assert_close(traced.graph(image), net(image))
    for size in ((12, 12), (12, 8)):
        image = torch.rand(1, 3, *size)
        if right:
            torch.testing.assert_close(traced.graph(image), net(image))
        else:
            with pytest.raises(AssertionError, match="traced this network for False"):
                traced.graph(image)


def test_the_compact_network_takes_that_size() -> None:
    torch.manual_seed(0)
    net = Kept(right=True).eval()
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(1, 3, 8, 8))
    assert compiled.module.get_submodule("first").out_channels == 4
    assert_exact(net, compiled.kept, compiled.module, (1, 3, 12, 12), (2, 3, 12, 9), (1, 3, 7, 12))


def test_other_questions_keep_their_guards() -> None:
    class Odd(Kept):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x)) if x.shape[2] % 3 else x

    traced = trace(Odd(right=True).eval(), (torch.rand(1, 3, 8, 8),))
    with pytest.raises(AssertionError, match="traced this network for"):
        traced.graph(torch.rand(1, 3, 9, 8))


@pytest.mark.parametrize("right", [True, False])
def test_an_example_of_the_size_asked_for(right: bool) -> None:
    torch.manual_seed(0)
    net = Kept(right).eval()
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(1, 3, 12, 12))
    assert bool([note for note in compiled.report.notes if "traced for" in note]) is not right
    assert_exact(net, compiled.kept, compiled.module, (1, 3, 12, 12), (2, 3, 12, 12))
    if right:
        assert_exact(net, compiled.kept, compiled.module, (1, 3, 8, 10), (1, 3, 12, 9))
    else:
        with pytest.raises(AssertionError, match="traced this network for True"):
            compiled.module(torch.rand(1, 3, 8, 10))


class Pads(nn.Module):
    """Pads to whole blocks of eight where the image is not of whole blocks, and crops; rightly, or not."""

    def __init__(self, right: bool, how: str) -> None:
        super().__init__()
        self.right, self.how = right, how
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        down, across = (8 - h % 8) % 8, (8 - w % 8) % 8
        asked = {
            "truth": lambda: down or across,
            "zero": lambda: down != 0 or across != 0,
            "sign": lambda: down > 0 or across > 0,
            "size": lambda: h + down != h or w + across != w,
        }[self.how]()
        if asked:
            x = nn.functional.pad(x, (0, across, 0, down), "reflect")
        elif not self.right:
            x = 2 * x
        y = self.first(x)
        blocks = y.view(y.shape[0], -1, y.shape[2] // 8, 8, y.shape[3] // 8, 8)
        y = (blocks - blocks.mean((3, 5), keepdim=True)).view(y.shape)
        return self.last(y)[:, :, :h, :w]


@pytest.mark.parametrize("size", [(16, 24), (13, 17), (16, 17)])
@pytest.mark.parametrize("how", ["truth", "zero", "sign", "size"])
@pytest.mark.parametrize("right", [True, False])
def test_nothing_to_pad(right: bool, how: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = Pads(right, how).eval()
    traced = trace(net, (torch.rand(1, 3, *size),))
    sizes = (size, (24, 16), (11, 13), (16, 9), (9, 16))
    if right:
        assert not traced.notes
    else:
        assert traced.notes
    for other in sizes:
        image = torch.rand(2, 3, *other)
        try:
            got = traced.graph.forward(image)
        except AssertionError:
            assert not right
            continue
        torch.testing.assert_close(got, net(image))


def test_what_is_cut_of_it() -> None:
    torch.manual_seed(0)
    net = Pads(right=True, how="truth").eval()
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(1, 3, 16, 16))
    assert_exact(net, compiled.kept, compiled.module, (1, 3, 16, 16), (2, 3, 13, 24), (1, 3, 24, 11), (1, 3, 10, 10))
