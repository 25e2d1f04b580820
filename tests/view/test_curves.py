"""Curves of a training: what is measured is drawn where it belongs, phases are marked, text stays text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest

import fxprune
from fxprune.train.events import METRICS, Event, Kind, read_metrics
from fxprune.view.chart import Band, Chart, Series, drawn, ticks, told
from fxprune.view.curves import POINTS, TITLE, charts, curves, phases
from tests.train.runs import ASSL, EXAMPLE, network

SVG = "{http://www.w3.org/2000/svg}"


def event(kind: Kind, step: int, phase: str, **data: Any) -> Event:
    return Event(kind, step, phase, data)


def history(group: str = "head") -> list[Event]:
    """Ten steps of shrinking, in two goes; a cut; ten of finetuning."""
    norms = [
        event("step", k, "shrink", loss=20.0 / k, lr=1e-3, alpha=k / 10, kept_norm=1 + k / 100, marked_norm=1 - k / 10)
        for k in range(1, 11)
    ]
    tuned = [event("step", k, "finetune", loss=3.0, lr=1e-4) for k in range(11, 21)]
    scores = {"Set5": {"psnr": 30.0, "ssim": 0.9}}
    return [
        event("start", 0, "", steps=20),
        event("phase", 0, "shrink", length=10, at=0, marked=3),
        *norms[:4],
        event("step", 4, "shrink", agreement={group: 0.5}, loss=1.0, lr=1e-3),
        event("phase", 4, "shrink", length=10, at=4, marked=3),
        *norms[4:],
        event("validate", 10, "shrink", psnr=30.0, sets=scores),
        event("cut", 10, "cut", params=100),
        event("validate", 10, "cut", psnr=29.5, sets={"Set5": {"psnr": 29.5, "ssim": 0.9}}),
        event("phase", 10, "finetune", length=10, at=0, marked=0),
        *tuned,
        event("validate", 20, "finetune", psnr=31.0, sets={"Set5": {"psnr": 31.0, "ssim": 0.9}}),
    ]


def test_phases() -> None:
    """What was interrupted and gone on with is one phase."""
    assert phases(history()) == (Band("shrink", 0, 10), Band("cut", 10, 10), Band("finetune", 10, 20))


def test_what_is_drawn() -> None:
    found = {chart.title.partition(",")[0].partition(" of")[0]: chart for chart in charts(history(), phases(history()))}
    norms = found["norm"]
    assert [one.name for one in norms.series] == ["kept", "marked"]
    kept = [point for run in norms.series[0].runs for point in run]
    assert [kept[0], kept[-1]] == [(1, 1.01), (10, 1.1)]
    (measured,) = found["PSNR-Y"].series[0].runs
    assert list(measured) == [(10, 30.0), (10, 29.5), (20, 31.0)]
    assert not found["learning rate"].log
    assert len(found["loss"].series[0].runs) == 2  # interrupted at the cut


def test_each_line_is_its_own_without_colour() -> None:
    """Dashes differ, and each has its name in the legend."""
    page = curves(history())[TITLE]
    assert ">kept</text>" in page
    assert ">marked</text>" in page
    dashes = re.findall(r"\.curves \.l\d\{[^}]*?(?:stroke-dasharray:([\d ]+))?\}", page)
    assert len(dashes) == len(set(dashes)) == 5


def test_places() -> None:
    """The first step is at the left of the axis, the largest value higher up."""
    svg = drawn(Chart("t", (Series("one", (((0.0, 0.0), (100.0, 4.0)),)),), (Band("train", 0, 100),)))
    root = ElementTree.fromstring(svg)
    line = next(node for node in root.iter("path") if node.get("class") == "line l0")
    (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", str(line.get("d"))))
    assert x0 < x1
    assert y0 > y1
    texts = {node.text: float(cast(str, node.get("x"))) for node in root.iter("text")}
    assert texts["0"] < texts["100"]
    assert x0 < texts["train"] < x1


def test_text_is_text() -> None:
    page = curves(history("</title><script>hacked=1</script>"))[TITLE]
    assert "<script>" not in page
    assert "&lt;script&gt;hacked=1" in page
    style, _, rest = page.partition("</style>")
    assert style.startswith("<style>")
    ElementTree.fromstring(f"<div>{rest}</div>")


def test_long_runs_are_thinned() -> None:
    steps = [event("step", k, "train", loss=1 + 1 / k, lr=1e-4) for k in range(1, 50_001)]
    found = charts([event("phase", 0, "train", at=0), *steps], (Band("train", 0, 50_000),))
    points = found[0].series[0].runs[0]
    assert len(points) <= POINTS + 3
    assert (points[0][0], points[-1][0]) == (1, 50_000)


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.55, 0.7, [0.55, 0.6, 0.65, 0.7]),
        (1, 100_000, [20_000 * k for k in range(1, 6)]),
    ],
)
def test_ticks(low: float, high: float, want: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(want)


@pytest.mark.parametrize(
    ("value", "want"),
    [(0, "0"), (20_000, "20k"), (1_000_000, "1,000k"), (0.25, "0.25"), (1e-5, "1e-5"), (9000, "9000")],
)
def test_numbers(value: float, want: str) -> None:
    assert told(value) == want


def test_nothing_measured_nothing_drawn() -> None:
    assert curves([]) == {}
    assert curves([event("start", 0, "")]) == {}
    assert drawn(Chart("t", (Series("one", ()),))) == ""
    assert "nan" not in curves([event("step", 1, "train", loss=1.0, lr=0.0, kept_norm=float("nan"))])[TITLE]


def test_a_compile_that_trains_writes_them(tmp_path: Path) -> None:
    compiled = fxprune.compile(ASSL, network(), EXAMPLE)
    saved = compiled.save(tmp_path / "out")
    assert METRICS in saved.files
    events = read_metrics(tmp_path / "out" / METRICS)
    assert [one.kind for one in events] == [one.kind for one in compiled.history]
    page = (tmp_path / "out" / "report.html").read_text()
    for told_of in (TITLE, "norm of the filters", "strength of the penalty", "agree to keep", METRICS):
        assert told_of in page
    plain = fxprune.compile("cut filters 50%", network(), EXAMPLE)
    assert plain.history == ()
    assert METRICS not in plain.pages(("pt2",))
