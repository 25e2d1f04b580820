"""Events of a training run → a terminal: a bar with phase, step, speed, time left, loss and PSNR; elsewhere, lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table
from rich.text import Text

from fxprune.train.events import Event
from fxprune.view.training import line

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderResult

__all__ = ["Progress", "clock"]

BAR = 24  # characters
FRESH = 0.2  # seconds between two looks of the bar


class Progress:
    """Shows how training goes. Give it to a trainer as `watch` and as `beat`.

    Args:
        console: on stderr.
        status: the line at the bottom of a terminal that is being redrawn; None: there is no terminal, and every event
            that is worth it has a line of its own.
        say: prints a line where there is no terminal.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        console: Console,
        status: Status | None,
        say: Callable[[str], None],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.console, self.status, self.say, self.now = console, status, say, now
        self.begun = (now(), 0)  # of the phase: when, and at which of its steps
        self.drawn = float("-inf")  # when the bar was last redrawn
        self.word = ""
        self.at: tuple[int, int | None] = (0, None)  # steps of the phase, and its length
        self.loss: float | None = None
        self.psnr: float | None = None

    def __call__(self, event: Event) -> None:
        """Something happened."""
        told = line(event)
        if self.status is None:
            if told is not None:
                self.say(told)
            return
        if event.kind == "step":
            self.loss = event.data["loss"]
        elif told is not None:
            self.console.print(Text(told, "dim" if event.kind in ("start", "phase", "note") else ""))
        if event.kind == "validate":
            self.psnr = event.data["psnr"]
        elif event.kind == "phase":
            self.word, self.at = event.phase, (event.data.get("at", 0), event.data.get("length"))
            self.begun, self.drawn = (self.now(), self.at[0]), float("-inf")
        elif event.kind == "finish":
            self.status.update("")

    def beat(self, step: int, length: int | None) -> None:
        """A step of the phase was made."""
        if self.status is None:
            return
        self.at = (step, length)
        now = self.now()
        if now - self.drawn >= FRESH:
            self.drawn = now
            self.status.update(_Bar(self.word, step, length, self.figures(now)))

    def figures(self, now: float) -> str:
        """`12.1 steps/s   2:15 left   loss 4.21   34.20 dB`."""
        (since, first), (step, length) = self.begun, self.at
        speed = (step - first) / max(1e-9, now - since)
        parts = [f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / max(speed, 1e-9):.1f} s a step"]
        if length is not None and speed > 0:
            parts.append(f"{clock((length - step) / speed)} left")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        if self.psnr is not None:
            parts.append(f"{self.psnr:.2f} dB")
        return "   ".join(parts)


class _Bar:
    """One line: the phase, how far it is, and figures; on a narrow terminal without the bar."""

    def __init__(self, word: str, step: int, length: int | None, figures: str) -> None:
        self.word, self.step, self.length, self.figures = word, step, length, figures

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        of = f"{self.step:,} / {self.length:,}" if self.length is not None else f"{self.step:,}"
        cells: list[RenderableType] = [Text(self.word, "bold"), Text(of), Text(self.figures, "dim", no_wrap=True)]
        room = options.max_width - len(self.word) - len(of) - len(self.figures) - 8
        if self.length and room >= BAR:
            cells.insert(1, ProgressBar(total=self.length, completed=self.step, width=BAR))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_row(*cells)
        yield table


def clock(seconds: float) -> str:
    """0:07, 12:30, 3:05:00, 12 d 4 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
