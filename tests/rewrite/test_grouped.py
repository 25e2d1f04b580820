"""Grouped convolutions whose groups keep different channels, and different numbers of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fxprune
from fxprune.groups import Groups, discover
from fxprune.plan import cost_of
from fxprune.rewrite import Slicer, can_mend, rewrite, verify
from fxprune.schedule import compose
from fxprune.trace import trace
from tests.oracle import assert_exact

IMAGE = (1, 3, 6, 7)


def chain(bias: bool = True) -> nn.Module:
    """Grouped by four, then by two: inner channels of one lie in groups of the other."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 1),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=1, groups=4, bias=bias),
        nn.ReLU(),
        nn.Conv2d(24, 8, 3, padding=1, groups=2, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(8, 3, 1),
    )


class Halves(nn.Module):
    """Each group of the grouped convolution sees what another layer makes; `fixed` is the image itself."""

    def __init__(self, fixed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 9, 1), nn.Conv2d(3, 9, 1)
        self.both, self.tail = nn.Conv2d(18, 12, 3, padding=1, groups=2), nn.Conv2d(12, 3, 1)
        self.fixed = fixed

    def forward(self, x: Any) -> Any:
        other = torch.cat([x, x, x], 1) if self.fixed else self.b(x).relu()
        return self.tail(self.both(torch.cat([self.a(x).relu(), other], 1)).relu())


class Odd(nn.Module):
    """A grouped convolution behind something that is not zero where channels are."""

    def __init__(self, shared: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.tail = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
        self.mid = nn.Conv2d(8, 8, 1, groups=2)
        self.shared = shared

    def forward(self, x: Any) -> Any:
        y = self.mid(self.head(x).relu() if self.shared else self.head(x).sigmoid())
        if self.shared == "weight":
            y = y * (1 + self.mid.weight.square().mean())
        if self.shared == "bias":
            y = y * self.mid.bias[:, None, None]
        return self.tail(y)


def found(net: nn.Module, shape: tuple[int, ...] = IMAGE) -> Groups:
    return discover(trace(net.eval(), (torch.rand(shape),)), can_mend)


def some(groups: Groups, draw: Any) -> Any:
    """Any units, one of each group left at least."""
    chosen = [np.empty(0, np.int64)]
    for group in groups:
        if group.kind != "protected":
            at = draw(st.lists(st.integers(0, group.width - 1), max_size=group.width - 1, unique=True))
            chosen.append(group.units[at])
    return np.concatenate(chosen)


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_any_channels_of_any_group_may_go(data: st.DataObject, bias: bool) -> None:
    net = chain(bias)
    groups = found(net)
    assert [group.width for group in groups] == [16, 24, 8, 3]
    units = some(groups, data.draw)
    made = rewrite(Slicer.of(groups, units))
    verify(made)
    assert_exact(net, made.kept, made.module, IMAGE, (2, 3, 9, 5))
    # what it costs is known before it is made
    alive, cost = groups.alive(units), cost_of(groups, None)
    assert cost.params(alive) == sum(p.numel() for p in made.module.parameters())
    with FlopCounterMode(display=False) as counter:
        made.module(torch.rand(IMAGE))
    assert 2 * cost.macs(alive) == counter.get_total_flops()


@settings(max_examples=25)
@given(st.data())
def test_a_second_cut_is_told_in_terms_of_the_original(data: st.DataObject) -> None:
    net = chain()
    groups = found(net)
    once = Slicer.of(groups, some(groups, data.draw))
    first = rewrite(once)
    again = found(first.module)
    twice = Slicer.of(again, some(again, data.draw))
    second = rewrite(twice)
    assert_exact(first.module, second.kept, second.module, IMAGE)
    held = compose(once.kept(filled=True), twice.kept(filled=True))
    kept = {name: {d: [k for k in at if k >= 0] for d, at in dims.items()} for name, dims in held.items()}
    assert_exact(net, kept, second.module, IMAGE)


LAYERS = {
    "1d": (nn.Conv1d(12, 8, 3, padding=1, groups=2), (2, 12, 9)),
    "1d, no batch": (nn.Conv1d(12, 8, 3, padding=1, groups=2), (12, 9)),
    "3d": (nn.Conv3d(12, 8, 3, padding=1, groups=2), (1, 12, 3, 4, 5)),
    "strided": (nn.Conv2d(12, 8, 3, stride=2, dilation=2, groups=2, bias=False), (1, 12, 9, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_convolutions_of_every_kind(name: str) -> None:
    layer, shape = LAYERS[name]
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[layer.weight.dim() - 2]
    torch.manual_seed(0)
    net = nn.Sequential(kind(12, 12, 1), nn.ReLU(), layer, nn.ReLU(), kind(8, 2, 1))
    groups = found(net, shape)
    first, second = groups.groups[:2]
    made = rewrite(Slicer.of(groups, np.concatenate([first.units[[0, 1, 2, 7]], second.units[[4]]])))
    assert_exact(net, made.kept, made.module, shape)
    assert [tuple(made.module.get_parameter("2.weight").shape[:2])] == [(8, 5)]


@pytest.mark.parametrize("mode", ["dense", "emptied"])
def test_groups_that_lose_everything(mode: str) -> None:
    net = chain()
    groups = found(net)
    first, second = groups.groups[:2]
    gone = [first.units[4:8], second.units[6:12]] if mode == "emptied" else [first.units[4:8]]
    made = rewrite(Slicer.of(groups, np.concatenate(gone)))
    assert_exact(net, made.kept, made.module, IMAGE)


def test_unequal_shares_from_a_spec(tmp_path: Path) -> None:
    net = Halves()
    compiled = fxprune.compile(
        "cut filters 60% in a\ncut filters 20% in b\ncut filters 50% in both", net, torch.rand(IMAGE)
    )
    assert_exact(net, compiled.kept, compiled.module, IMAGE)
    assert compiled.module.get_parameter("both.weight").shape[:2] == (6, 7)
    assert compiled.report.params[1] == sum(p.numel() for p in compiled.module.parameters())
    compiled.save(tmp_path / "out")
    x = torch.rand(IMAGE)
    torch.testing.assert_close(fxprune.load(tmp_path / "out")(x), compiled.module(x))


def test_a_group_may_see_what_cannot_be_cut() -> None:
    net = Halves(fixed=True)
    compiled = fxprune.compile("cut filters 60% in a\ncut filters 50% in both", net, torch.rand(IMAGE))
    assert compiled.module.get_parameter("a.weight").shape[0] == 3
    assert_exact(net, compiled.kept, compiled.module, IMAGE)


def test_even_cuts_need_nothing_more() -> None:
    """As many of each group go where one layer makes them, so the compact network is of the same layers."""
    net = chain()
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
    assert [node.op for node in compiled.module.graph.nodes] == ["placeholder", *["call_module"] * 7, "output"]
    assert compiled.module.get_submodule("2").groups == 4
    assert compiled.module.get_parameter("2.weight").shape[:2] == (12, 2)
    columns = [set(np.asarray(compiled.kept["0.weight"][0]) % 4)]
    assert columns != [set(range(2))]  # not the same places of each group
    assert 1 not in compiled.kept["2.weight"]


@pytest.mark.parametrize("shared", ["", "weight", "bias"])
def test_groups_go_alike_where_they_must(shared: str) -> None:
    """Where removed channels are not zero, or something else reads the weight or the bias."""
    net = Odd(shared)
    groups = found(net)
    head = next(group for group in groups if group.name == "head")
    if shared:
        assert head.kind != "protected"
    assert head.width == 4
    compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
    assert compiled.kept["mid.weight"][1] == tuple(k for k in compiled.kept["head.weight"][0] if k < 4)
    assert_exact(net, compiled.kept, compiled.module, IMAGE)
