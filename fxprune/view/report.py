"""Plan + verification → the report of a compile: as a value, as JSON, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fxprune.plan import Plan
from fxprune.rewrite import Verified
from fxprune.view.folding import placed

__all__ = ["GroupRow", "Report", "make_report"]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group, before and after."""

    name: str  # path of its first producer
    kind: str  # free, constrained, protected
    before: int  # units
    after: int  # units
    producers: tuple[str, ...]  # layers whose filters they are
    why: str | None  # how it was ranked, or why it was left alone
    where: str = ""  # path of the module where the reason arose, if it has one


@dataclass(frozen=True, slots=True)
class Report:
    """What a compile did."""

    model: str
    params: tuple[int, int]  # before, after
    macs: tuple[int, int]  # before, after; multiply-accumulates of one image
    macs_at: tuple[int, int] | None  # width and height of the output image they are for; None: the example's
    groups: tuple[GroupRow, ...]
    verified: Verified | None  # None: without arithmetic (meta device), nothing could be compared
    native_difference: float | None = None  # what `norm native` costs, relative to the output's scale
    rung: str = "symbolic"  # how the network was traced
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # wall time of each stage

    @property
    def protected(self) -> tuple[GroupRow, ...]:
        """What could not be cut, each with its reason."""
        return tuple(row for row in self.groups if row.kind == "protected")

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        plain = asdict(self)
        plain["difference"] = self.verified.difference if self.verified else None
        plain["seconds"] = {name: round(value, 3) for name, value in self.seconds.items()}
        return plain

    def text(self) -> str:
        """The report as a page of text."""
        at = f" at {self.macs_at[0]}x{self.macs_at[1]}" if self.macs_at else ""
        lines = [
            f"model    {self.model}",
            f"params   {self.params[0]:,} -> {self.params[1]:,}  ({_share(*self.params)})",
            f"MACs     {self.macs[0]:,} -> {self.macs[1]:,}  ({_share(*self.macs)}){at}",
        ]
        if self.verified is None:
            lines.append("verified no: the network has no values (meta device)")
        else:
            sizes = ", ".join("x".join(map(str, shape)) for check in self.verified.checks for shape in check.shapes[:1])
            lines.append(
                f"verified masked = compact to {self.verified.difference:.1e} of the output's scale, at {sizes}"
            )
        if self.native_difference is not None:
            lines.append(f"native   norms take statistics over what is left: differs by {self.native_difference:.1e}")
        lines += [f"note     {note}" for note in self.notes]
        lines.append("")
        width = max((len(row.name) for row in self.groups), default=4)
        lines.append(f"{'group':<{width}}  {'kind':<11}  {'before':>6}  {'after':>6}")
        for row in self.groups:
            why = f"  {placed(row.why, [row.where])}" if row.why and row.before == row.after else ""
            lines.append(f"{row.name:<{width}}  {row.kind:<11}  {row.before:>6}  {row.after:>6}{why}")
        return "\n".join(lines) + "\n"


def make_report(
    model: str,
    plan: Plan,
    verified: Verified | None,
    *,
    native_difference: float | None = None,
    seconds: Mapping[str, float] | None = None,
    notes: Iterable[str] = (),
) -> Report:
    """Gather what there is to say about a compile."""
    groups = plan.groups
    everything, left = groups.alive(plan.removed[:0]), groups.alive(plan.removed)
    rows = tuple(
        GroupRow(
            d.group.name,
            d.group.kind,
            d.group.width,
            d.kept,
            tuple(dict.fromkeys(m.path for m in d.group.members if m.role == "out")),
            d.why,
            d.group.place.path if d.group.place and d.why == d.group.reason else "",
        )
        for d in plan.decisions
    )
    told = [*groups.traced.notes, *plan.notes, *notes]
    if verified is not None and len(verified.checks) < 2:
        refused = ", ".join("x".join(map(str, size)) for size in verified.refused)
        told.append(f"verified at one size only: as traced, the network does not run at {refused}")
    return Report(
        model=model,
        params=(sum(p.numel() for p in groups.traced.module.parameters()), plan.cost.params(left)),
        macs=(plan.cost.macs(everything), plan.cost.macs(left)),
        macs_at=plan.cost.at,
        groups=rows,
        verified=verified,
        native_difference=native_difference,
        rung=groups.traced.rung,
        notes=tuple(told),
        seconds=dict(seconds or {}),
    )


def _share(before: int, after: int) -> str:
    return f"{100 * (before - after) / before:.1f}% less" if before else "nothing to compare"
