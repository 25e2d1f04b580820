"""Δ, T and τ → the strength of a growing penalty at each step, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

__all__ = ["Ramp"]


@dataclass(frozen=True, slots=True)
class Ramp:
    """α grows by `step` every `every` steps until it passes `until`; there it stays.

    Wang et al., "Neural pruning via growing regularization" (ICLR 2021), as ASSL and SRP use it: the k-th growth takes
    effect at step k·T − 1, counted from 0, so that ⌊τ/Δ⌋ + 1 growths take T·(⌊τ/Δ⌋ + 1) steps.
    """

    step: Fraction  # Δ, more than 0
    every: int  # T, steps
    until: Fraction | None  # τ; None: it grows as long as it is let

    def growths(self, start: Fraction = Fraction(0)) -> int | None:
        """How often α grows from `start` until it is above τ; None: for ever."""
        if self.until is None:
            return None
        return 0 if start > self.until else floor((self.until - start) / self.step) + 1

    def length(self, start: Fraction = Fraction(0)) -> int | None:
        """Steps until α, from `start`, has passed τ; None: for ever."""
        growths = self.growths(start)
        return None if growths is None else growths * self.every

    def alpha(self, step: int, start: Fraction = Fraction(0)) -> Fraction:
        """α at a step (0 is the first), having been `start` before it: α₀ + Δ·min(⌊(step + 1)/T⌋, growths)."""
        grown = (step + 1) // self.every
        growths = self.growths(start)
        return start + self.step * (grown if growths is None else min(grown, growths))
