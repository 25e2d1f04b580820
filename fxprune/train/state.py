"""Where a training run stands, between two steps → plain values and tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fxprune.errors import InputError
from fxprune.groups import discover
from fxprune.groups.labels import Ids
from fxprune.lang import Spec, format_spec
from fxprune.rewrite import Kept, can_mend
from fxprune.schedule import compose, plan_of
from fxprune.schedule.cutting import cut, in_units
from fxprune.trace import trace

__all__ = ["FORMAT", "check_spec", "plain_names", "random_state", "replay", "restore_random", "to_names"]

FORMAT = 1


def plain_names(names: Kept) -> dict[str, dict[str, list[int]]]:
    """Names → dimensions → indices, with texts and lists alone."""
    return {name: {str(dim): list(at) for dim, at in dims.items()} for name, dims in names.items()}


def to_names(plain: Mapping[str, Mapping[str, list[int]]]) -> Kept:
    """The inverse of `plain_names`."""
    return {name: {int(dim): tuple(at) for dim, at in dims.items()} for name, dims in plain.items()}


def check_spec(state: Mapping[str, Any], spec: Spec) -> None:
    """Refuse to go on with another spec.

    Raises:
        InputError: the state was saved by another spec, or by a version that wrote states otherwise.
    """
    if state.get("format") != FORMAT:
        raise InputError("the checkpoint is that of another version", hint="start anew, without --resume")
    if state["spec"] != format_spec(spec):
        hint = "go on with the spec and the settings it was begun with, or start anew in another folder"
        raise InputError("the checkpoint is that of another spec, or of other settings", hint=hint)


def replay(model: nn.Module, example: tuple[Any, ...], cuts: list[Any], native: bool) -> tuple[nn.Module, Kept]:
    """Make a run's cuts again, on a copy of the network it began with: the same shapes, whatever the weights.

    Args:
        cuts: for each, the filters it removed, as `plain_names`.

    Returns:
        the compact network, and what is kept of the original.
    """
    kept: Kept = {}
    for removed in cuts:
        groups = discover(trace(model, example), can_mend)
        units: Ids = in_units(groups, to_names(removed))
        made = cut(plan_of(groups, units), native=native, check=False)
        model, kept = made.module, compose(kept, made.kept)
    return model, kept


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of torch's generators that a model may draw from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random(state: Mapping[str, Any], device: torch.device) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
