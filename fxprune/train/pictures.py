"""A file or a drawn picture → its uint8 pixels; the pairs and sets that training and evaluation read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fxprune.errors import InputError
from fxprune.train.dead_leaves import Leaves
from fxprune.train.resize import Pixels, downscale

__all__ = ["SUFFIXES", "ImageSet", "Pair", "image_size", "leaves_set", "read_hr", "read_lr", "read_pair", "read_pixels"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")


@dataclass(frozen=True, slots=True)
class Pair:
    """One HR image and, where there is one, its LR file."""

    name: str  # the file's, without its ending if no other file has the same; unique in its set
    height: int  # of the HR image, in pixels, after cropping to a multiple of the scale
    width: int
    hr: Path | Leaves
    lr: Path | None  # None: made from the HR image by bicubic downscaling


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images that belong together, in the order of their names."""

    name: str  # Set5
    scale: int
    layout: str  # how they were laid out, in words
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()  # what was left out and why, one line each


def leaves_set(count: int, size: int, *, scale: int, seed: int = 0) -> ImageSet:
    """`count` dead-leaves pictures of size×size pixels (cut to a multiple of the scale), drawn when they are read.

    Raises:
        InputError: no pictures, or smaller than 16 pixels.
    """
    side = size - size % scale
    if count < 1 or side < 16:
        raise InputError(f"{count} dead leaves of {size} pixels", hint="one picture of 16 pixels is the least")
    leaves = (Leaves(seed, index, side, side) for index in range(count))
    pairs = tuple(Pair(f"leaves-{seed}-{leaf.index:04}", side, side, leaf, None) for leaf in leaves)
    return ImageSet("dead_leaves", scale, "drawn", pairs)


def read_pixels(source: Path | Leaves) -> Pixels:
    """The image as uint8 H×W×3; grey is repeated, 16 bits keep their upper 8, transparency is dropped.

    Raises:
        InputError: the file is not an image, or is damaged.
    """
    if isinstance(source, Leaves):
        return source.draw()
    with _opened(source) as picture:
        if picture.mode.startswith("I;16"):
            grey = (np.asarray(picture) >> 8).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(picture.convert("RGB"))


def read_lr(pair: Pair, scale: int, hr: Pixels) -> Pixels:
    """The LR pixels of a pair whose HR pixels are at hand: read from its file, or made."""
    if pair.lr is None:
        return downscale(hr, scale)
    lr = read_pixels(pair.lr)
    rows, columns = pair.height // scale, pair.width // scale
    if lr.shape[0] < rows or lr.shape[1] < columns:
        raise InputError(f"{pair.lr}: smaller than when it was first looked at")
    return lr[:rows, :columns]


def read_hr(pair: Pair) -> Pixels:
    """The HR pixels of a pair, cropped at the right and bottom to the size the pair states."""
    hr = read_pixels(pair.hr)
    if hr.shape[0] < pair.height or hr.shape[1] < pair.width:
        raise InputError(f"{pair.hr}: smaller than when it was first looked at")
    return hr[: pair.height, : pair.width]


def read_pair(pair: Pair, scale: int) -> tuple[Pixels, Pixels]:
    """LR and HR pixels: h×w×3 and s·h×s·w×3, uint8.

    Raises:
        InputError: a file is damaged, or no longer what it was.
    """
    hr = read_hr(pair)
    return read_lr(pair, scale, hr), hr


def image_size(path: Path) -> tuple[int, int]:
    """Height and width as the file's head states them; nothing is decoded.

    Raises:
        InputError: not an image.
    """
    with _opened(path) as picture:
        return picture.height, picture.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A file opened by Pillow, whose many ways to refuse one become InputError."""
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        words = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).splitlines()[0]
        raise InputError(f"{path}: {words}") from None
