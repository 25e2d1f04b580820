"""`Groups` → which units share a group of a grouped convolution; ranked groups → in an order that empties these evenly.

A grouped convolution runs as fast as its fullest group: what one group loses more than the others saves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import lcm

import numpy as np
from numpy.typing import NDArray

from fxprune.groups import Groups
from fxprune.groups.labels import Ids
from fxprune.plan.budget import Ranked

__all__ = ["evened", "shares"]


def shares(groups: Groups) -> dict[int, Ids]:
    """Group index → (convolution's groups, units each): which of its units share a group of a convolution.

    The finest division, where there are several; none for a group whose units are spread over them unevenly.
    """
    found: dict[int, Ids] = {}
    for labels in groups.labelled.names.values():
        for axis in (labels.axes[0], labels.narrow) if labels.narrow is not None else ():
            assert axis is not None
            grid = groups.unit_of[axis.ids].reshape(labels.blocks, -1)
            for group in groups:
                own = _within(grid, group.units)
                if own is not None and len(own) > len(found.get(group.index, ())):
                    found[group.index] = own
    return found


def _within(grid: Ids, units: Ids) -> Ids | None:
    """The part of the grid that these units make up: all of them, in rows of equal length; None if they do not."""
    inside = np.isin(grid, units)
    rows = grid[inside.any(1)]
    if len(rows) < 2 or rows.size != len(units) or len(np.unique(rows)) != rows.size:
        return None
    return rows if np.isin(rows, units).all() else None


def evened(ranked: Sequence[Ranked], shared: Mapping[int, Ids]) -> list[Ranked]:
    """The ranked groups, those that convolutions divide reordered: the first of each part, the second of each, …

    As many stay in each part, so what stays is a multiple of their number.
    """
    return [_evened(r, shared[r.group.index]) if r.group.index in shared else r for r in ranked]


def _evened(ranked: Ranked, rows: Ids) -> Ranked:
    part = np.full(int(ranked.group.units.max()) + 1, -1)
    for k, row in enumerate(rows):
        part[row] = k
    of = part[ranked.order]
    counts = np.bincount(of, minlength=len(rows))
    if (counts != counts[0]).any():
        return ranked
    turn = np.empty(len(of), np.int64)
    for k in range(len(rows)):
        turn[of == k] = np.arange(counts[0])
    order = np.argsort(turn, kind="stable")
    staying: NDArray[np.int64] = np.bincount(of[ranked.width - ranked.least :], minlength=len(rows))
    least = len(rows) * int(staying.max())
    return Ranked(ranked.group, ranked.order[order], ranked.scores[order], lcm(ranked.multiple, len(rows)), least)
