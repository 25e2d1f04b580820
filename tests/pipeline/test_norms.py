"""Norms over channels: exact by default, over what is left with `norm native`, which says what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fxprune
from tests.oracle import assert_exact, distance, masked

IMAGE = (1, 3, 8, 10)


class Last(nn.Module):
    """Over the channels, which are moved to the end."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Any) -> Any:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ByHand(nn.Module):
    """Mean and variance written out, as in many networks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(16, 1, 1)), nn.Parameter(torch.zeros(16, 1, 1))

    def forward(self, x: Any) -> Any:
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        return (x - mean) / (var + 1e-6).sqrt() * self.weight + self.bias


class Unit(nn.Module):
    """Each pixel at length one."""

    def forward(self, x: Any) -> Any:
        return F.normalize(x, dim=1)


NORMS = {  # norm, whether it counts the channels
    "layer norm": (lambda: Last(nn.LayerNorm(16)), True),
    "RMS norm": (lambda: Last(nn.RMSNorm(16)), True),
    "one group": (lambda: nn.GroupNorm(1, 16), True),
    "groups": (lambda: nn.GroupNorm(4, 16), True),
    "by hand": (ByHand, True),
    "unit length": (Unit, False),
    "batch norm": (lambda: nn.BatchNorm2d(16), False),
    "instance norm": (lambda: nn.InstanceNorm2d(16, affine=True), False),
}


def net(name: str) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), NORMS[name][0](), nn.ReLU(), nn.Conv2d(16, 3, 1))
    with torch.no_grad():
        for part in made[1].parameters():
            part.add_(0.2 * torch.randn(part.shape))
    return made.eval()


def helpers(module: torch.fx.GraphModule) -> list[str]:
    """The functions of fxprune's own that a compact network calls."""
    return [n.target.__name__ for n in module.graph.nodes if "counted" in getattr(n.target, "__name__", "")]


@pytest.mark.parametrize("name", NORMS)
def test_exact_by_default_and_native_where_asked_for(name: str) -> None:
    model, counts = net(name), NORMS[name][1]
    spec = "cut filters 50% by random(seed=4)"
    exact = fxprune.compile(spec, model, torch.rand(IMAGE))
    assert exact.report.native_difference is None
    assert_exact(model, exact.kept, exact.module, IMAGE, (2, 3, 9, 6))

    native = fxprune.compile(f"norm native\n{spec}", model, torch.rand(IMAGE))
    assert native.kept == exact.kept
    apart = distance(masked(model, native.kept), native.module.eval(), (torch.rand(IMAGE),))
    told = native.report.native_difference
    assert told is not None
    assert not helpers(native.module)
    if counts:  # the report tells how far it is, measured on the example
        assert apart > 1e-3
        assert told > 1e-3
        assert "norms take statistics over what is left" in native.report.text()
    else:
        assert apart < 1e-6
        assert told < 1e-6
        assert not helpers(exact.module)
    assert native.report.verified is not None  # the same cut was proved exact without `norm native`
    assert native.report.verified.difference < 1e-5
    weights = exact.module.state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in native.module.state_dict().items())


def test_a_native_layer_is_the_stock_one() -> None:
    native = fxprune.compile("norm native\ncut filters 50%", net("layer norm"), torch.rand(IMAGE))
    layer = native.module.get_submodule("1.norm")
    assert type(layer) is nn.LayerNorm
    assert layer.normalized_shape == (8,)


class AllRounding(nn.Module):
    """Scaled by the sum of what was centred: zero, were it not for rounding."""

    def forward(self, x: Any) -> Any:
        x = x - x.mean(1, keepdim=True)
        return x * x.sum(1, keepdim=True)


def test_rounding_is_told_from_a_wrong_cut() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 1), AllRounding(), nn.Conv2d(16, 3, 1, bias=False)).eval()
    compiled = fxprune.compile("cut filters 50%", model, torch.rand(IMAGE))
    assert distance(masked(model, compiled.kept), compiled.module, (torch.rand(IMAGE),)) > 0.01
    assert compiled.report.verified is not None
    assert compiled.report.verified.difference < 1e-8
    assert_exact(model, compiled.kept, compiled.module, IMAGE)
