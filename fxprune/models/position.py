"""A network whose `forward` takes inputs by name only goes in; it takes them by position, too."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from fxprune.models.signature import parameters

__all__ = ["ByPosition", "by_position"]


class ByPosition:
    """A module's `forward`, called with every argument by position, also those that it takes by name only."""

    def __init__(self, module: nn.Module, named: tuple[str, ...]) -> None:
        self.module = module
        self.named = named  # parameters by name only: the last ones

    def __call__(self, *given: Any) -> Any:
        """Call it."""
        forward = type(self.module).forward
        first = len(parameters(forward) or ()) - 1 - len(self.named)
        return forward(self.module, *given[:first], **dict(zip(self.named, given[first:], strict=False)))


def by_position(module: nn.Module) -> None:
    """Let a copy of a network take by position what its `forward` takes by name only. Works in place."""
    named = tuple(p.name for p in parameters(type(module).forward) or () if p.kind is inspect.Parameter.KEYWORD_ONLY)
    if named:
        vars(module)["forward"] = ByPosition(module, named)
