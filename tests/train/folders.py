"""Image folders made of dead leaves, in any layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fxprune.train.dead_leaves import Leaves
from fxprune.train.resize import crop_to_multiple, downscale


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    return Leaves(9, index, height, width).draw()


def save(pixels: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def lr_of(pixels: np.ndarray, scale: int) -> np.ndarray:
    return downscale(crop_to_multiple(pixels, scale), scale)


def fill(hr: Path, lr: Path | None = None, *, scale: int = 2, count: int = 3, stem: str = "{}", first: int = 0) -> None:
    """`count` HR images 0001.png …, and their LR images, whose names are `stem` of the HR names."""
    for index in range(first, first + count):
        pixels, name = picture(index), f"{index + 1:04}"
        save(pixels, hr / f"{name}.png")
        if lr is not None:
            save(lr_of(pixels, scale), lr / f"{stem.format(name)}.png")
