"""The events of a training run → curves for the report: norms, penalty, loss, PSNR, learning rate, agreement.

Kept and marked norms over the steps are Figures 3 and 4 of ASSL (NeurIPS 2021) and SRP (ICLR 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from fxprune.train.events import Event
from fxprune.view.chart import STYLE, Band, Chart, Series, drawn
from fxprune.view.svg import text

__all__ = ["TITLE", "charts", "curves", "phases"]

TITLE = "How it was trained"
POINTS = 400  # of a line, at most
LOGARITHMIC = 20  # values that differ by more than this factor are on a logarithmic axis


def curves(history: Sequence[Event]) -> dict[str, Markup]:
    """The sections of a report about its training: title → markup; none without training steps."""
    if not any(event.kind == "step" for event in history):
        return {}
    bands = phases(history)
    pictures = [drawn(chart) for chart in charts(history, bands)]
    return {TITLE: Markup(f"<style>\n{STYLE}\n</style>") + Markup("").join(pictures) + _table(history, bands)}


def phases(history: Iterable[Event]) -> tuple[Band, ...]:
    """The phases that took steps, and the cuts. A phase that was interrupted and gone on with is one."""
    bands: list[Band] = []
    for event in history:
        if event.kind == "phase" and not (event.data.get("at") and bands):
            bands.append(Band(event.phase, event.step, event.step))
        elif event.kind == "cut":
            bands.append(Band("cut", event.step, event.step))
        elif event.kind == "step" and bands:
            last = next((k for k in reversed(range(len(bands))) if bands[k].word != "cut"), None)
            if last is not None:
                bands[last] = Band(bands[last].word, bands[last].start, event.step)
    return tuple(band for band in bands if band.word == "cut" or band.end > band.start)


def charts(history: Sequence[Event], bands: tuple[Band, ...]) -> tuple[Chart, ...]:
    """One chart for each thing that was measured."""
    cuts = [band.start for band in bands if band.word == "cut"]
    steps = [event for event in history if event.kind == "step"]

    def of(name: str, key: str, breaks: Sequence[int] = cuts) -> Series:
        return _series(name, steps, breaks, lambda data: data.get(key))

    marks = sorted([*cuts, *_marked_anew(history)])  # from there on, the norms are those of other filters
    norms = (of("kept", "kept_norm", marks), of("marked", "marked_norm", marks))
    groups = sorted({group for event in steps for group in event.data.get("agreement", ())})
    agreements = [_series(group, steps, cuts, _agreement(group)) for group in groups]
    whose = f" of {groups[0]}" if len(groups) == 1 else ""
    found = (
        Chart("norm of the filters, mean ‖w‖₂", norms, bands),
        Chart("α, strength of the penalty ½α‖w‖²", (of("α", "alpha"),), bands),
        Chart(f"share of channels that the layers{whose} agree to keep", tuple(agreements), bands),
        _logarithmic(Chart("loss", (of("loss", "loss"),), bands)),
        Chart("PSNR-Y of validation, dB", _psnr(history), bands),
        _logarithmic(Chart("learning rate", (of("learning rate", "lr"),), bands)),
    )
    return tuple(chart for chart in found if any(one.runs for one in chart.series))


def _agreement(group: str) -> Callable[[Any], Any]:
    return lambda data: data.get("agreement", {}).get(group)


def _marked_anew(history: Iterable[Event]) -> list[int]:
    """The steps after which more or fewer filters are marked."""
    begun = [event for event in history if event.kind == "phase" and "marked" in event.data]
    pairs = pairwise(begun)
    return [after.step for before, after in pairs if after.data["marked"] != before.data["marked"]]


def _psnr(history: Sequence[Event]) -> tuple[Series, ...]:
    """A line for each test set. A cut drops at its step: the value before it and after it are both there."""
    measured = [event for event in history if event.kind == "validate"]
    names = sorted({name for event in measured for name in event.data.get("sets", ())})

    def of(name: str) -> Series:
        points = [
            (float(event.step), float(event.data["sets"][name]["psnr"]))
            for event in measured
            if name in event.data.get("sets", ()) and _finite(event.data["sets"][name]["psnr"])
        ]
        return Series(name, (_thin(points),) if points else (), dots=len(points) <= POINTS // 4)

    return tuple(of(name) for name in names)


def _series(name: str, steps: Sequence[Event], breaks: Sequence[int], value: Callable[[Any], Any]) -> Series:
    """A line, interrupted after some steps and where nothing was measured."""
    runs: list[list[tuple[float, float]]] = [[]]
    pending = list(breaks)
    for event in steps:
        while pending and event.step > pending[0]:
            pending.pop(0)
            runs.append([])
        measured = value(event.data)
        if _finite(measured):
            runs[-1].append((float(event.step), float(measured)))
        else:
            runs.append([])
    return Series(name, tuple(_thin(run, len(steps)) for run in runs if run))


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _thin(points: list[tuple[float, float]], of: int | None = None) -> tuple[tuple[float, float], ...]:
    """At most about `POINTS` for a whole line: the means of neighbours; the first and the last stay."""
    share = max(1, (of or len(points)) // POINTS)
    if share == 1 or len(points) < 3:
        return tuple(points)
    first, *inner, last = points
    means = []
    for k in range(0, len(inner), share):
        part = inner[k : k + share]
        means.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return (first, *means, last)


def _logarithmic(chart: Chart) -> Chart:
    """The same on a logarithmic axis, where the values spread far."""
    values = [value for one in chart.series for run in one.runs for _, value in run]
    far = bool(values) and min(values) > 0 and max(values) > LOGARITHMIC * min(values)
    return Chart(chart.title, chart.series, chart.bands, log=far)


def _table(history: Sequence[Event], bands: Sequence[Band]) -> Markup:
    """The phases in words, for who cannot see the curves."""
    measured = [event for event in history if event.kind == "validate" and _finite(event.data.get("psnr"))]
    rows = []
    for band in bands:
        its = [event for event in measured if event.phase == band.word and band.start <= event.step <= band.end]
        psnr = f"{its[-1].data['psnr']:.2f} dB" if its else ""
        told = "" if band.word == "cut" else f"{band.end - band.start:,}"
        cells = f'<td class="num">{told}</td><td class="num">{band.end:,}</td><td class="num">{psnr}</td>'
        rows.append(f"<tr><td>{text(band.word)}</td>{cells}</tr>")
    head = '<th>phase</th><th class="num">steps</th><th class="num">until</th><th class="num">PSNR-Y at its end</th>'
    return Markup(
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
