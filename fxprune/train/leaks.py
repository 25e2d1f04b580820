"""Training sets and validation sets → a warning for each image that is in both; file heads and hashes only."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from fxprune.train.dead_leaves import Leaves
from fxprune.train.pictures import ImageSet, Pair

__all__ = ["find_leaks"]


def find_leaks(training: Sequence[ImageSet], validation: Sequence[ImageSet]) -> tuple[str, ...]:
    """One line for each validation image that is, or by its name and size may be, among the training images.

    Files of equal length are compared by content; a validation PSNR over an image trained on says nothing.
    """
    names: dict[tuple[str, int, int], Pair] = {}
    lengths: dict[int, list[Path]] = defaultdict(list)
    drawn: set[tuple[int, int]] = set()
    for pair in _pairs(training):
        names[pair.name.lower(), pair.height, pair.width] = pair
        if isinstance(pair.hr, Leaves):
            drawn.add((pair.hr.seed, pair.hr.index))
        else:
            lengths[_length(pair.hr)].append(pair.hr)
    hashes: dict[Path, bytes] = {}
    notes = []
    for pair in _pairs(validation):
        twin = names.get((pair.name.lower(), pair.height, pair.width))
        if isinstance(pair.hr, Leaves):
            same = (pair.hr.seed, pair.hr.index) in drawn
            notes += [f"{pair.name} is drawn for training and for validation: give them different seeds"] * same
        elif copy := next((path for path in lengths.get(_length(pair.hr), ()) if _same(pair.hr, path, hashes)), None):
            notes.append(f"{pair.hr} is for validation and also for training: {copy}")
        elif twin is not None:
            size = f"{pair.width}x{pair.height}"
            notes.append(f"{pair.hr} may also be for training: {twin.hr} has its name and its size, {size}")
    return tuple(notes)


def _pairs(sets: Sequence[ImageSet]) -> Iterator[Pair]:
    return (pair for one in sets for pair in one.pairs)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _same(one: Path, other: Path, hashes: dict[Path, bytes]) -> bool:
    for path in (one, other):
        if path not in hashes:
            hashes[path] = _digest(path)
    return hashes[one] == hashes[other]


def _digest(path: Path) -> bytes:
    """SHA-256 of a file; of its path where it can no longer be read, which equals no other file's."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return str(path).encode()
