"""A step of a phase → its learning rate: constant, halved, by factors, cosine with restarts; after a warm-up."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

__all__ = ["Cosine", "Drops", "Rate", "Warmup"]


@dataclass(frozen=True, slots=True)
class Drops:
    """The rate is multiplied by `factor` at each of `at`, and every `every` steps."""

    factor: float
    at: tuple[int, ...] = ()  # steps, ascending
    every: int | None = None  # steps

    def __call__(self, step: int) -> float:
        """Share of the base rate at a step: factor^(drops so far)."""
        times = bisect_right(self.at, step) + (step // self.every if self.every else 0)
        return float(self.factor**times)


@dataclass(frozen=True, slots=True)
class Cosine:
    """Half a cosine from the base rate to `to`, then from the top again (Loshchilov & Hutter, SGDR, 2017)."""

    to: float = 0.0  # the rate at the end of a period
    every: int | None = None  # steps of a period; None: the whole phase is one
    at: tuple[int, ...] = ()  # steps at which it restarts, instead of periods of one length

    def __call__(self, step: int, length: int, base: float) -> float:
        """The rate at a step of a phase of so many steps."""
        if self.at:
            past = bisect_right(self.at, step)
            start, end = (0, *self.at, max(length, self.at[-1] + 1))[past : past + 2]
        else:
            period = self.every or max(1, length)
            start = min(step, max(0, length - 1)) // period * period
            end = start + period
        share = min(1.0, (step - start) / max(1, end - start))
        return self.to + (base - self.to) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True, slots=True)
class Warmup:
    """A straight line from `start` to what the rate would be otherwise, over the first `steps`."""

    steps: int
    start: float = 0.0

    def __call__(self, step: int, rate: float) -> float:
        """The rate at a step, which without warm-up would be `rate`."""
        if step >= self.steps:
            return rate
        return self.start + (rate - self.start) * (step + 1) / self.steps


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate of a phase, a pure function of the step in it."""

    base: float
    drops: tuple[Drops, ...] = ()
    cosine: Cosine | None = None
    warmup: Warmup | None = None

    def __call__(self, step: int, length: int) -> float:
        """The rate at a step (0 is the first) of a phase of `length` steps."""
        rate = self.cosine(step, length, self.base) if self.cosine else self.base
        for drop in self.drops:
            rate *= drop(step)
        return self.warmup(step, rate) if self.warmup else rate
