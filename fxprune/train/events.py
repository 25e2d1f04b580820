"""What happens in a run → callbacks, and a file of JSON lines that a resumed run goes on with."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fxprune.errors import FxpruneError, OutputError

__all__ = [
    "METRICS",
    "Beat",
    "Event",
    "Kind",
    "Metrics",
    "StoppedError",
    "TrainError",
    "Watch",
    "metrics_text",
    "read_metrics",
]

METRICS = "metrics.jsonl"
Kind = Literal["start", "phase", "step", "validate", "cut", "save", "checkpoint", "note", "finish"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    kind: Kind
    step: int  # training steps done since the beginning
    phase: str  # the word of the phase it happened in
    data: Mapping[str, Any] = field(default_factory=dict)  # plain values


Watch = Callable[[Event], None]
Beat = Callable[[int, int | None], None]  # told after every step: how many the phase has made, of how many


class TrainError(FxpruneError):
    """Training that cannot go on: a loss that is not a number."""


class StoppedError(FxpruneError):
    """Training that was asked to stop, and saved what it had."""

    stopped = True


class Metrics:
    """All events of a run, in memory and in a file.

    Args:
        path: of the file; None: nothing is written.
        size: bytes to keep of what is there, what came before a checkpoint. Where the file has come to harm since, the
            lines before that are kept.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | None, size: int = 0) -> None:
        self.path, self.size = path, size
        self.events: list[Event] = []
        if path is not None:
            try:
                path.touch()
                self.events, self.size = _whole(path.read_bytes()[:size])
                os.truncate(path, self.size)
            except OSError as error:
                raise OutputError(f"{path}: {error.strerror or error}") from None

    def __call__(self, event: Event) -> None:
        """Append an event.

        Raises:
            OutputError: it cannot be written. It is remembered all the same, and nothing more is written.
        """
        self.events.append(event)
        if self.path is None:
            return
        try:
            with self.path.open("ab") as file:
                file.write(_line(event).encode())
                self.size = file.seek(0, os.SEEK_END)
        except OSError as error:
            path, self.path = self.path, None
            raise OutputError(f"{path}: {error.strerror or error}") from None


def metrics_text(events: Iterable[Event]) -> str:
    """The content of a file of metrics."""
    return "".join(_line(event) for event in events)


def _line(event: Event) -> str:
    plain = {"kind": event.kind, "step": event.step, "phase": event.phase, **event.data}
    return json.dumps({name: _finite(value) for name, value in plain.items()}) + "\n"


def read_metrics(path: Path) -> list[Event]:
    """The events in a file of metrics, up to a line that is not whole; what is not finite comes back as None."""
    return _whole(path.read_bytes())[0]


def _whole(content: bytes) -> tuple[list[Event], int]:
    """The events of the lines that are whole, up to the first one that is not; and how many bytes that is."""
    found: list[Event] = []
    size = 0
    for line in content.splitlines(keepends=True):
        try:
            plain = json.loads(line)
            found.append(Event(plain.pop("kind"), plain.pop("step"), plain.pop("phase"), plain))
        except (ValueError, KeyError, AttributeError):
            break
        if not line.endswith(b"\n"):
            found.pop()
            break
        size += len(line)
    return found, size


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
