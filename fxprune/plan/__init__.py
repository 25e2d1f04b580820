"""`Spec` + `Groups` → `Plan`."""

from __future__ import annotations

from fxprune.plan.cost import FULL_HD_READY, Cost, cost_of
from fxprune.plan.peer import Calibration
from fxprune.plan.plan import Decision, Plan, make_plan

__all__ = ["FULL_HD_READY", "Calibration", "Cost", "Decision", "Plan", "cost_of", "make_plan"]
