"""`Groups` + units to go → the compact network, verified; and the same for names that outlive a cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from fxprune.errors import PlanError
from fxprune.groups import Group, Groups
from fxprune.groups.labels import Ids
from fxprune.plan import FULL_HD_READY, Decision, Plan, cost_of
from fxprune.rewrite import Kept, Slicer, Verified, relative, rewrite, verify

NOT_SELECTED = "not selected"

__all__ = ["NOT_SELECTED", "Cutting", "compose", "cut", "gone", "in_names", "in_units", "key_of", "plan_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Cutting:
    """A cut that was made."""

    module: fx.GraphModule  # compact, in the mode of the network it was cut from
    slicer: Slicer  # what it did to each tensor of the network before
    plan: Plan
    verified: Verified | None  # None: not asked for, or without arithmetic (meta device)
    native_difference: float | None = None  # what `norm native` costs

    @property
    def kept(self) -> Kept:
        """Name → dimension → kept indices, of the network before this cut."""
        return self.slicer.kept()


def cut(plan: Plan, *, native: bool = False, check: bool = True, sizes: Sequence[tuple[int, int]] = ()) -> Cutting:
    """Rewrite a network without the plan's units, and prove the result.

    Args:
        native: for `norm native`, which is not exact.
        check: compare masked and compact.
        sizes: heights and widths of images that the network is known to take: compared there first.

    Raises:
        RewriteError, VerifyError: a node cannot be cut exactly.
    """
    slicer = Slicer.of(plan.groups, plan.removed)
    made = rewrite(slicer)
    meta = any(p.device.type == "meta" for p in plan.groups.traced.module.parameters())
    verified = verify(made, sizes=sizes) if check and not meta else None
    if not native:
        return Cutting(made.module, slicer, plan, verified)
    exact, made = made, rewrite(slicer, exact=False)
    apart = None if verified is None else _apart(exact.module, made.module, plan.groups.traced.example)
    return Cutting(made.module, slicer, plan, verified, apart)


def _apart(exact: fx.GraphModule, native: fx.GraphModule, example: tuple[Any, ...]) -> float:
    modes = [(part, part.training) for module in (exact, native) for part in module.modules()]
    try:
        with torch.no_grad():
            return relative(exact.eval()(*example), native.eval()(*example))
    finally:
        for part, training in modes:
            part.training = training


def plan_of(groups: Groups, removed: Ids, why: Mapping[str, str] | None = None) -> Plan:
    """A plan that removes these units; `why` tells reasons by the key of the group."""
    decisions = []
    for group in groups:
        told = group.reason or (why or {}).get(key_of(groups, group)) or NOT_SELECTED
        decisions.append(Decision(group, group.units[np.isin(group.units, removed)], told))
    return Plan(groups, tuple(decisions), cost_of(groups, FULL_HD_READY))


def key_of(groups: Groups, group: Group) -> str:
    """A name for a group that stays when units are numbered anew: its first filter."""
    tensor, dim = min((m.tensor, m.dim) for m in group.members if m.role == "out")
    first = int(np.flatnonzero(np.isin(groups.units_along(tensor, dim), group.units))[0])
    return f"{tensor}[{first}]"


def in_names(groups: Groups, units: Ids) -> Kept:
    """Units → the filters that make them: name → dimension → indices."""
    found: Kept = {}
    for group in groups:
        chosen = group.units[np.isin(group.units, units)]
        for member in group.members:
            if member.role == "out" and len(chosen):
                hit = np.flatnonzero(np.isin(groups.units_along(member.tensor, member.dim), chosen)).tolist()
                dims = found.setdefault(member.tensor, {})
                dims[member.dim] = tuple(sorted({*dims.get(member.dim, ()), *hit}))
    return found


def in_units(groups: Groups, names: Mapping[str, Mapping[int, tuple[int, ...]]]) -> Ids:
    """The inverse of `in_names`.

    Raises:
        PlanError: the network has no such filters.
    """
    found = [np.empty(0, np.int64)]
    for tensor, dims in names.items():
        for dim, places in dims.items():
            if (tensor, dim) not in groups.starts or max(places, default=-1) >= groups.starts[tensor, dim][1]:
                raise PlanError(f"the marks are those of another network: this one has no such filters of {tensor}")
            found.append(groups.units_along(tensor, dim)[list(places)])
    return np.unique(np.concatenate(found))


def compose(first: Kept, then: Kept) -> Kept:
    """What two cuts, one after the other, keep of the original; of both, an index for each coordinate."""
    both = {name: dict(dims) for name, dims in first.items()}
    for name, dims in then.items():
        mine = both.setdefault(name, {})
        for dim, kept in dims.items():
            before = mine.get(dim)
            mine[dim] = kept if before is None else tuple(before[place] for place in kept)
    return both


def gone(groups: Groups, kept: Kept) -> Ids:
    """The units of an original network of which `kept` keeps nothing."""
    lost = [np.empty(0, np.int64)]
    for group in groups:
        for member in group.members:
            if member.role == "out" and member.dim in kept.get(member.tensor, {}):
                along = groups.units_along(member.tensor, member.dim)
                alive = along[list(kept[member.tensor][member.dim])]
                lost.append(group.units[np.isin(group.units, along) & ~np.isin(group.units, alive)])
    return np.unique(np.concatenate(lost))
