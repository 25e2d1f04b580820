"""What discovery finds, against networks of which it is known what can be cut: nothing less, and nothing more."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fxprune
from tests.ideal import Known, draw_known, units_found
from tests.oracle import exact


@settings(max_examples=60)
@given(st.randoms(use_true_random=False).map(draw_known))
def test_all_that_can_be_cut_and_no_more(known: Known) -> None:
    groups = fxprune.analyze(known.network, torch.rand(1, 3, 8, 6))
    assert {path: units_found(groups, path) for path in known.units} == known.units


def test_there_is_something_to_find() -> None:
    nets = [draw_known(Random(seed)) for seed in range(60)]
    assert sum(any(units for units in known.units.values()) for known in nets) > 50
    assert any(len(unit) > 1 for known in nets for units in known.units.values() for unit in units)


class Queries(nn.Module):
    """A table of 32 positions × 6 channels, kept as one row, is added to patches of 6 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.table, self.last = nn.Conv2d(3, 6, 1), nn.Embedding(1, 32 * 6), nn.Conv2d(6, 3, 1)

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        y = y + self.table.weight.view(4, 8, 6).permute(2, 0, 1)
        return self.last(y)


def test_of_the_axes_a_table_is_split_into_the_useful_one_shrinks() -> None:
    net = Queries()
    image = torch.rand(1, 3, 4, 8)
    assert [group.kind for group in fxprune.analyze(net, image)] == ["free", "protected"]
    compiled = fxprune.compile("cut filters 50%", net, image)
    assert len(compiled.kept["table.weight"][1]) == 32 * 3
    same, apart = exact(net, compiled.kept, compiled.module, (image,))
    assert same, apart
