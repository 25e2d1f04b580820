"""No dimension of any value is left without a channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fxprune
from fxprune.groups import discover
from fxprune.plan.budget import Ranked
from fxprune.plan.core import needed, with_cores
from fxprune.trace import trace
from tests.oracle import assert_exact

IMAGE = (1, 3, 8, 8)


class Parts(nn.Module):
    """Eight channels, of which the first two, whose weights are small, are blurred: pools refuse what is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
        with torch.no_grad():
            self.head.weight[:2] *= 1e-3

    def forward(self, x: Any) -> Any:
        x = self.head(x).relu()
        return self.tail(torch.cat([nn.functional.avg_pool2d(x[:, :2], 3, 1, 1), x[:, 2:]], 1))


class Across(nn.Module):
    """The slice in the middle of a concatenation holds some units of each of two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)
        self.tail = nn.Conv2d(12, 3, 1)
        with torch.no_grad():
            self.a.weight[5] *= 1e-3
            self.b.weight[:2] *= 1e-3

    def forward(self, x: Any) -> Any:
        both = torch.cat([self.a(x), self.b(x)], 1)
        blurred = nn.functional.avg_pool2d(both[:, 5:8], 3, 1, 1)
        return self.tail(torch.cat([both[:, :5], blurred, both[:, 8:]], 1))


@pytest.mark.parametrize(
    "spec",
    [
        "cut filters 50%",
        "cut filters 90%",
        "cut filters 80% globally",
        "cut filters 25%\ncut filters 60%",
        "cut filters keep 1",
        "cut filters until params <= 30%",
    ],
)
@pytest.mark.parametrize("kind", [Parts, Across])
def test_every_part_keeps_a_channel(kind: type[nn.Module], spec: str) -> None:
    torch.manual_seed(0)
    net = kind().eval()
    compiled = fxprune.compile(spec, net, torch.rand(IMAGE))
    convs = [part for part in compiled.module.modules() if isinstance(part, nn.Conv2d)]
    assert len(convs) == len([part for part in net.modules() if isinstance(part, nn.Conv2d)])
    assert all(min(conv.weight.shape) > 0 for conv in convs)
    assert not any("exactly" in (group.why or "") for group in compiled.report.groups)
    assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 10, 6))


def test_the_best_unit_of_a_part_stays_and_the_rest_goes_in_order() -> None:
    groups = discover(trace(Parts().eval(), (torch.rand(IMAGE),)))
    head = groups.groups[0]
    sets = needed(groups)
    assert [np.flatnonzero(np.isin(head.units, units)).tolist() for units in sets] == [[0, 1], [2, 3, 4, 5, 6, 7]]
    scores = np.array([2.0, 1, 8, 7, 6, 5, 4, 3])
    order = np.argsort(scores)
    (cored,) = with_cores([Ranked(head, head.units[order], scores[order])], sets)
    assert cored.scores.tolist() == [1, 3, 4, 5, 6, 7, 2, 8]
    assert cored.least == 2


def test_a_part_of_which_something_is_not_at_stake_needs_none() -> None:
    groups = discover(trace(Across().eval(), (torch.rand(IMAGE),)))
    a, b = groups.groups[:2]
    units = np.concatenate([a.units[5:], b.units[:2]])
    assert set(units.tolist()) in [set(found.tolist()) for found in needed(groups)]
    alone = Ranked(a, a.units, np.arange(6.0))
    assert with_cores([alone], [units])[0] is alone
    both = with_cores([alone, Ranked(b, b.units, np.arange(6.0))], [units])
    assert [r.least for r in both] == [1, 1]
    assert both[0].order[-1] == a.units[5]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_marks_made_one_after_the_other_leave_a_channel_too(names: tuple[str, str]) -> None:
    torch.manual_seed(0)
    net = Across().eval()
    compiled = fxprune.compile(
        "\n".join([*(f"mark filters in {name} 90%" for name in names), "cut"]), net, torch.rand(IMAGE)
    )
    assert compiled.report.params[1] < compiled.report.params[0] / 3
    assert not any("exactly" in (group.why or "") for group in compiled.report.groups)
    assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 10, 6))
