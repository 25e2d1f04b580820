"""Small networks with known groups, for planning."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tests.networks import fill

__all__ = ["IMAGE", "Chain", "Residual", "chain", "params", "residual", "true_macs"]

IMAGE = (1, 3, 8, 8)


class Chain(nn.Module):
    """Convolutions in a row: each width a free group."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        sizes = (3, *widths, 3)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))

    def forward(self, x: Any) -> Any:
        for layer in self.layers[:-1]:  # type: ignore[index]
            x = F.relu(layer(x))
        return self.layers[-1](x)


class Residual(nn.Module):
    """A stream of `width` with two blocks of `inner`; pixel shuffle by two at the end."""

    def __init__(self, width: int = 8, inner: int = 12) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(), nn.Conv2d(inner, width, 3, padding=1))
            for _ in range(2)
        )
        self.tail = nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = self.head(x)
        for block in self.body:
            x = x + block(x)
        return self.last(self.tail(x))


def chain(*widths: int, seed: int = 0) -> nn.Module:
    return fill(Chain(*widths), Random(seed))


def residual(width: int = 8, inner: int = 12) -> nn.Module:
    return fill(Residual(width, inner), Random(1))


def params(net: nn.Module) -> int:
    """What is really there."""
    return sum(p.numel() for p in net.parameters())


def true_macs(net: nn.Module, image: tuple[int, ...]) -> int:
    """Multiply-accumulates of a real run."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.rand(image))
    return counter.get_total_flops() // 2
