"""`fxprune zoo`: the networks that come along, listed."""

from __future__ import annotations

import click

__all__ = ["zoo"]


@click.command(short_help="List the networks that come along.")
@click.argument("name", required=False)
def zoo(name: str | None) -> None:
    """List the networks of the zoo; with NAME, the arguments of one."""
    from fxprune.view.catalogue import arguments, catalogue
    from fxprune.view.terminal import show

    show(arguments(name) if name else catalogue())
