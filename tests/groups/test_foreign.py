"""Operations of other libraries: without a rule nothing of what they touch goes, with one of the user's it does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxprune
from fxprune.groups.labels import Labels
from fxprune.groups.op import Op
from fxprune.groups.registry import RULES
from tests.oracle import exact


@torch.library.custom_op("fxprune_tests::flip", mutates_args=())
def flip(x: torch.Tensor) -> torch.Tensor:
    """Upside down. The name is that of one of torch's own."""
    return x.flip(2)


@flip.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Foreign(nn.Module):
    """The operation between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.body(flip(self.head(x))).relu())


def test_without_a_rule_it_protects() -> None:
    kinds = {group.name: (group.kind, group.reason) for group in fxprune.analyze(Foreign(), torch.rand(1, 3, 8, 8))}
    assert kinds["head"] == ("protected", "no rule for `fxprune_tests.flip.default`")
    assert kinds["body"] == ("free", None)


@pytest.mark.parametrize("name", ["flip", "fxprune_tests.flip"])
def test_with_a_rule_of_the_user_it_is_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def passes_on(op: Op) -> list[Labels]:
        return [op.lookup(op.tensors()[0])]

    monkeypatch.setitem(RULES, name, passes_on)
    net, image = Foreign().eval(), torch.rand(1, 3, 8, 8)
    compiled = fxprune.compile("cut filters 50%", net, image)
    assert compiled.module.get_submodule("head").out_channels == 4
    assert exact(net, compiled.kept, compiled.module, (image,))[0]
