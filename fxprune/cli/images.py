"""Names on a command line → the image sets to measure on, and one image of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fxprune.errors import InputError
from fxprune.models.reference import did_you_mean
from fxprune.train.evaluate import Evaluation
from fxprune.train.layouts import find_sets
from fxprune.train.pictures import ImageSet, Pair, leaves_set

__all__ = ["LEAVES", "called", "data", "hardest", "lr_of"]

LEAVES, COUNT, SIDE, SEED = "dead_leaves", 8, 192, 1  # pictures drawn; the seed is that of validation in training


def lr_of(one: ImageSet) -> str:
    """Where the LR images of a set come from."""
    return "read" if any(pair.lr for pair in one.pairs) else "made by bicubic downscaling, as MATLAB does"


def data(names: Sequence[str], scale: int | None) -> tuple[ImageSet, ...]:
    """The image sets in folders, and drawn pictures; each set under a name of its own.

    Raises:
        InputError: no usable images, several scales, or none that can be told.
    """
    found: list[ImageSet] = []
    for name in names:
        if name == LEAVES and not Path(name).is_dir():
            if scale is None:
                raise InputError("no scale can be told from drawn pictures", hint="say which: --scale 2")
            found.append(leaves_set(COUNT, SIDE, scale=scale, seed=SEED))
        else:
            found += find_sets(Path(name), scale)
    scales = sorted({one.scale for one in found})
    if len(scales) > 1:
        there = " and ".join(f"x{one}" for one in scales)
        raise InputError(f"the images are of several scales: {there}", hint=f"say which: --scale {scales[0]}")
    taken: dict[str, ImageSet] = {}
    for one in found:
        others = (f"{one.name}-{number}" for number in range(2, len(found) + 2))
        name = next(name for name in (one.name, *others) if name not in taken)
        taken[name] = replace(one, name=name)
    return tuple(taken.values())


def called(sets: Sequence[ImageSet], name: str) -> tuple[str, Pair]:
    """The image of that name, `003` or `Set5/003`, and its set's name.

    Raises:
        InputError: there is none.
    """
    for one in sets:
        for pair in one.pairs:
            if name in (pair.name, f"{one.name}/{pair.name}"):
                return one.name, pair
    raise InputError(f"--image {name}: there is no such image", hint=did_you_mean(name, names_of(sets)))


def names_of(sets: Sequence[ImageSet]) -> list[str]:
    """Every image's name."""
    return [pair.name for one in sets for pair in one.pairs]


def hardest(sets: Sequence[ImageSet], bicubic: Evaluation) -> tuple[str, Pair]:
    """The image that bicubic interpolation gets most wrong, and its set's name."""
    scored = [(image.scores[0].psnr, one.name, image.name) for one in bicubic.sets for image in one.images]
    _, set_name, name = min(scored)
    return called([one for one in sets if one.name == set_name], name)
