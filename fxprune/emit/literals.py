"""A Python value or a function in, the source text that gives it back out."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from fxprune.errors import RewriteError

__all__ = ["INFIX", "PREFIX", "function_name", "literal", "require_literal"]

# Binding strength as in Python's grammar; an operand that binds less tightly than its place asks for gets parentheses.
INFIX: Mapping[Callable[..., Any], tuple[str, int]] = {
    operator.lt: ("<", 1),
    operator.le: ("<=", 1),
    operator.eq: ("==", 1),
    operator.ne: ("!=", 1),
    operator.gt: (">", 1),
    operator.ge: (">=", 1),
    operator.or_: ("|", 2),
    operator.xor: ("^", 3),
    operator.and_: ("&", 4),
    operator.lshift: ("<<", 5),
    operator.rshift: (">>", 5),
    operator.add: ("+", 6),
    operator.sub: ("-", 6),
    operator.mul: ("*", 7),
    operator.truediv: ("/", 7),
    operator.floordiv: ("//", 7),
    operator.mod: ("%", 7),
    operator.matmul: ("@", 7),
    operator.pow: ("**", 9),
}
PREFIX: Mapping[Callable[..., Any], str] = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}


@cache
def public_names() -> Mapping[int, str]:
    """Identity of each public function of torch, math, operator and the builtins → how the generated file writes it."""
    import builtins

    spaces = [
        ("", builtins),
        ("F.", F),
        ("torch.", torch),
        ("torch.fft.", torch.fft),
        ("torch.linalg.", torch.linalg),
        ("torch.special.", torch.special),
        ("math.", math),
        ("operator.", operator),
        ("torch.Tensor.", torch.Tensor),
    ]
    names: dict[int, str] = {id(torch._assert): "torch._assert"}
    for prefix, space in spaces:
        for name in dir(space):
            found = getattr(space, name, None)
            if callable(found) and not name.startswith("_") and (prefix == "" or not inspect.isclass(found)):
                names.setdefault(id(found), prefix + name)
    return names


def function_name(function: Callable[..., Any]) -> str | None:
    """How the generated file calls `function` (`F.relu`, `torch.cat`, `math.sqrt`), or None if it is not torch's."""
    if isinstance(function, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return f"torch.ops.{function}"
    return public_names().get(id(function))


def literal(value: Any) -> str | None:
    """The source text of a constant that holds no others, or None if there is none."""
    if value is Ellipsis:
        return "..."
    if type(value) is str:
        plain = value.isprintable() and not set(value) & set("'\"\\")
        return f'"{value}"' if plain else repr(value)
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else f'float("{float.__repr__(value)}")'
    if isinstance(value, complex):
        real, imag = literal(value.real), literal(value.imag)
        return f"complex({real}, {imag})"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return str(value)
    if isinstance(value, torch.device):
        return f'torch.device("{value}")'
    if isinstance(value, range):
        return repr(value)
    return None


def require_literal(value: Any, where: str) -> str:
    """`literal`, of a value and of tuples, lists and dictionaries of them.

    Raises:
        RewriteError: the value cannot be written down; `where` says what it belongs to.
    """
    if isinstance(value, tuple):
        inside = ", ".join(require_literal(part, where) for part in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return "[" + ", ".join(require_literal(part, where) for part in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{require_literal(k, where)}: {require_literal(v, where)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    text = literal(value)
    if text is None:
        raise RewriteError(f"{where}: a value of type {type(value).__name__} cannot be written as source")
    return text
