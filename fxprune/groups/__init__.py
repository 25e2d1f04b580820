"""`Traced` → `Groups`: which channels are tied together, and which can go."""

from __future__ import annotations

from fxprune.groups.dispatch import Mends, label
from fxprune.groups.groups import Group, Groups, Kind, Member
from fxprune.groups.rules import rule
from fxprune.groups.solve import solve
from fxprune.trace import Traced

__all__ = ["Group", "Groups", "Kind", "Member", "Mends", "discover", "rule"]


def discover(traced: Traced, mends: Mends = lambda op, kind: False) -> Groups:
    """Find the groups of a traced network: run it once without arithmetic, then take connected components.

    Args:
        traced: the network.
        mends: which reductions over channels the rewrite can keep exact, by fx op and kind; none by default.
    """
    return solve(traced, label(traced, mends))
