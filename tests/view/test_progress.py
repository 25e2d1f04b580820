"""Training on a terminal: one line that moves, and lines that stay; without a terminal, lines alone."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.status import Status

from fxprune.train.events import Event, Kind
from fxprune.view.progress import Progress, clock


def event(kind: Kind, step: int, **data: Any) -> Event:
    return Event(kind, step, "shrink", data)


class Clock:
    """Says what it is told."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def rendered(console: Console, status: Status, width: int = 100) -> str:
    """The line at the bottom of the terminal."""
    seen = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with seen.capture() as captured:
        seen.print(status.renderable)
    return captured.get().rstrip()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def test_without_a_terminal_there_are_lines() -> None:
    said: list[str] = []
    progress = Progress(Console(file=io.StringIO()), None, said.append)
    progress(event("phase", 0, length=1000))
    progress.beat(1, 1000)
    progress(event("step", 100, loss=4.25, lr=1e-4))
    progress(event("checkpoint", 100, path="x"))
    assert said == ["        0  shrink    1,000 steps", "      100  shrink    loss 4.25, lr 0.0001"]


def test_the_line_that_moves(console: Console) -> None:
    status, now = Status("", console=console), Clock()
    progress = Progress(console, status, pytest.fail, now)
    progress(event("phase", 0, length=1000, at=0))
    progress(event("validate", 0, psnr=31.5, sets={}))
    progress(event("step", 200, loss=4.25, lr=1e-4))
    now.seconds = 20.0
    progress.beat(200, 1000)
    line = rendered(console, status)
    for part in ("shrink", "200 / 1,000", "10.0 steps/s", "1:20 left", "loss 4.25", "31.50 dB", "━"):
        assert part in line
    assert "━" not in rendered(console, status, width=70)  # no room for a bar
    now.seconds = 20.1
    progress.beat(201, 1000)
    assert "201" not in rendered(console, status)  # redrawn five times a second at most
    now.seconds = 20.3
    progress.beat(202, 1000)
    assert "202" in rendered(console, status)


def test_lines_that_stay(console: Console) -> None:
    progress = Progress(console, Status("", console=console), pytest.fail)
    progress(event("phase", 0, length=10))
    progress(event("step", 5, loss=1.0, lr=1e-4))
    progress(event("validate", 10, psnr=30.25, sets={}))
    progress(event("note", 10, text="[red]a.png[/red] is damaged"))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "PSNR-Y 30.25 dB" in said
    assert "[red]a.png[/red] is damaged" in said  # text, not markup
    assert "loss" not in said


def test_a_resumed_phase_is_as_fast_as_it_is(console: Console) -> None:
    now = Clock()
    progress = Progress(console, Status("", console=console), pytest.fail, now)
    progress(event("phase", 900, length=1000, at=900))
    now.seconds = 10.0
    progress.beat(910, 1000)
    assert progress.figures(now()) == "1.0 steps/s   1:30 left"


def test_without_a_length_nothing_is_left(console: Console) -> None:
    now = Clock()
    progress = Progress(console, Status("", console=console), pytest.fail, now)
    progress(event("phase", 0, length=None))
    now.seconds = 4.0
    progress.beat(1, None)
    assert progress.figures(now()) == "4.0 s a step"


@pytest.mark.parametrize(
    ("seconds", "want"), [(7, "0:07"), (750, "12:30"), (11100, "3:05:00"), (12 * 86400 + 4 * 3600, "12 d 4 h")]
)
def test_clock(seconds: float, want: str) -> None:
    assert clock(seconds) == want
