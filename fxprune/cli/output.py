"""Values → JSON on stdout."""

from __future__ import annotations

import json

import click

__all__ = ["jsoned", "printed"]


def printed(value: object) -> None:
    """One JSON object on stdout."""
    click.echo(jsoned(value), nl=False)


def jsoned(value: object) -> str:
    """A value as JSON, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
