"""Values → JSON on stdout; training events → lines on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fxprune.train.events import Event

__all__ = ["jsoned", "log", "printed"]


def printed(value: object) -> None:
    """One JSON object on stdout."""
    click.echo(jsoned(value), nl=False)


def jsoned(value: object) -> str:
    """A value as JSON, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def log(event: Event) -> None:
    """A line on stderr for what happens in training."""
    from fxprune.view.training import line

    told = line(event)
    if told is not None:
        click.echo(told, err=True)
