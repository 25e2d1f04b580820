"""Budgets: the fewest removals along the walk that meet the limit, in figures that the compact network really has."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import fxprune
from fxprune.errors import PlanError
from fxprune.pipeline import plan as decide
from fxprune.plan import Plan
from tests.plan.nets import IMAGE, chain, params, residual, true_macs

NETS = {"chain": chain(10, 6, 12), "residual": residual(8, 12)}


def planned(spec: str, net: nn.Module) -> Plan:
    return decide(spec, net, torch.rand(IMAGE))


def walk(net: nn.Module, by_score: bool, multiple: int = 1) -> list[list[int]]:
    """The documented walk, written again: what stays of each group after each step, from nothing removed on.

    One unit at a time from the group that has lost the smallest share of itself (or that has the least important unit
    left), the first group where they tie.
    """
    plan = planned("cut filters 0% by l1", net)
    groups = [d.group for d in plan.decisions if d.group.kind != "protected" and d.group.width >= 4]
    states = [[g.width for g in groups]]
    scores = []
    for g in groups:
        made = [net.get_parameter(m.tensor).detach().double().abs() for m in g.members if m.role == "out"]
        rows = np.stack([w.flatten(1).mean(1).numpy() for w in made]).mean(0)
        if len(rows) != g.width:
            rows = rows.reshape(g.width, -1).mean(1)
        scores.append(sorted(rows))
    while True:
        now = states[-1]
        options = []
        for k, g in enumerate(groups):
            after = (now[k] - 1) // multiple * multiple if multiple > 1 else now[k] - 1
            if after < max(1, multiple if multiple > 1 else 1):
                continue
            key = scores[k][g.width - after - 1] if by_score else (g.width - after) / g.width
            options.append((key, k, after))
        if not options:
            return states
        _, k, after = min(options)
        states.append([*now[:k], after, *now[k + 1 :]])


def until(metric: str, limit: int) -> str:
    """A limit as a spec states it."""
    return f"{metric} <= {limit}" + (" at 1280x720" if metric == "macs" else "")


def figures(net: nn.Module, states: list[list[int]], metric: str) -> list[int]:
    """Parameters or MACs of a network with so many units of each group."""
    plan = planned("cut filters 0% by l1", net)
    groups = [d.group for d in plan.decisions if d.group.kind != "protected" and d.group.width >= 4]
    gone = [[g.units[: g.width - n] for g, n in zip(groups, state, strict=True)] for state in states]
    return [plan.cost.measure(metric, np.concatenate(units)) for units in gone]


@pytest.mark.parametrize("metric", ["params", "macs"])
@pytest.mark.parametrize("tail", ["", " globally", ", multiple of 4", " globally, multiple of 4"])
@pytest.mark.parametrize("name", NETS)
def test_the_fewest_removals(name: str, tail: str, metric: str) -> None:
    net = NETS[name]
    states = walk(net, "globally" in tail, 4 if "multiple" in tail else 1)
    costs = figures(net, states, metric)
    assert costs == sorted(costs, reverse=True)
    for share in (0.9, 0.4):
        limit = int(costs[-1] + share * (costs[0] - costs[-1]))
        spec = f"cut filters until {until(metric, limit)} by l1{tail}"
        plan = planned(spec, net)
        found = [d.kept for d in plan.decisions if d.group.kind != "protected" and d.group.width >= 4]
        reached = next(k for k, cost in enumerate(costs) if cost <= limit)
        assert found == states[reached], f"{metric} <= {limit}"
        compiled = fxprune.compile(spec, net, torch.rand(IMAGE))
        pair = compiled.report.params if metric == "params" else compiled.report.macs
        assert pair[1] <= limit


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("share", [0, 13, 50, 87])
def test_the_figures_are_real(name: str, share: int) -> None:
    net = NETS[name]
    compiled = fxprune.compile(f"cut filters {share}% by random(seed={share})", net, torch.rand(IMAGE))
    assert compiled.report.params == (params(net), params(compiled.module))
    factor = 2 if name == "residual" else 1
    image = (1, 3, 720 // factor, 1280 // factor)
    with torch.device("meta"):
        small = (1, 3, 72 // factor, 128 // factor)
    assert compiled.report.macs == (100 * true_macs(net, small), 100 * true_macs(compiled.module, small))
    assert image[2] == 10 * small[2]


def test_a_size_of_its_own() -> None:
    net = NETS["residual"]
    dense = true_macs(net, (1, 3, 16, 32))
    plan = planned(f"cut filters until macs <= {dense // 2} at 64x32", net)
    compiled = fxprune.compile(f"cut filters until macs <= {dense // 2} at 64x32", net, torch.rand(IMAGE))
    assert plan.notes == ()
    assert true_macs(compiled.module, (1, 3, 16, 32)) <= dense // 2


@pytest.mark.parametrize("metric", ["params", "macs"])
@pytest.mark.parametrize("tail", ["", " globally", ", multiple of 4"])
def test_out_of_reach(metric: str, tail: str) -> None:
    net = NETS["chain"]
    with pytest.raises(PlanError, match=r"out of reach") as caught:
        planned(f"cut filters until {until(metric, 50)}{tail}", net)
    nearest = int(re.search(r"at least ([\d,]+)", str(caught.value)).group(1).replace(",", ""))  # type: ignore[union-attr]
    plan = planned(f"cut filters until {until(metric, nearest)}{tail}", net)
    assert plan.cost.measure(metric, plan.removed) == nearest
    with pytest.raises(PlanError, match="out of reach"):
        planned(f"cut filters until {until(metric, nearest - 1)}{tail}", net)


def test_a_budget_already_met_removes_nothing() -> None:
    plan = planned("cut filters until params <= 10M", NETS["chain"])
    assert len(plan.removed) == 0


def test_a_share_of_the_dense_network() -> None:
    net = NETS["chain"]
    dense = params(net)
    once = fxprune.compile("cut filters until params <= 50%", net, torch.rand(IMAGE)).report.params[1]
    after = fxprune.compile("cut filters 20%\ncut filters until params <= 50%", net, torch.rand(IMAGE)).report.params[1]
    assert once <= dense / 2
    assert dense / 3 < after <= dense / 2


def test_a_budget_spares_what_is_protected() -> None:
    net = NETS["residual"]
    compiled = fxprune.compile("protect body.*\ncut filters until params <= 70%", net, torch.rand(IMAGE))
    assert compiled.report.params[1] <= 0.7 * params(net)
    assert "body.0.0.bias" not in compiled.kept
    assert "head.bias" not in compiled.kept


def test_unused_layers_are_counted_as_they_are() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.idle = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            self.idle(x)
            return self.b(x)

    compiled = fxprune.compile("cut filters 50%", Idle(), torch.rand(IMAGE))
    assert compiled.report.params[1] == params(compiled.module)
    assert compiled.report.macs[1] == 100 * true_macs(compiled.module, (1, 3, 72, 128))
