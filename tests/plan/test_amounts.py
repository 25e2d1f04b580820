"""How much goes: shares, numbers, multiples, marks and cuts in order."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fxprune
from fxprune.errors import FxpruneError, PlanError
from fxprune.pipeline import plan as decide
from fxprune.plan import Plan
from tests.plan.nets import IMAGE, chain, residual


def kept(spec: str, net: nn.Module) -> dict[str, int]:
    """Group → units that stay."""
    return {d.group.name: d.kept for d in planned(spec, net).decisions}


def planned(spec: str, net: nn.Module) -> Plan:
    return decide(spec, net, torch.rand(IMAGE))


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [
        ("50%", (5, 6)),
        ("1%", (9, 11)),
        ("99%", (1, 1)),
        ("33%", (6, 8)),
        ("33% rounded down", (7, 9)),
        ("33% rounded nearest", (7, 8)),
        ("keep 25%", (2, 3)),
        ("keep 4", (4, 4)),
        ("keep 11", (10, 11)),
        ("keep 1", (1, 1)),
        ("50%, multiple of 4", (8, 8)),
        ("90%, multiple of 4", (4, 4)),
        ("10%, multiple of 4", (10, 12)),
        ("50%, multiple of 16", (10, 12)),
        ("keep 3, multiple of 8", (8, 8)),
    ],
)
def test_amounts(amount: str, wanted: tuple[int, int]) -> None:
    found = kept(f"cut filters {amount}", chain(10, 12))
    assert (found["layers.0"], found["layers.1"]) == wanted
    assert found["layers.2"] == 3


@settings(max_examples=40)
@given(share=st.integers(0, 99), width=st.integers(4, 40))
def test_a_share_is_rounded_up_and_one_unit_lives(share: int, width: int) -> None:
    net = CHAINS.setdefault(width, chain(width))
    assert kept(f"cut filters {share}% by l1", net)["layers.0"] == width - min(ceil(share * width / 100), width - 1)


CHAINS: dict[int, nn.Module] = {}


def test_multiple_on_a_line_of_its_own() -> None:
    net = chain(10, 12)
    assert kept("multiple of 4\ncut filters 50%", net) == kept("cut filters 50%, multiple of 4", net)
    assert kept("multiple of 4\ncut filters 50%, multiple of 2", net)["layers.0"] == 6


class TestOrder:
    def test_a_percentage_is_of_what_is_left(self) -> None:
        assert kept("cut filters 50%\ncut filters 50%", chain(16))["layers.0"] == 4

    def test_at_least_one_lives_however_often(self) -> None:
        assert kept("cut filters 90%\n" * 5, chain(16, 8)) == {"layers.0": 1, "layers.1": 1, "layers.2": 3}

    def test_marks_wait_for_the_cut(self) -> None:
        net = chain(16, 8)
        plan = planned("mark filters 50% by l1\ncut", net)
        assert np.array_equal(plan.removed, planned("cut filters 50% by l1", net).removed)

    def test_a_later_mark_replaces_an_earlier_one_where_both_choose(self) -> None:
        found = kept("mark filters 50%\nmark filters 25% in layers.0\ncut", chain(16, 8))
        assert (found["layers.0"], found["layers.1"]) == (12, 4)

    def test_marks_alone_cut_nothing(self) -> None:
        with pytest.raises(PlanError, match="cuts nothing"):
            planned("mark filters 50%", chain(8))

    def test_a_cut_without_marks(self) -> None:
        with pytest.raises(FxpruneError, match="marked"):
            planned("cut", chain(8))

    def test_choices(self) -> None:
        found = kept("cut filters 50% {\n  layers.0 25%\n  layers.1 by random(seed=1)\n}", chain(16, 8, 8))
        assert found == {"layers.0": 12, "layers.1": 4, "layers.2": 4, "layers.3": 3}


class TestWhoGoes:
    def test_the_smallest_by_l1(self) -> None:
        net = chain(16)
        plan = planned("cut filters 50% by l1", net)
        sizes = net.get_parameter("layers.0.weight").detach().abs().sum((1, 2, 3))
        wanted = sorted(sizes.argsort()[8:].tolist())
        assert (
            list(fxprune.compile("cut filters 50% by l1", net, torch.rand(IMAGE)).kept["layers.0.weight"][0]) == wanted
        )
        assert len(plan.removed) == 8

    def test_the_smallest_by_l2(self) -> None:
        net = chain(16)
        sizes = net.get_parameter("layers.0.weight").detach().square().sum((1, 2, 3))
        found = fxprune.compile("cut filters 25% by l2", net, torch.rand(IMAGE)).kept["layers.0.weight"][0]
        assert list(found) == sorted(sizes.argsort()[4:].tolist())

    def test_equal_scores_go_in_channel_order(self) -> None:
        net = chain(8)
        with torch.no_grad():
            net.get_parameter("layers.0.weight").fill_(0.5)
        assert fxprune.compile("cut filters 50%", net, torch.rand(IMAGE)).kept["layers.0.weight"][0] == (4, 5, 6, 7)

    def test_random_depends_on_its_seed_alone(self) -> None:
        def chosen(seed: int) -> object:
            torch.manual_seed(seed * 17)
            return fxprune.compile("cut filters 50% by random(seed=4)", chain(16, seed=seed), torch.rand(IMAGE)).kept

        assert chosen(1) == chosen(2)
        net = chain(16)
        a, b = (planned(f"cut filters 50% by random(seed={seed})", net).removed for seed in (1, 2))
        assert not np.array_equal(a, b)

    @pytest.mark.parametrize(
        ("how", "combine"),
        [
            ("mean", lambda x: x.mean(0)),
            ("max", lambda x: x.max(0).values),
            ("min", lambda x: x.min(0).values),
            ("sum", lambda x: x.sum(0)),
            ("product", lambda x: x.prod(0)),
            ("first", lambda x: x[0]),
        ],
    )
    def test_members_of_a_constrained_group(self, how: str, combine: object) -> None:
        net = residual(8)
        spec = f"cut filters 50% in head, body.0.2, body.1.2 by l1 aggregate {how}"
        found = fxprune.compile(spec, net, torch.rand(IMAGE)).kept["head.weight"][0]
        scores = torch.stack(
            [net.get_parameter(f"{n}.weight").detach().abs().mean((1, 2, 3)) for n in ("head", "body.0.2", "body.1.2")]
        )
        wanted = combine(scores.double()).argsort()[4:]  # type: ignore[operator]
        assert list(found) == sorted(wanted.tolist())

    def test_globally_the_smallest_of_all_go(self) -> None:
        net = chain(16, 16)
        with torch.no_grad():
            net.get_parameter("layers.0.weight").mul_(0.01)
        found = kept("cut filters 40% by l1 globally", net)  # 13 of 32
        assert (found["layers.0"], found["layers.1"]) == (3, 16)
        found = kept("cut filters 90% by l1 globally", net)  # 29 of 32, but one of each lives
        assert (found["layers.0"], found["layers.1"]) == (1, 2)

    @pytest.mark.parametrize("share", [10, 25, 50, 75, 90])
    def test_globally_with_equal_scores(self, share: int) -> None:
        net = chain(16, 8)
        with torch.no_grad():
            for p in net.parameters():
                p.fill_(0.25)
        found = kept(f"cut filters {share}% by l1 globally", net)
        assert found["layers.0"] + found["layers.1"] == 24 - min(ceil(share * 24 / 100), 22)


class TestLeftAlone:
    def test_narrow_groups(self) -> None:
        net = chain(3, 8)
        plan = planned("cut filters 50%", net)
        by_name = {d.group.name: d for d in plan.decisions}
        assert by_name["layers.0"].kept == 3
        assert "only 3 wide" in (by_name["layers.0"].why or "")
        assert kept("cut filters 50% in layers.0", net)["layers.0"] == 1

    def test_protected_layers_keep_their_filters_and_lose_inputs(self) -> None:
        net = residual()
        compiled = fxprune.compile("protect tail.*\ncut filters 50%", net, torch.rand(IMAGE))
        assert 0 not in compiled.kept["tail.0.weight"]
        assert len(compiled.kept["tail.0.weight"][1]) == 4
        assert "tail.0.bias" not in compiled.kept
        row = next(row for row in compiled.report.groups if row.name == "tail.0")
        assert row.before == row.after
        assert row.why == "the spec protects it"

    def test_protecting_one_of_a_constrained_group_protects_it_whole(self) -> None:
        found = kept("protect head\ncut filters 50%", residual())
        assert found["head"] == 8
        assert found["body.0.0"] == 6

    def test_protect_wherever_it_stands(self) -> None:
        net = residual()
        assert kept("cut filters 50%\nprotect head", net) == kept("protect head\ncut filters 50%", net)

    def test_everything_protected(self) -> None:
        with pytest.raises(PlanError, match="every group is protected"):
            planned("protect layers.*\ncut filters 50%", chain(8, 8))
