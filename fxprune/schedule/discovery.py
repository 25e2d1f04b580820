"""A live model + its spec → its groups, as they are now."""

from __future__ import annotations

from typing import Any

from torch import nn

from fxprune.groups import Groups, discover
from fxprune.lang import Spec
from fxprune.lang.ast import Attention
from fxprune.models import check_example
from fxprune.rewrite import can_mend
from fxprune.trace import trace

__all__ = ["find_groups"]


def find_groups(model: nn.Module, example: tuple[Any, ...], spec: Spec) -> Groups:
    """Trace a model and find its groups; the spec may say which channels of attention give way.

    Raises:
        TraceError, InputError: the model cannot be traced, or does not run on the example.
    """
    said = spec.of(Attention)
    try:
        return discover(trace(model, example), can_mend, said[0].mode if said else "most")
    except (RuntimeError, TypeError, ValueError, IndexError):
        check_example(model, example)
        raise
