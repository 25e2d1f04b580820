"""What discovery finds, against networks of which it is known what can be cut: nothing less, and nothing more."""

from __future__ import annotations

from random import Random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fxprune
from tests.ideal import Known, draw_known, units_found


@settings(max_examples=60)
@given(st.randoms(use_true_random=False).map(draw_known))
def test_all_that_can_be_cut_and_no_more(known: Known) -> None:
    groups = fxprune.analyze(known.network, torch.rand(1, 3, 8, 6))
    assert {path: units_found(groups, path) for path in known.units} == known.units


def test_there_is_something_to_find() -> None:
    nets = [draw_known(Random(seed)) for seed in range(60)]
    assert sum(any(units for units in known.units.values()) for known in nets) > 50
    assert any(len(unit) > 1 for known in nets for units in known.units.values() for unit in units)
