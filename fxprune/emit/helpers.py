"""Functions of fxprune's own in, their source out, to stand in a file that does not import fxprune."""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import operator
import textwrap
from collections.abc import Iterable
from types import FunctionType

import torch
import torch.nn.functional as F
from torch import nn

from fxprune.errors import RewriteError

__all__ = ["helper_sources"]

GIVEN = {"torch": torch, "F": F, "nn": nn, "math": math, "operator": operator}  # names every generated file may use


def helper_sources(helpers: Iterable[FunctionType]) -> dict[str, str]:
    """Name → source of each function and of those it calls, the called ones first.

    A helper names nothing but its arguments, the builtins, `torch`, `F`, `nn`, `math`, `operator`, and other
    functions and plain numbers of its own file; decorators are left out.

    Raises:
        RewriteError: a helper that names something else.
    """
    found: dict[str, str] = {}
    for helper in helpers:
        add(helper, found)
    return found


def add(helper: FunctionType, found: dict[str, str]) -> None:
    if helper.__name__ in found:
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(helper)))
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef) or helper.__closure__:
        raise RewriteError(f"{helper.__name__}: only a plain function can be written into a model file")
    text = inspect.getsource(helper)
    source = "\n".join(textwrap.dedent(text).splitlines()[function.lineno - 1 :])
    found[helper.__name__] = ""  # a function that calls itself is written once
    for name in sorted(outside_names(function)):
        known = helper.__globals__.get(name)
        if isinstance(known, FunctionType) and known.__module__ == helper.__module__:
            add(known, found)
        elif isinstance(known, bool | int | float | str):
            found[name] = f"{name} = {known!r}"
        elif GIVEN.get(name) is not known or known is None:
            raise RewriteError(f"{helper.__name__}: names {name}, which a model file does not have")
    del found[helper.__name__]
    found[helper.__name__] = source


def outside_names(function: ast.FunctionDef) -> set[str]:
    """Names the body reads that are neither its own nor Python's."""
    own = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    read: set[str] = set()
    for statement in (*function.body, *function.args.defaults, *function.args.kw_defaults):
        for node in ast.walk(statement) if statement is not None else ():
            if isinstance(node, ast.Name):
                (read if isinstance(node.ctx, ast.Load) else own).add(node.id)
    return {name for name in read - own if not hasattr(builtins, name)}
