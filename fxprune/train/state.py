"""What a run has done to its network, to be done again when it is resumed; and the small change of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fxprune.errors import InputError
from fxprune.lang import Spec, format_spec
from fxprune.rewrite import Check, Kept, Verified
from fxprune.schedule import Cutting, compose, plan_of
from fxprune.schedule.cutting import cut, in_units
from fxprune.schedule.discovery import find_groups

__all__ = ["FORMAT", "Record", "check_spec", "random_state", "restore_random", "scale_of"]

FORMAT = 3


@dataclass(slots=True)
class Record:
    """The cuts of a run."""

    native: bool = False  # they are made for `norm native`
    cuts: list[Any] = field(default_factory=list)  # filters removed by each: name → dimension → indices, plain values
    held: Kept = field(default_factory=dict)  # of each coordinate that is left, its index in the original; -1: of none
    why: dict[str, str] = field(default_factory=dict)  # reasons by group
    checks: list[Check] = field(default_factory=list)  # masked ≡ compact, at each cut
    apart: float | None = None  # the most that `norm native` cost

    def add(self, made: Cutting, removed: Kept, why: Mapping[str, str]) -> None:
        """A cut was made."""
        self.cuts.append({name: {str(dim): list(at) for dim, at in dims.items()} for name, dims in removed.items()})
        self.held = compose(self.held, made.slicer.kept(filled=True))
        self.why = {**why, **self.why}
        self.checks.extend(made.verified.checks if made.verified else ())
        if made.native_difference is not None:
            self.apart = max(self.apart or 0.0, made.native_difference)

    @property
    def kept(self) -> Kept:
        """What all cuts together keep of the original."""
        return {name: {d: tuple(k for k in at if k >= 0) for d, at in dims.items()} for name, dims in self.held.items()}

    @property
    def verified(self) -> Verified | None:
        """All comparisons; None where there was none."""
        return Verified(tuple(self.checks)) if self.checks else None

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        checks = [{"shapes": [list(s) for s in c.shapes], "difference": c.difference} for c in self.checks]
        return {"cuts": self.cuts, "why": self.why, "checks": checks, "apart": self.apart}

    def replay(self, state: Mapping[str, Any], model: nn.Module, example: tuple[Any, ...], spec: Spec) -> nn.Module:
        """Make the cuts of a saved record again: the same shapes, whatever the weights.

        Args:
            model: a copy of the network that the run began with.
        """
        for removed in state["cuts"]:
            names = {name: {int(dim): tuple(at) for dim, at in dims.items()} for name, dims in removed.items()}
            groups = find_groups(model, example, spec)
            made = cut(plan_of(groups, in_units(groups, names)), native=self.native, check=False)
            self.add(made, names, state["why"])
            model = made.module
        self.checks = [Check(tuple(tuple(s) for s in c["shapes"]), c["difference"]) for c in state["checks"]]
        self.apart = state["apart"]
        return model


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


def scale_of(model: nn.Module, example: tuple[Any, ...]) -> int:
    """How many times larger the output is than the input.

    Raises:
        InputError: the network does not make a colour picture of a colour picture.
    """
    modes = [(part, part.training) for part in model.modules()]
    with torch.no_grad():
        out = model.eval()(*(x.clone() if isinstance(x, Tensor) else x for x in example))
    for part, mode in modes:
        part.training = mode
    x, pictures = example[0], len(example) == 1 and isinstance(out, Tensor) and out.dim() == 4
    if (
        not pictures
        or (out.shape[1], x.shape[1]) != (3, 3)
        or out.shape[2] % x.shape[2]
        or out.shape[2] * x.shape[3] != out.shape[3] * x.shape[2]
    ):
        raise InputError(
            "the trainer is for networks that make one colour picture of one, of a multiple size",
            hint="train it in a loop of your own, with fxprune.Pruner",
        )
    return int(out.shape[2] // x.shape[2])
