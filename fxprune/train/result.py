"""What a run did, and the network it ended with → its result, told in terms of the network it began with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from fxprune.groups import Groups
from fxprune.lang import Spec
from fxprune.plan import Plan
from fxprune.rewrite import Kept, Verified
from fxprune.schedule import gone, plan_of
from fxprune.schedule.cutting import cut
from fxprune.schedule.discovery import find_groups
from fxprune.train.events import Event
from fxprune.train.reporter import Reporter
from fxprune.train.state import Record

__all__ = ["Trained", "result"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a run ended with."""

    module: fx.GraphModule  # compact, trained; in the mode of the model it was made from, on the device it ran on
    kept: Kept  # original name → dimension → kept indices
    plan: Plan  # in terms of the original network
    verified: Verified | None  # masked ≡ compact at the cuts; None: nothing was cut
    native_difference: float | None  # what `norm native` costs
    psnr: float | None  # PSNR-Y in dB of the last validation, the mean over its sets
    steps: int
    notes: tuple[str, ...]  # pictures left out, leaks, checkpoints that could not be read
    history: tuple[Event, ...]  # all that was told, from the first step on


def result(
    model: nn.Module,
    original: nn.Module,
    groups: Groups,
    record: Record,
    reporter: Reporter,
    notes: tuple[str, ...],
    *,
    example: tuple[Any, ...],
    spec: Spec,
) -> Trained:
    """The result of a run that is over.

    Args:
        model: what it ended with; traced here if nothing was cut.
        original, groups: the network it began with; its modes are those of the result.
        record, reporter, notes: what happened.
    """
    if not record.cuts:
        found = find_groups(model, example, spec)
        model = cut(plan_of(found, found.unit_of[:0]), check=False).module
    assert isinstance(model, fx.GraphModule)
    modes = {path: part.training for path, part in original.named_modules()}
    for path, part in model.named_modules():
        part.training = modes.get(path, original.training)
    return Trained(
        model,
        record.kept,
        plan_of(groups, gone(groups, record.kept), record.why),
        record.verified,
        record.apart,
        reporter.psnr,
        reporter.done,
        notes,
        tuple(reporter.metrics.events),
    )
