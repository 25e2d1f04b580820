"""A run of steps + what is marked → the penalties and aligners that work in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from fxprune.errors import PlanError
from fxprune.groups import Group, Groups
from fxprune.groups.labels import Ids
from fxprune.lang import Criterion, Cut
from fxprune.plan import make_plan
from fxprune.plan.select import selected
from fxprune.schedule.aligner import Aligner
from fxprune.schedule.cutting import key_of
from fxprune.schedule.penalty import Cohort, Penalty
from fxprune.schedule.program import Program, Run

__all__ = ["Standing", "growing_groups", "make_aligners", "make_cohorts"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the penalty of each group stands before a run, by the key of the group."""

    alphas: Mapping[str, Fraction]
    on_scale: Mapping[str, bool]


def growing_groups(groups: Groups, run: Run, marked: Sequence[Group]) -> frozenset[str]:
    """The keys of the groups whose penalty grows in a run.

    Raises:
        PlanError: nothing is marked that could shrink.
    """
    if run.shrink is None:
        return frozenset()
    chosen = selected(groups, run.shrink.selection, list(marked)) if marked else []
    if not chosen:
        raise PlanError("nothing is marked that could shrink", span=run.span, hint="mark filters 50%, before it")
    return frozenset(key_of(groups, group) for group in chosen)


def make_cohorts(
    model: nn.Module,
    groups: Groups,
    run: Run,
    marked: Sequence[Group],
    units: Ids,
    growing: frozenset[str],
    standing: Standing,
) -> tuple[Cohort, ...]:
    """The penalties of a run: one for the groups of each strength, as they stand and grow together.

    Args:
        marked: groups with marks.
        units: that are marked.
        growing: keys of the groups whose penalty grows.
    """
    if not run.penalised:
        return ()
    kinds: dict[tuple[Fraction, bool, bool], list[Group]] = {}
    for group in marked:
        key = key_of(groups, group)
        kind = (standing.alphas.get(key, Fraction(0)), key in growing, standing.on_scale.get(key, False))
        kinds.setdefault(kind, []).append(group)
    found = []
    for (start, grows, on_scale), together in kinds.items():
        ramp = run.shrink.ramp if grows and run.shrink is not None else None
        if ramp is not None or start != 0:
            penalty = Penalty.on(model, groups, together, units, on_scale)
            found.append(Cohort(tuple(key_of(groups, g) for g in together), penalty, start, ramp))
    return tuple(found)


def make_aligners(model: nn.Module, groups: Groups, run: Run, program: Program) -> tuple[Aligner, ...]:
    """The aligners of a run: one for each constrained group that is to be aligned.

    Raises:
        PlanError: there is no such group, or its layers have no scales.
    """
    align = run.align
    if align is None:
        return ()
    chosen = Cut(selection=align.selection, amount=align.amount, criterion=Criterion("scale"), span=align.span)
    plan = make_plan(program.alone(chosen), groups)
    which = [d for d in plan.decisions if d.group.kind == "constrained" and len(d.removed)]
    if not which:
        raise PlanError("no constrained group is there to be aligned", span=run.span)
    return tuple(Aligner.of(model, groups, d.group, len(d.removed), align.weight) for d in which)
