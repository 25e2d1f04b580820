"""Lines over training steps → an SVG with axes, phases and a legend; it takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from fxprune.view.layout import number
from fxprune.view.svg import text

__all__ = ["STYLE", "Band", "Chart", "Series", "drawn", "ticks", "told"]

WIDTH, HEIGHT = 900, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 18, 44, 36
LETTER = 6.6  # width of a letter, about
ROOM = 1.1  # a logarithmic axis goes this far beyond its values

# Okabe and Ito's colours, the lighter ones on dark; every line has dashes of its own besides.
LINES = (
    ("#0072B2", "#56B4E9", ""),
    ("#D55E00", "#E69F00", "7 4"),
    ("#007a59", "#2fcf9f", "2 3"),
    ("#9c4f7d", "#CC79A7", "9 3 2 3"),
    ("#5c6878", "#9aa7b8", "4 2"),
)


def _colours(place: int) -> str:
    return "".join(f"--line{k}:{line[place]};" for k, line in enumerate(LINES))


STYLE = "\n".join(
    [
        f":root{{{_colours(0)}}}",
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{_colours(1)}}}}}",
        f":root[data-theme=dark]{{{_colours(1)}}}",
        ".curves{overflow-x:auto;margin:0 0 1.2em}",
        ".curves svg{display:block;width:100%;min-width:620px;height:auto;font-size:12px;fill:var(--text)}",
        ".curves .band{fill:var(--panel)}.curves .grid{stroke:var(--frame);stroke-width:.7}",
        ".curves .axis{stroke:var(--edge)}.curves .tick,.curves .phase{fill:var(--muted)}",
        ".curves .cut{stroke:var(--edge);stroke-dasharray:3 3}",
        ".curves .line{fill:none;stroke-width:2;stroke-linejoin:round}",
        *(
            f".curves .l{k}{{stroke:var(--line{k});{f'stroke-dasharray:{dashes}' if dashes else ''}}}"
            f".curves .p{k}{{fill:var(--line{k})}}"
            for k, (_, _, dashes) in enumerate(LINES)
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Series:
    """One line; it is interrupted between runs."""

    name: str
    runs: tuple[tuple[tuple[float, float], ...], ...]  # (step, value), ascending, finite
    dots: bool = False  # measured now and then: each point is shown


@dataclass(frozen=True, slots=True)
class Band:
    """A phase, or a cut, which takes no steps."""

    word: str
    start: int  # step
    end: int


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn."""

    title: str  # what the values are, with their unit
    series: tuple[Series, ...]
    bands: tuple[Band, ...] = ()
    log: bool = False  # values on a logarithmic axis; all above 0


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where steps and values are on the page."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool

    def across(self, step: float) -> float:
        low, high = self.x
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - low) / (high - low)

    def down(self, value: float) -> float:
        low, high = (math.log10(v) for v in self.y) if self.log else self.y
        at = math.log10(value) if self.log else value
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (at - low) / (high - low)


def drawn(chart: Chart) -> Markup:
    """The chart; nothing where there is nothing to draw."""
    points = [point for one in chart.series for run in one.runs for point in run]
    if not points:
        return Markup("")
    steps, values = zip(*points, strict=True)
    frame = _Frame(_spread(min(steps), max(steps)), _range(min(values), max(values), chart.log), chart.log)
    parts = [*_bands(chart, frame), *_axes(frame), *_legend(chart)]
    for k, one in enumerate(chart.series):
        parts += _line(one, k % len(LINES), frame)
    return Markup(
        f'<div class="curves"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{text(chart.title)}</title>'
        f"{''.join(parts)}</svg></div>"
    )


def _spread(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty."""
    return (low, high) if high > low else (low - 1, high + 1)


def _range(low: float, high: float, log: bool) -> tuple[float, float]:
    """What the axis of values spans: from 0 where that is near, otherwise a little beyond the values."""
    if log:
        return low / ROOM, high * ROOM
    if 0 <= low <= high / 2:
        low = 0.0
    low, high = _spread(low, high)
    room = (high - low) * 0.05
    return (low if low == 0 else low - room), high + room


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers in a range: multiples of 1, 2 or 5 times a power of ten, at most so many."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if (high - low) / s <= most)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    share = (1, 2, 5) if len(exponents) <= 3 else (1,)
    found = [digit * 10.0**exponent for exponent in exponents for digit in share]
    found = [value for value in found if low <= value <= high]
    return found[:: -(-len(found) // 8)] if found else [low, high]


def told(value: float) -> str:
    """A number as an axis writes it: 20k, 0.25, 1e-5."""
    if abs(value) >= 10_000:
        return f"{value / 1000:,.10g}k"
    if value and abs(value) < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.6g}"


def _axes(frame: _Frame) -> Iterator[str]:
    floor = HEIGHT - BOTTOM
    for value in _decades(*frame.y) if frame.log else ticks(*frame.y, most=5):
        y = number(frame.down(value))
        yield f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
        yield f'<text class="tick" x="{LEFT - 7}" y="{y}" dy=".35em" text-anchor="end">{told(value)}</text>'
    for step in ticks(*frame.x, most=8):
        if step == int(step):
            x = number(frame.across(step))
            yield f'<path class="axis" d="M{x} {floor}v5"/>'
            yield f'<text class="tick" x="{x}" y="{floor + 19}" text-anchor="middle">{told(step)}</text>'
    yield f'<path class="axis" d="M{LEFT} {floor}H{WIDTH - RIGHT}"/>'
    yield f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">training steps</text>'


def _bands(chart: Chart, frame: _Frame) -> Iterator[str]:
    """Phases, every other one shaded, with their words where there is room; cuts as lines."""
    low, high = frame.x
    taken = 0.0  # as far as words stand already
    shaded = False
    for band in chart.bands:
        shaded = shaded != (band.start < band.end)
        if band.end < low or band.start > high or (band.start < band.end and band.end == low):
            continue
        left, right = frame.across(max(band.start, low)), frame.across(min(band.end, high))
        if band.start == band.end:
            yield f'<path class="cut" d="M{number(left)} {TOP - 4}V{HEIGHT - BOTTOM}"/>'
        elif shaded:
            width, height = number(right - left), HEIGHT - BOTTOM - TOP
            yield f'<rect class="band" x="{number(left)}" y="{TOP}" width="{width}" height="{height}"/>'
        room = LETTER * len(band.word)
        at = (left + right) / 2
        at = min(max(at, LEFT + room / 2), WIDTH - RIGHT - room / 2)
        fits = band.start == band.end or right - left > room
        if fits and at - room / 2 > taken:
            yield f'<text class="phase" x="{number(at)}" y="{TOP - 8}" text-anchor="middle">{text(band.word)}</text>'
            taken = at + room / 2 + LETTER


def _legend(chart: Chart) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="14">{text(chart.title)}</text>'
    if len(chart.series) < 2:
        return
    x = float(WIDTH - RIGHT)
    for k, one in reversed(list(enumerate(chart.series))):
        x -= LETTER * len(one.name)
        yield f'<text x="{number(x)}" y="14">{text(one.name)}</text>'
        look = k % len(LINES)
        yield f'<path class="line l{look}" d="M{number(x - 36)} 10h30"/>'
        x -= 36 + 2 * LETTER


def _line(one: Series, look: int, frame: _Frame) -> Iterator[str]:
    for run in one.runs:
        places = [(number(frame.across(step)), number(frame.down(value))) for step, value in run]
        if len(places) > 1:
            yield f'<path class="line l{look}" d="M{"L".join(f"{x} {y}" for x, y in places)}"/>'
        if one.dots or len(places) == 1:
            for (x, y), (step, value) in zip(places, run, strict=True):
                hint = text(f"{one.name}: {value:.4g} at step {step:,.0f}")
                yield f'<circle class="p{look}" cx="{x}" cy="{y}" r="3"><title>{hint}</title></circle>'
