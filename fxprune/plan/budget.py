"""Ranked groups + an amount → how many units of each group stay.

Removal is a walk: a list of steps, each taking a few units from one group, in a fixed order. A share or a number is a
walk of known length; a budget is the shortest walk that meets it, found by bisection (costs only fall along it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from fxprune.errors import PlanError
from fxprune.groups import Group
from fxprune.groups.labels import Ids
from fxprune.lang import Budget, KeepCount, Share
from fxprune.plan.cost import Cost

__all__ = ["Ranked", "fewest", "keep", "spend"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A group's units in the order in which they go."""

    group: Group
    order: Ids  # unit numbers, the least important first
    scores: NDArray[np.float64]  # in that order
    multiple: int = 1  # what stays is rounded up to a multiple of this
    least: int = 1  # so many stay, the last in order

    @property
    def width(self) -> int:
        """Units at hand."""
        return len(self.order)

    def up(self, kept: int) -> int:
        """The next number of units that may stay: a multiple, at least the least, at most all."""
        return min(self.width, -(-max(self.least, kept) // self.multiple) * self.multiple)


def keep(ranked: Ranked, amount: Share | KeepCount) -> int:
    """How many units of one group stay.

    A share of units removed is rounded up unless it says otherwise, and one unit always stays: min(⌈r·n⌉, n − 1). Of
    a group that is used in parts, one of each part does.
    """
    if isinstance(amount, KeepCount):
        return ranked.up(amount.count)
    return ranked.up(ranked.width - _removed(amount, ranked.width))


def _removed(amount: Share, width: int) -> int:
    exact = amount.removed * width
    match amount.rounding:
        case "up":
            removed = ceil(exact)
        case "down":
            removed = floor(exact)
        case _:
            removed = floor(exact + Fraction(1, 2))
    return min(removed, width - 1)


Step = tuple[float, int, int]  # (key, place in the list of ranked groups, units kept after it)


def _walk(ranked: Sequence[Ranked], by_score: bool) -> list[Step]:
    """Every removal there is, in order: by the share of the group that is gone, or by the score of what goes."""
    steps: list[Step] = []
    for k, r in enumerate(ranked):
        kept = r.width
        while kept > r.least:
            after = (kept - 1) // r.multiple * r.multiple
            if after < r.least or after == 0:
                break  # less than one multiple would stay
            gone = r.width - after
            key = float(r.scores[:gone].max()) if by_score else gone / r.width
            steps.append((key, k, after))
            kept = after
    steps.sort(key=lambda step: (step[0], step[1], -step[2]))
    return steps


def _kept_after(ranked: Sequence[Ranked], steps: Sequence[Step]) -> list[int]:
    kept = [r.width for r in ranked]
    for _, k, after in steps:
        kept[k] = min(kept[k], after)
    return kept


def spend(ranked: Sequence[Ranked], amount: Share) -> list[int]:
    """How many units of each group stay when a share of all of them goes, the least important first."""
    wanted = _removed(amount, sum(r.width for r in ranked))
    kept = [r.width for r in ranked]
    for _, k, after in _walk(ranked, by_score=True):
        if kept[k] - after <= wanted:
            wanted -= kept[k] - after
            kept[k] = after
    return kept


def fewest(ranked: Sequence[Ranked], budget: Budget, cost: Cost, already: Ids, by_score: bool) -> list[int]:
    """How many units of each group stay when as few as possible go to meet a budget.

    Args:
        cost: the cost functions, at the budget's size.
        already: units removed before.
        by_score: rank all groups in one list; otherwise every group loses the same share.

    Raises:
        PlanError: the budget is out of reach; gives the least that can be had.
    """
    steps = _walk(ranked, by_score)

    def at(length: int) -> int:
        kept = _kept_after(ranked, steps[:length])
        gone = [r.order[: r.width - k] for r, k in zip(ranked, kept, strict=True)]
        return cost.measure(budget.metric, np.concatenate([already, *gone]))

    dense = cost.measure(budget.metric, already[:0])
    limit = floor(budget.limit * dense) if isinstance(budget.limit, Fraction) else budget.limit
    if at(len(steps)) > limit:
        raise PlanError(
            f"{budget.metric} <= {limit:,} is out of reach: with one unit left everywhere there are {at(len(steps)):,}",
            span=budget.span,
            hint=f"ask for at least {at(len(steps)):,}, or protect less",
        )
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        if at(middle) <= limit:
            high = middle
        else:
            low = middle + 1
    return _kept_after(ranked, steps[:low])
