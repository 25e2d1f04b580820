"""Deep and wide networks: no recursion over the graph, memory in proportion."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import nn

import fxprune
from tests.networks import fill
from tests.oracle import assert_exact

IMAGE = (1, 3, 4, 6)


class Elementwise(nn.Module):
    """Two convolutions with thousands of elementwise steps between them."""

    def __init__(self, steps: int, function: Callable[..., torch.Tensor], mean: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.steps, self.function, self.mean = steps, function, mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x = self.a(x)
        for _ in range(self.steps):
            y = self.function(y)
        return self.b(x * (y.mean(1, keepdim=True) if self.mean else y))


class Stack(nn.Module):
    """Residual convolutions, one after the other."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(layers))
        self.tail = nn.Conv2d(width, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        for k, layer in enumerate(self.body):
            x = x + 0.1 * layer(x) if k % 2 else torch.relu(layer(x))
        return self.tail(x)


class Wide(nn.Module):
    """Many channels through a depthwise layer, a split and a join."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 1)
        self.b = nn.Conv2d(width, width, 1, groups=width)
        self.c = nn.Conv2d(width, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.a(x).chunk(2, 1)
        return self.c(torch.relu(self.b(torch.cat([second, first], 1))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "mean"), [(torch.relu, False), (torch.Tensor.relu_, False), (torch.relu, True), (torch.sigmoid, True)]
)
def test_two_thousand_steps(function: Callable[..., torch.Tensor], mean: bool) -> None:
    net = fill(Elementwise(2000, function, mean), Random(0))
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
    assert [row.after for row in compiled.report.groups] == [4, 3]
    assert_exact(net, compiled.kept, compiled.module, IMAGE)


@pytest.mark.slow
def test_two_thousand_layers() -> None:
    net = Stack(2000, 4)
    groups = fxprune.analyze(net, torch.rand(IMAGE))
    assert len(groups.constrained) + len(groups.free) == 1001
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
    assert compiled.report.verified is not None
    assert all(row.after == 2 for row in compiled.report.groups if row.kind != "protected")


@pytest.mark.slow
def test_a_hundred_thousand_channels() -> None:
    net = Wide(100_000)
    tracemalloc.start()
    groups = fxprune.analyze(net, torch.rand(IMAGE))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(g.width for g in groups if g.kind != "protected") == 100_000
    assert peak < 400e6, "bytes for 500,000 parameters"
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
    assert len(compiled.kept["b.weight"][0]) == 50_000


def test_a_network_without_layers_has_no_groups() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.rand(3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    for network in (Scaled(), nn.ReLU()):
        assert len(fxprune.analyze(network, torch.rand(1, 3, 4, 4))) == 0
        with pytest.raises(fxprune.FxpruneError, match="no layer that makes channels"):
            fxprune.compile("cut filters 50%", network, torch.rand(1, 3, 4, 4))


def test_long_tables_of_indices_have_no_channels() -> None:
    class Positions(nn.Module):
        def __init__(self, length: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
            self.bias = nn.Parameter(torch.rand(6, 1))
            self.register_buffer("index", torch.zeros(length, dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.relu(self.a(x)) * self.bias[self.index].mean())

    short, long = (fxprune.analyze(Positions(n), torch.rand(1, 3, 4, 4)) for n in (4000, 4001))
    assert short.labelled.size - long.labelled.size == 4000
    assert [(g.name, g.kind, g.width) for g in short] == [(g.name, g.kind, g.width) for g in long]
