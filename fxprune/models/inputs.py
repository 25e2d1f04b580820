"""An example as a user gives it goes in; a network's inputs by position come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fxprune.errors import InputError
from fxprune.models.example import example_for
from fxprune.models.signature import missing, parameters

__all__ = ["inputs_of"]

Inputs = tuple[Any, ...]


def inputs_of(module: nn.Module, example: Any) -> Inputs:
    """The inputs of `forward`, in the order of its parameters.

    Args:
        module: the network.
        example: a tensor; a tuple or list of inputs; a dict of inputs by the names that `forward` has for them (one
            with other keys is itself the input); None for a random picture. Inputs may be nested tuples, lists and
            dicts of tensors.

    Raises:
        InputError: it is nothing of these, or a dict lacks an argument that `forward` needs.
    """
    if example is None:
        return example_for(module)
    if isinstance(example, Tensor):
        return (example,)
    if isinstance(example, (tuple, list)):
        return tuple(example)
    if isinstance(example, Mapping):
        return _by_name(module, example)
    raise InputError(
        f"an example is a tensor, a tuple of inputs or a dict of inputs by name, not {type(example).__name__}"
    )


def _by_name(module: nn.Module, given: Mapping[Any, Any]) -> Inputs:
    """Arguments in order, up to the last one given; those between keep their defaults."""
    known = parameters(module.forward) or ()
    if not given or set(given) - {p.name for p in known}:
        return (given,)
    lacking = missing(module.forward, given)
    if lacking:
        raise InputError(
            f"the example has no {lacking[0]}, which {type(module).__name__}.forward needs",
            hint=f"forward takes {', '.join(p.name for p in known)}",
        )
    last = max(k for k, p in enumerate(known) if p.name in given)
    return tuple(given.get(p.name, p.default) for p in known[: last + 1])
