"""The zoo → tables: its networks with their sizes, and the arguments of one."""

from __future__ import annotations

import difflib
import importlib

import torch
from rich.table import Table
from rich.text import Text

from fxprune.errors import ModelError
from fxprune.zoo import NETWORKS, build

__all__ = ["arguments", "catalogue"]


def catalogue() -> Table:
    """Every network with its parameters as built by default, and its paper."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("network")
    table.add_column("params", justify="right")
    table.add_column("paper")
    for name, network in sorted(NETWORKS.items()):
        module = importlib.import_module(f"fxprune.zoo.{network.module}")
        paper = (module.__doc__ or "").splitlines()[0].rstrip(".")
        table.add_row(f"zoo:{name}", f"{parameters(name):,}", Text(paper))
    return table


def arguments(name: str) -> Table:
    """The arguments of one network, with their defaults.

    Raises:
        ModelError: there is no such network.
    """
    name = name.removeprefix("zoo:")
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS)
        hint = f"did you mean {' or '.join(near)}?" if near else "fxprune zoo lists them"
        raise ModelError(f"there is no network {name!r} in the zoo", hint=hint)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(f"zoo:{name}")
    table.add_column("default")
    for argument, parameter in NETWORKS[name].parameters().items():
        default = parameter.default
        shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)
        table.add_row(argument, Text(shown))
    table.add_row("(parameters)", f"{parameters(name):,}")
    return table


def parameters(name: str) -> int:
    """How many parameters a network has, without making them."""
    with torch.device("meta"):
        network = build(name)
    return sum(parameter.numel() for parameter in network.parameters())
