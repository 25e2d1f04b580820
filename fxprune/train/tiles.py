"""An upscaler and images → the upscaled images, in tiles where they are large, or averaged over eight orientations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fxprune.errors import InputError, ModelError

__all__ = ["Tiling", "Upscaler", "padded", "self_ensemble", "upscale_tiled"]

Upscaler = Callable[[Tensor], Tensor]  # N×3×h×w → N×3×sh×sw


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a large image is cut up. Multiples of 16 keep networks with windows or unshuffling in step."""

    size: int = 512  # LR pixels of a tile, each way; images of at most size² pixels stay whole
    overlap: int = 64  # LR pixels seen beyond each side of a tile, and thrown away
    always: bool = False  # small images are cut up too: for networks that take one size only

    def __post_init__(self) -> None:
        if self.size < 1 or self.overlap < 0:
            raise InputError(
                f"tiles of {self.size} pixels with an overlap of {self.overlap}",
                hint="a tile has at least one pixel, an overlap none or more",
            )


def upscale_tiled(upscaler: Upscaler, images: Tensor, scale: int, tiling: Tiling | None = None) -> Tensor:
    """N×3×h×w → N×3×sh×sw, a tile at a time where tiling asks for it.

    Each tile is computed with its surroundings, which are cropped off: with an overlap of at least the network's
    receptive field (its radius, in LR pixels) the result is that of the whole image, seams and all.

    Raises:
        ModelError: the upscaler's output has another size.
    """
    height, width = images.shape[2:]
    if tiling is None or (height * width <= tiling.size**2 and not tiling.always):
        return _checked(upscaler(images), images, scale)
    whole = images.new_empty(*images.shape[:2], height * scale, width * scale)
    for top, bottom, up, down in _spans(height, tiling):
        for left, right, before, behind in _spans(width, tiling):
            part = images[:, :, up:down, before:behind]
            tile = _checked(upscaler(part), part, scale)
            rows = slice((top - up) * scale, (bottom - up) * scale)
            columns = slice((left - before) * scale, (right - before) * scale)
            whole[:, :, top * scale : bottom * scale, left * scale : right * scale] = tile[:, :, rows, columns]
    return whole


def padded(upscaler: Upscaler, scale: int, multiple: tuple[int, int]) -> Upscaler:
    """An upscaler of any height and width, of one that takes multiples of (rows, columns) only.

    The image is mirrored beyond its bottom and right sides (repeated, where it is too small for that), and what was
    made of the rest is cut off.
    """
    if multiple == (1, 1):
        return upscaler

    def enlarged(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        down, right = -height % multiple[0], -width % multiple[1]
        mode = "reflect" if down < height and right < width else "replicate"
        larger = functional.pad(images, (0, right, 0, down), mode=mode)
        return _checked(upscaler(larger), larger, scale)[:, :, : height * scale, : width * scale]

    return enlarged


def self_ensemble(upscaler: Upscaler) -> Upscaler:
    """The mean of an upscaler's results for an image's eight orientations, each turned back (Timofte et al. 2016)."""

    def turned_back(images: Tensor, transposed: bool, flipped: list[int]) -> Tensor:
        turned = torch.flip(images.transpose(2, 3) if transposed else images, flipped)
        result = torch.flip(upscaler(turned.contiguous()), flipped)
        return result.transpose(2, 3) if transposed else result

    def averaged(images: Tensor) -> Tensor:
        ways = [(transposed, flipped) for transposed in (False, True) for flipped in ([], [2], [3], [2, 3])]
        return torch.stack([turned_back(images, *way) for way in ways]).mean(0)

    return averaged


def _spans(length: int, tiling: Tiling) -> list[tuple[int, int, int, int]]:
    """(first, last, first seen, last seen) of each tile along a side, ends excluded."""
    starts = range(0, length, tiling.size)
    ends = [min(start + tiling.size, length) for start in starts]
    return [
        (start, end, max(0, start - tiling.overlap), min(length, end + tiling.overlap))
        for start, end in zip(starts, ends, strict=True)
    ]


def _checked(result: object, images: Tensor, scale: int) -> Tensor:
    want = (*images.shape[:2], images.shape[2] * scale, images.shape[3] * scale)
    if isinstance(result, Tensor) and tuple(result.shape) == want:
        return result
    got = "x".join(map(str, result.shape)) if isinstance(result, Tensor) else type(result).__name__
    raise ModelError(
        f"the model turned {'x'.join(map(str, images.shape))} into {got}, not {'x'.join(map(str, want))}",
        hint=f"is it a x{scale} model?",
    )
