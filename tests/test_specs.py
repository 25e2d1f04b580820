"""Every spec that comes along is laid out canonically, and does what it says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

import fxprune
from fxprune import zoo
from fxprune.lang import ModelRef, format_spec, parse
from tests.train.methods import PUBLISHED, works

SPECS = Path(__file__).parent.parent / "specs"


def half() -> None:
    compiled = fxprune.compile(SPECS / "half.prune", zoo.build("imdn", width=16), torch.rand(1, 3, 16, 16))
    cuttable = [row for row in compiled.report.groups if row.kind != "protected"]
    assert {row.name: row.after for row in cuttable} == {row.name: row.before // 2 for row in cuttable}


def l1_edsr_x2() -> None:
    spec = parse(SPECS / "l1-edsr-x2.prune")
    (model,) = spec.of(ModelRef)
    compiled = fxprune.compile(spec, zoo.build(model.name, **model.keywords()))
    assert (compiled.report.params[1], compiled.report.macs[1]) == (381_819, 88_859_980_800)


def macs_budget() -> None:
    network = zoo.build("edsr", scale=4, blocks=4)
    compiled = fxprune.compile(SPECS / "macs-budget.prune", network, torch.rand(1, 3, 16, 16))
    assert compiled.report.macs[1] <= 40_600_000_000 < compiled.report.macs[0]
    body = [row for row in compiled.report.groups if row.name.startswith(("head", "body"))]
    assert [row.after % 8 for row in body] == [0] * len(body)


def widths_48() -> None:
    spec = parse(SPECS / "widths-48.prune")
    (model,) = spec.of(ModelRef)
    with torch.device("meta"):
        network = zoo.build(model.name, **model.keywords())
    at_45 = parse(SPECS / "widths-48.prune", variables={"kept": "45"})
    example = torch.empty(1, 3, 48, 48, device="meta")
    params = [fxprune.compile(s, network, example).report.params[1] for s in (spec, at_45)]
    assert params == [708_000, 623_658]


CASES: dict[str, Callable[[], None]] = {
    "half": half,
    "l1-edsr-x2": l1_edsr_x2,
    "macs-budget": macs_budget,
    "widths-48": widths_48,
    **{name: partial(works, name) for name in PUBLISHED},
}


def test_no_spec_is_left_out() -> None:
    assert sorted(CASES) == sorted(path.stem for path in SPECS.glob("*.prune"))


@pytest.mark.parametrize("name", CASES)
def test_spec_does_what_it_says(name: str) -> None:
    CASES[name]()


@pytest.mark.parametrize("name", CASES)
def test_spec_is_formatted(name: str) -> None:
    path = SPECS / f"{name}.prune"
    assert format_spec(parse(path)) == path.read_text()
