"""(seed, stream, place) → random 64-bit words: numbers that depend on where they are used, not on what came before.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). Raw Philox words are used because numpy promises
those for ever, and not the distributions made of them.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from fxprune.errors import InputError

__all__ = ["Stream", "Words", "philox"]

Words = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


class Stream(IntEnum):
    """Uses of randomness that must not share numbers."""

    LEAVES = 1
    PATCHES = 2


def philox(seed: int, stream: Stream, *place: int) -> np.random.Philox:
    """A generator of its own for each (seed, stream, place); at most three whole numbers name the place.

    Raises:
        InputError: a seed outside 0 … 2⁶⁴−1.
    """
    if not 0 <= seed < 2**64:
        raise InputError(f"a seed of {seed}", hint="a seed is a whole number from 0 to 2^64 - 1")
    counter = np.zeros(4, dtype=np.uint64)  # the lowest word counts what this generator has given
    counter[1 : 1 + len(place)] = place
    return np.random.Philox(key=np.array([seed, stream], dtype=np.uint64), counter=counter)
