"""Ctrl-C and SIGTERM → a flag that a loop looks at between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Flag", "interruptible"]


class Flag:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.raised = False


@contextmanager
def interruptible() -> Iterator[Flag]:
    """Inside, the first request to stop raises the flag; a second one has its usual effect, at once."""
    flag = Flag()
    before: dict[int, Any] = {}

    def ask(number: int, _: object) -> None:
        flag.raised = True
        for other, usual in before.items():
            signal.signal(other, usual)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    try:
        yield flag
    finally:
        for caught, usual in before.items():
            signal.signal(caught, usual)
