"""Which layers a selection means, and what is said when it means none."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from fxprune.errors import PlanError
from fxprune.pipeline import plan as decide
from tests.plan.nets import IMAGE, chain, residual


def lost(spec: str, net: nn.Module) -> list[str]:
    """Groups that lost something."""
    return [d.group.name for d in decide(spec, net, torch.rand(IMAGE)).decisions if len(d.removed)]


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        ("", ["head", "body.0.0", "body.1.0", "tail.0"]),
        ("free ", ["body.0.0", "body.1.0", "tail.0"]),
        ("constrained ", ["head"]),
    ],
)
def test_roles(selection: str, wanted: list[str]) -> None:
    assert lost(f"cut {selection}filters 50%" if not selection else f"cut {selection}50%", residual()) == wanted


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("body.0.0", ["body.0.0"]),
        ("body.*.0", ["body.0.0", "body.1.0"]),
        ("body.*", ["body.0.0", "body.1.0"]),
        ("body.**, head", ["head", "body.0.0", "body.1.0"]),
        ("head, body.0.2, body.1.2", ["head"]),
        ("kind Conv2d", ["head", "body.0.0", "body.1.0", "tail.0"]),
        ("body.* except body.1", ["body.0.0"]),
    ],
)
def test_paths(where: str, wanted: list[str]) -> None:
    assert lost(f"cut filters 50% in {where}", residual()) == wanted


@pytest.mark.parametrize(
    "statement", ["protect {}\ncut filters 50%", "cut filters 50% in {}", "mark filters 50% in {}\ncut"]
)
@pytest.mark.parametrize(
    ("wrong", "near"), [("boddy.*", r"body\."), ("haed", "head"), ("tail.0.conv", r"tail\.0"), ("layers.3", None)]
)
def test_a_name_that_no_layer_has(statement: str, wrong: str, near: str | None) -> None:
    with pytest.raises(PlanError, match=f"no layer is called `{wrong}`".replace("*", r"\*")) as caught:
        lost(statement.format(wrong), residual())
    message = str(caught.value)
    assert wrong in message.splitlines()[1]
    assert "^" in message
    if near:
        assert re.search(f"did you mean .*{near}", message)


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        lost("cut filters 50% in haed, boddy", residual())
    assert len(caught.value.diagnostics) == 2


def test_a_layer_tied_to_others_says_to_whom() -> None:
    with pytest.raises(PlanError, match=r"selects no group.*\n[\s\S]*tied to body\.0\.2, body\.1\.2"):
        lost("cut filters 50% in head", residual())


def test_a_kind_that_is_not_there() -> None:
    with pytest.raises(PlanError, match=r"no layer of kind Linear[\s\S]*Conv2d"):
        lost("cut filters 50% in kind Linear", chain(8))


def test_only_protected_layers_selected() -> None:
    with pytest.raises(PlanError, match="selects no group that can be cut"):
        lost("cut filters 50% in layers.1", chain(8))
