"""Folded paths name exactly what they stand for."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxprune.view.folding import fold, folded_text, placed


@pytest.mark.parametrize(
    ("paths", "folded"),
    [
        (["head"], ["head"]),
        ([f"body.{n}.conv1" for n in range(16)], ["body.{0..15}.conv1"]),
        (["a.0", "a.2", "a.3"], ["a.{0,2,3}"]),
        (["a.0", "a.2", "a.3", "a.4"], ["a.{0,2..4}"]),
        ([f"a.{i}.b.{j}" for i in range(3) for j in range(4)], ["a.{0..2}.b.{0..3}"]),
        (["a.0.b.0", "a.0.b.1", "a.1.b.0"], ["a.0.b.{0,1}", "a.1.b.0"]),
        (["conv1", "conv2", "tail"], ["conv{1,2}", "tail"]),
        (["a.07", "a.7"], ["a.07", "a.7"]),
        (["a.0.b", "a.1.b", "a.0.b#2", "a.1.b#2"], ["a.{0,1}.b", "a.{0,1}.b#2"]),
    ],
)
def test_what_differs_in_numbers_is_written_once(paths: list[str], folded: list[str]) -> None:
    assert [str(line) for line in fold(paths)] == folded


def unfolded(text: str) -> set[str]:
    """Every path that a folded one names, from what it says alone."""
    parts = re.split(r"\{([^}]*)\}", text)
    choices = []
    for number, part in enumerate(parts):
        if number % 2 == 0:
            choices.append([part])
            continue
        values: list[str] = []
        for run in part.split(","):
            first, _, last = run.partition("..")
            values += [str(n) for n in range(int(first), int(last or first) + 1)]
        choices.append(values)
    return {"".join(choice) for choice in itertools.product(*choices)}


paths = st.builds(
    "{}.{}.{}{}".format, st.sampled_from("ab"), st.integers(0, 4), st.sampled_from(["c", "d."]), st.integers(0, 3)
)


@given(st.lists(paths, unique=True))
def test_folding_loses_and_adds_nothing(given: list[str]) -> None:
    lines = fold(given)
    assert sorted(path for line in lines for path in line.members) == sorted(given)
    for line in lines:
        assert unfolded(str(line)) == set(line.members)


def test_a_long_list_says_how_much_is_left_out() -> None:
    assert folded_text(["a", "b", "c", "d0", "d1"], most=2) == "a, b and 3 more"


def test_a_reason_is_told_with_the_modules_where_it_arose() -> None:
    assert placed("no rule for `x`", [f"body.{k}.gate" for k in range(3)]) == "no rule for `x` at body.{0..2}.gate"
    assert placed("it is the network's output", [""]) == "it is the network's output"
    assert placed("`add` mixes", ["a", "b", "c"]) == "`add` mixes at a, b and 1 more"
