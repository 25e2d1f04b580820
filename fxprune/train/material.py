"""A `data` statement and folders → the image sets to train and to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fxprune.errors import InputError
from fxprune.train.layouts import find_sets
from fxprune.train.leaks import find_leaks
from fxprune.train.pictures import ImageSet, leaves_set
from fxprune.train.settings import Data, Source

__all__ = ["Material", "material"]

LEAVES, VALIDATION_LEAVES = 100, 4  # pictures drawn where no number is given
HELD_BACK = 5  # images of a folder kept for validation where nothing else is there for it


@dataclass(frozen=True, slots=True)
class Material:
    """Images to train and to validate on."""

    training: tuple[ImageSet, ...]
    validation: tuple[ImageSet, ...]  # may be none
    notes: tuple[str, ...] = ()  # what was left out, leaks between the two


def material(data: Data, scale: int, *, root: Path | None = None, folder: Path = Path()) -> Material:
    """Find the pictures.

    Args:
        data: what the spec says.
        scale: of the network.
        root: the folder from the command line. Names in the spec are looked for there first; if the spec names none,
            it holds the training images itself.
        folder: what other paths in the spec start from.

    Raises:
        InputError: a folder without usable images.
    """
    training = tuple(found for source in data.training for found in _sets(source, data, scale, "train", root, folder))
    validation = tuple(
        found for source in data.validation for found in _sets(source, data, scale, "validate", root, folder)
    )
    if not training and root is not None:
        training = find_sets(root, scale, "train")
        if not validation:
            training, validation = _held_back(training)
    if not training:
        training = (_leaves(Source("dead_leaves"), data, scale, "train"),)
    drawn = all(one.layout == "drawn" for one in training)
    if not validation and drawn and not data.validation:
        validation = (_leaves(Source("dead_leaves"), data, scale, "validate"),)
    notes = [note for one in (*training, *validation) for note in one.notes]
    return Material(training, validation, (*notes, *find_leaks(training, validation)))


def _sets(
    source: Source,
    data: Data,
    scale: int,
    role: Literal["train", "validate"],
    root: Path | None,
    folder: Path,
) -> tuple[ImageSet, ...]:
    places = [place / source.name for place in (root, folder) if place is not None]
    there = next((place for place in places if place.is_dir()), None)
    if source.name == "dead_leaves" and there is None:
        return (_leaves(source, data, scale, role),)
    if there is None:
        looked = " and ".join(str(place) for place in places)
        raise InputError(
            f"no folder {source.name}: looked for {looked}",
            hint="give the folder it is in, --data DIR; or draw pictures: data dead_leaves",
        )
    return find_sets(there, scale, role)


def _leaves(source: Source, data: Data, scale: int, role: str) -> ImageSet:
    """Drawn pictures, two patches wide; those for validation have a seed of their own."""
    train = role == "train"
    count = source.count if source.count is not None else LEAVES if train else VALIDATION_LEAVES
    size = source.size if source.size is not None else max(96, 2 * data.patch * scale if train else 96)
    seed = source.seed if source.seed is not None else data.seed + (0 if train else 1)
    return leaves_set(count, size, scale=scale, seed=seed)


def _held_back(sets: Sequence[ImageSet]) -> tuple[tuple[ImageSet, ...], tuple[ImageSet, ...]]:
    """The last images of the last set, for validation; none where there are few."""
    *others, last = sets
    if len(last.pairs) < 4 * HELD_BACK:
        return tuple(sets), ()
    kept, back = last.pairs[:-HELD_BACK], last.pairs[-HELD_BACK:]
    return (*others, replace(last, pairs=kept)), (replace(last, name=f"{last.name} held back", pairs=back, notes=()),)
