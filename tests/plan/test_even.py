"""What grouped convolutions divide is cut evenly."""

from __future__ import annotations

from math import lcm
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

import fxprune
from fxprune.groups import discover
from fxprune.plan.budget import Ranked
from fxprune.plan.even import evened, shares
from fxprune.trace import trace

IMAGE = (1, 3, 8, 8)


def net(width: int = 24, first: int = 4, second: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=first),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=second),
        nn.ReLU(),
        nn.Conv2d(width, 3, 1),
    )


def test_the_finest_division_counts() -> None:
    groups = discover(trace(net(), (torch.rand(IMAGE),)))
    found = shares(groups)
    assert {groups.groups[k].name: rows.shape for k, rows in found.items()} == {"0": (4, 6), "2": (4, 6), "4": (2, 12)}
    assert np.array_equal(found[0].ravel(), groups.groups[0].units)


@pytest.mark.parametrize("seed", range(20))
def test_every_removal_leaves_as_many_of_each_part(seed: int) -> None:
    r = Random(seed)
    groups = discover(trace(net(), (torch.rand(IMAGE),)))
    group = groups.groups[0]
    order = group.units[r.sample(range(group.width), group.width)]
    ranked = Ranked(group, order, np.sort(np.random.default_rng(seed).random(group.width)), r.choice([1, 2, 3, 8]), 3)
    (found,) = evened([ranked], shares(groups))
    assert sorted(found.order) == sorted(order)
    assert dict(zip(found.order, found.scores, strict=True)) == dict(zip(order, ranked.scores, strict=True))
    assert found.multiple == lcm(4, ranked.multiple)
    for kept in range(1, group.width + 1):
        up = found.up(kept)
        staying = found.order[group.width - up :]
        counts = [np.isin(row, staying).sum() for row in shares(groups)[0]]
        assert len(set(counts)) == 1
        assert set(order[-3:]) <= set(staying)  # those that must stay, do
    for row in shares(groups)[0]:  # within a part, the order is that of the scores
        assert [u for u in found.order if u in row] == [u for u in order if u in row]


@pytest.mark.parametrize("share", [10, 30, 50, 77, 99])
def test_compact_networks_are_even(share: int) -> None:
    compiled = fxprune.compile(f"cut filters {share}% by random(seed=1)", net(), torch.rand(IMAGE))
    assert not any(node.op == "call_function" for node in compiled.module.graph.nodes)
    widths = [compiled.module.get_parameter(f"{k}.weight").shape[0] for k in (0, 2, 4)]
    assert [w % k for w, k in zip(widths, (4, 4, 2), strict=True)] == [0, 0, 0]


def test_multiples_and_budgets() -> None:
    compiled = fxprune.compile("multiple of 6\ncut filters 50%", net(), torch.rand(IMAGE))
    assert [compiled.module.get_parameter(f"{k}.weight").shape[0] for k in (0, 2, 4)] == [12, 12, 12]
    compiled = fxprune.compile("cut filters until params <= 40%", net(), torch.rand(IMAGE))
    assert not any(node.op == "call_function" for node in compiled.module.graph.nodes)
    assert compiled.report.params[1] <= 0.4 * compiled.report.params[0]


def test_other_groups_are_left_in_their_order() -> None:
    groups = discover(trace(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)), (torch.rand(IMAGE),)))
    assert shares(groups) == {}
    ranked = [Ranked(groups.groups[0], groups.groups[0].units, np.arange(8.0))]
    assert evened(ranked, {}) == ranked
