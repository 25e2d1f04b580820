"""`Spec` + `Groups` → `Plan`: which units go, decided and explained before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fxprune.errors import Diagnostic, PlanError
from fxprune.groups import Group, Groups
from fxprune.groups.labels import Ids
from fxprune.lang import (
    Amount,
    Budget,
    Choice,
    Criterion,
    Cut,
    KeepCount,
    Mark,
    Multiple,
    Phase,
    Protect,
    Repeat,
    Selection,
    Share,
    Spec,
)
from fxprune.plan.budget import Ranked, fewest, keep, spend
from fxprune.plan.core import needed, with_cores
from fxprune.plan.cost import FULL_HD_READY, Cost, cost_of
from fxprune.plan.even import evened, shares
from fxprune.plan.peer import Calibration
from fxprune.plan.scores import score
from fxprune.plan.select import NARROW, check_spec, named, protected_by, selected

__all__ = ["Decision", "Plan", "make_plan"]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What becomes of one group."""

    group: Group
    removed: Ids  # unit numbers, ascending by place in the group
    why: str | None = None  # why nothing was taken from it, or by what it was ranked

    @property
    def kept(self) -> int:
        """Units that stay."""
        return self.group.width - len(self.removed)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which units of which group go. Making one changes nothing."""

    groups: Groups
    decisions: tuple[Decision, ...]  # one per group, in graph order
    cost: Cost = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def removed(self) -> Ids:
        """Every unit that goes."""
        return np.concatenate([np.empty(0, np.int64), *(d.removed for d in self.decisions)])


def make_plan(spec: Spec, groups: Groups, calibration: Calibration | None = None, *, untrained: bool = False) -> Plan:
    """Decide which units go.

    `untrained` passes over phases that train: what the spec would cut from the weights as they are now.

    Statements run in order; a percentage is of what is left then. A mark replaces earlier marks on the groups it
    chooses; a bare `cut` removes what is marked.

    Raises:
        PlanError: nothing can be cut, a path names no layer, a budget is out of reach, a criterion needs data.
    """
    return _Planner(spec, groups, calibration, untrained).run()


class _Planner:
    def __init__(self, spec: Spec, groups: Groups, calibration: Calibration | None, untrained: bool) -> None:
        self.untrained = untrained
        self.spec = spec
        self.groups = groups
        self.calibration = calibration
        self.costs: dict[tuple[int, int] | None, Cost] = {}
        self.multiple = next((m.of for m in spec.of(Multiple)), 1)
        self.marked: dict[int, Ids] = {}
        self.gone: dict[int, Ids] = {}
        self.why: dict[int, str] = {g.index: g.reason for g in groups.protected if g.reason}
        self.notes: list[str] = []
        self.sets: list[Ids] | None = None
        self.shared: dict[int, Ids] | None = None

    def run(self) -> Plan:
        """Every statement in turn."""
        self.refuse()
        check_spec(self.groups, self.spec)
        barred = self.protect()
        acted = False
        for statement in self.spec:
            if isinstance(statement, Mark):
                self.marked.update(self.choose(statement, barred))
            elif isinstance(statement, Cut):
                chosen = self.marked if statement.bakes else self.choose(statement, barred)
                if statement.bakes and not chosen:
                    raise PlanError(
                        "nothing is marked before this cut", span=statement.span, hint="write how much: cut filters 50%"
                    )
                for index, units in chosen.items():
                    self.gone[index] = np.concatenate([self.gone.get(index, units[:0]), units])
                self.marked = {}
                acted = True
        if not acted:
            raise PlanError("the plan cuts nothing", hint="add a line such as: cut filters 50%")
        decisions = [self.decide(group) for group in self.groups]
        return Plan(self.groups, tuple(decisions), self.cost(FULL_HD_READY), tuple(self.notes))

    def refuse(self) -> None:
        """Name every statement that this version does not run, at once."""
        wrong = []
        for statement in self.spec:
            if self.untrained and isinstance(statement, Phase):
                continue
            if isinstance(statement, (Phase, Repeat)):
                wrong.append(
                    Diagnostic(
                        f"`{statement.word}` is not available in this version",
                        statement.span,
                        "what runs is: protect, mark, cut",
                    )
                )
            elif isinstance(statement, (Mark, Cut)) and statement.granularity not in (None, "filters"):
                wrong.append(
                    Diagnostic(
                        f"{statement.granularity} cannot be cut in this version", statement.span, "write filters"
                    )
                )
        if wrong:
            raise PlanError(wrong)

    def protect(self) -> set[int]:
        """Groups that no statement may touch."""
        barred = {g.index for g in self.groups.protected}
        for statement in self.spec.of(Protect):
            for index in protected_by(self.groups, statement.what):
                barred.add(index)
                self.why.setdefault(index, "the spec protects it")
        if not len(self.groups):
            raise PlanError("the network has no layer that makes channels: there is nothing to cut")
        if len(barred) == len(self.groups):
            raise PlanError(
                "nothing is left to cut: every group is protected",
                span=next((p.span for p in self.spec.of(Protect)), None),
                hint="see the reasons with: fxprune groups MODEL",
            )
        return barred

    def choose(self, statement: Mark | Cut, barred: set[int]) -> dict[int, Ids]:
        """The units that one statement picks, by group."""
        open_ = [g for g in self.groups if g.index not in barred]
        chosen = self.wide_enough(selected(self.groups, statement.selection, open_), statement.selection)
        pools: dict[int, list[tuple[Group, _Terms]]] = {}
        for group, terms, number in self.terms(statement, chosen):
            pools.setdefault(number, []).append((group, terms))
        ranked = [
            (number, r)
            for number, pool in pools.items()
            for terms, groups in _by_terms(pool)
            for r in self.rank(groups, terms)
        ]
        going = [units for index, units in self.marked.items() if index not in {r.group.index for _, r in ranked}]
        gone = np.concatenate([np.empty(0, np.int64), *self.gone.values(), *going])
        sets = [units[~np.isin(units, gone)] for units in self.needed()]
        cored = evened(with_cores([r for _, r in ranked], sets), self.shares())
        picked: dict[int, Ids] = {}
        for number, pool in pools.items():
            mine = [r for (own, _), r in zip(ranked, cored, strict=True) if own == number]
            picked.update(self.take(mine, pool[0][1]))
        return picked

    def needed(self) -> list[Ids]:
        """Sets of units of which one must stay, found once."""
        if self.sets is None:
            self.sets = needed(self.groups)
        return self.sets

    def shares(self) -> dict[int, Ids]:
        """Units that share a group of a grouped convolution, found once."""
        if self.shared is None:
            self.shared = shares(self.groups)
        return self.shared

    def wide_enough(self, chosen: list[Group], selection: Selection | None) -> list[Group]:
        """Leave very narrow groups alone, and say so."""
        wide = []
        for group in chosen:
            if group.width < NARROW and not named(self.groups, selection, group):
                self.why.setdefault(group.index, f"only {group.width} wide: left alone unless it is named")
            else:
                wide.append(group)
        return wide

    def terms(self, statement: Mark | Cut, chosen: list[Group]) -> Iterable[tuple[Group, _Terms, int]]:
        """Group → what applies to it, and the pool whose amount it shares: the first choice that matches it."""
        base = _Terms.of(statement, self.multiple)
        members = []
        for choice in statement.choices:
            inside = selected(self.groups, choice.selection, chosen)
            members.append(({g.index for g in inside}, base.but(choice)))
        for group in chosen:
            hit = next(((k, terms) for k, (inside, terms) in enumerate(members) if group.index in inside), None)
            if hit is not None:
                own = statement.choices[hit[0]].amount is not None
                yield group, hit[1], hit[0] + 1 if own else 0
            elif base.amount is not None and (not statement.choices or statement.amount is not None):
                yield group, base, 0

    def rank(self, groups: list[Group], terms: _Terms) -> list[Ranked]:
        """Units that are still there, the least important first; equal scores go in channel order."""
        scores = score(self.groups, groups, terms.criterion, terms.aggregate, self.calibration)
        ranked = []
        for group in groups:
            here = ~np.isin(group.units, self.gone.get(group.index, group.units[:0]))
            units, values = group.units[here], scores[group.index][here]
            order = np.argsort(values, kind="stable")
            ranked.append(Ranked(group, units[order], values[order], terms.multiple))
            self.why.setdefault(group.index, f"by {terms.criterion.name}")
        return ranked

    def take(self, ranked: list[Ranked], terms: _Terms) -> dict[int, Ids]:
        """The units to go, by group."""
        amount = terms.amount
        if isinstance(amount, Budget):
            before = np.concatenate([np.empty(0, np.int64), *self.gone.values()])
            cost = self.cost(amount.at or FULL_HD_READY)
            kept = fewest(ranked, amount, cost, before, terms.scope == "global")
        elif isinstance(amount, Share) and terms.scope == "global":
            kept = spend(ranked, amount)
        elif isinstance(amount, (Share, KeepCount)):
            kept = [keep(r, amount) for r in ranked]
        else:
            raise PlanError(
                "this amount does not say how many filters go",
                span=getattr(amount, "span", None),
                hint="write a share (50%), a number that stays (keep 32) or a budget (until params <= 700K)",
            )
        return {r.group.index: r.order[: r.width - k] for r, k in zip(ranked, kept, strict=True)}

    def cost(self, at: tuple[int, int] | None) -> Cost:
        """Cost functions at an output size, made once."""
        if at not in self.costs:
            self.costs[at] = cost_of(self.groups, at)
        return self.costs[at]

    def decide(self, group: Group) -> Decision:
        """What became of a group."""
        gone = self.gone.get(group.index, group.units[:0])
        why = self.why.get(group.index, "not selected")
        return Decision(group, group.units[np.isin(group.units, gone)], why)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a statement, or one choice of it, asks for."""

    amount: Amount | None
    criterion: Criterion
    aggregate: str
    scope: str
    multiple: int

    @classmethod
    def of(cls, statement: Mark | Cut, multiple: int) -> _Terms:
        """The statement's own terms, defaults filled in."""
        own = statement.multiple_of
        return cls(
            statement.amount,
            statement.criterion or Criterion("l1"),
            statement.aggregate or "mean",
            statement.scope,
            own if isinstance(own, int) else multiple,
        )

    def but(self, choice: Choice) -> _Terms:
        """These terms, with what a choice says otherwise."""
        said = {
            "amount": choice.amount,
            "criterion": choice.criterion,
            "aggregate": choice.aggregate,
            "scope": choice.scope,
            "multiple": choice.multiple_of,
        }
        return replace(self, **{name: value for name, value in said.items() if value is not None})  # type: ignore[arg-type]


def _by_terms(pool: Sequence[tuple[Group, _Terms]]) -> list[tuple[_Terms, list[Group]]]:
    found: list[tuple[_Terms, list[Group]]] = []
    for group, terms in pool:
        for known, groups in found:
            if known == terms:
                groups.append(group)
                break
        else:
            found.append((terms, [group]))
    return found
