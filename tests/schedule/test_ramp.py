"""α's course and the learning rates, against closed forms and against loops that do what the papers say."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxprune.schedule import Cosine, Drops, Ramp, Rate, Warmup

PAPER = Ramp(Fraction(1, 10**4), 20, Fraction(1, 2))


def counted(ramp: Ramp, start: Fraction, steps: int) -> list[Fraction]:
    """α at each step, by counting as the papers' code does: iterations from 1, grown until it has passed τ."""
    alpha, found = start, []
    for iteration in range(1, steps + 1):
        if iteration % ramp.every == 0 and (ramp.until is None or alpha <= ramp.until):
            alpha += ramp.step
        found.append(alpha)
    return found


def test_the_papers_figures() -> None:
    assert PAPER.growths() == 5_001
    assert PAPER.length() == 100_020
    assert PAPER.alpha(100_018) == Fraction(1, 2)
    assert PAPER.alpha(100_019) == PAPER.alpha(10**6) == Fraction(5_001, 10**4)


def test_a_ramp_goes_on_from_where_it_stands() -> None:
    after_alignment = PAPER.alpha(17_259)
    assert after_alignment == Fraction(863, 10**4)
    assert PAPER.length(after_alignment) == 100_020 - 17_260
    assert PAPER.length(Fraction(6, 10)) == 0


@given(
    st.fractions(Fraction(1, 100), 1, max_denominator=100),
    st.integers(1, 7),
    st.none() | st.fractions(0, 3, max_denominator=50),
    st.fractions(0, 3, max_denominator=50),
)
def test_closed_form(step: Fraction, every: int, until: Fraction | None, start: Fraction) -> None:
    ramp = Ramp(step, every, until)
    course = counted(ramp, start, 60)
    assert [ramp.alpha(s, start) for s in range(60)] == course
    assert ramp.alpha(-1, start) == start
    length = ramp.length(start)
    if until is None:
        assert length is None
    elif length is not None and 0 < length <= 60:
        assert course[length - 1] > until
        assert length == every or course[length - 2] <= until


def test_rates() -> None:
    assert [Rate(1.0, (Drops(0.5, every=2),))(s, 6) for s in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [Rate(1.0, (Drops(0.1, (1, 3)),))(s, 4) for s in range(4)] == pytest.approx([1, 0.1, 0.1, 0.01])
    assert [Rate(1.0, warmup=Warmup(4))(s, 9) for s in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [Rate(1.0, warmup=Warmup(2, 0.5))(s, 9) for s in range(3)] == [0.75, 1, 1]


def test_cosine_over_a_whole_phase() -> None:
    rate = Rate(2.0, cosine=Cosine(to=1.0))
    for step in range(8):
        assert rate(step, 8) == pytest.approx(1 + (1 + math.cos(math.pi * step / 8)) / 2)


def test_cosine_restarts() -> None:
    by_period, at = Rate(1.0, cosine=Cosine(every=5)), Rate(1.0, cosine=Cosine(at=(5,)))
    one = [(1 + math.cos(math.pi * s / 5)) / 2 for s in range(5)]
    assert [by_period(s, 10) for s in range(10)] == pytest.approx(one + one)
    assert [at(s, 10) for s in range(10)] == pytest.approx(one + one)
    assert at(7, 20) == pytest.approx((1 + math.cos(math.pi * 2 / 15)) / 2)
