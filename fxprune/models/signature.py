"""A factory and the arguments a user gave go in; what it lacks, what it does not take, or what it makes comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["accepted", "missing", "settings", "unknown"]

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(factory: Callable[..., Any]) -> tuple[inspect.Parameter, ...] | None:
    """The parameters of a callable; None where it does not say (some built-in ones)."""
    try:
        return tuple(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return None


def accepted(factory: Callable[..., Any]) -> tuple[str, ...]:
    """Names that can be given to a factory, in its order."""
    return tuple(p.name for p in parameters(factory) or () if p.kind in NAMED)


def missing(factory: Callable[..., Any], args: Mapping[str, object]) -> tuple[str, ...]:
    """Arguments without a default that were not given; a positional-only one cannot be given by name."""
    required = [p for p in parameters(factory) or () if p.default is p.empty]
    return tuple(
        p.name
        for p in required
        if (p.kind in NAMED and p.name not in args) or p.kind is inspect.Parameter.POSITIONAL_ONLY
    )


def unknown(factory: Callable[..., Any], args: Mapping[str, object]) -> tuple[str, ...]:
    """Given arguments that a factory does not take, sorted; none where it takes any."""
    known = parameters(factory)
    if known is None or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known):
        return ()
    return tuple(sorted(set(args) - set(accepted(factory))))


def settings(factory: Callable[..., Any], args: Mapping[str, object]) -> dict[str, object]:
    """Every argument a factory was called with: the given ones, and the defaults of the others."""
    defaults = {p.name: p.default for p in parameters(factory) or () if p.default is not p.empty}
    return {**defaults, **args}
