"""`Spec` → a program of phases, and what each training step of it needs."""

from __future__ import annotations

from fxprune.schedule.cutting import Cutting, compose, gone, plan_of
from fxprune.schedule.program import Align, Item, Program, Rewind, Run, Save, Shrink, WeightNorm, program, trains
from fxprune.schedule.pruner import Pruner
from fxprune.schedule.ramp import Ramp
from fxprune.schedule.rates import Cosine, Drops, Rate, Warmup

__all__ = [
    "Align",
    "Cosine",
    "Cutting",
    "Drops",
    "Item",
    "Program",
    "Pruner",
    "Ramp",
    "Rate",
    "Rewind",
    "Run",
    "Save",
    "Shrink",
    "Warmup",
    "WeightNorm",
    "compose",
    "gone",
    "plan_of",
    "program",
    "trains",
]
