"""The registry that every rule signs into, by the name of its op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fxprune.groups.labels import Labels
from fxprune.groups.op import Op

__all__ = ["RULES", "Rule", "bare", "rule"]

Rule = Callable[[Op], list[Labels]]

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for ops by name: `"softmax"` for torch's, with all overloads, `"library.shift"` for another's.

    A rule gets an `Op` and returns the labels of each output tensor, in order; it ties, fixes and books through the
    `Op`. A later rule for the same name replaces an earlier one. What has no rule protects all that it touches.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


def bare(tensor: Any) -> Labels:
    """No ids: nothing about this tensor can be removed."""
    return Labels((None,) * tensor.dim() if isinstance(tensor, torch.Tensor) else ())
