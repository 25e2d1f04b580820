"""An image → the same image, a whole number of times smaller or larger, as MATLAB's bicubic `imresize` makes it.

The law: Keys' cubic (a = -1/2), stretched by the scale when going down (antialiasing); the border pixel repeated
outside the image; height first, then width; after *each* axis clamped to 0..255 and rounded half up, because MATLAB
keeps 8-bit images in 8 bits between the two passes. Arithmetic is float64: all weights and coordinates of a
whole-number scale are then the same wherever a pixel lies, so a window of an image can be resized on its own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fxprune.errors import InputError

__all__ = ["MARGIN", "Pixels", "crop_to_multiple", "downscale", "downscale_tensor", "upscale", "upscale_tensor"]

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

MARGIN = 2  # the cubic reaches two pixels of the smaller grid to either side


def downscale(image: Pixels, scale: int) -> Pixels:
    """A uint8 image of H×W or H×W×C, made `scale` times smaller.

    Raises:
        InputError: height or width is no multiple of `scale` (see `crop_to_multiple`).
    """
    return _array(image, scale, up=False)


def upscale(image: Pixels, scale: int) -> Pixels:
    """A uint8 image of H×W or H×W×C, made `scale` times larger."""
    return _array(image, scale, up=True)


def downscale_tensor(images: Tensor, scale: int, *, rounded: bool = True) -> Tensor:
    """N×C×H×W values in [0, 1], made `scale` times smaller; same dtype and device.

    Args:
        images: floating point, N×C×H×W.
        scale: how many times smaller.
        rounded: as MATLAB does for 8-bit images: to the 256 levels of 8 bits first (float32 holds n/255 inexactly,
            which would tip ties) and after each axis; otherwise as it does for images of doubles.

    Raises:
        InputError: height or width is no multiple of `scale`.
    """
    return _values(images, scale, up=False, rounded=rounded)


def upscale_tensor(images: Tensor, scale: int, *, rounded: bool = True) -> Tensor:
    """N×C×H×W values in [0, 1], made `scale` times larger; arguments as for `downscale_tensor`."""
    return _values(images, scale, up=True, rounded=rounded)


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """The top left of an image (H×W or H×W×C), its height and width the largest multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def _array(image: Pixels, scale: int, *, up: bool) -> Pixels:
    planes = image[:, :, None] if image.ndim == 2 else image
    # channels last in memory: the copy to float64 keeps it, and torch's fast path for it needs no transposition
    levels = torch.from_numpy(np.ascontiguousarray(planes)).permute(2, 0, 1)[None].to(torch.float64)
    resized = _resample(levels, scale, up=up, rounded=True)[0].permute(1, 2, 0).to(torch.uint8)
    return np.ascontiguousarray(resized.numpy().reshape(*resized.shape[:2], *image.shape[2:]))


def _values(images: Tensor, scale: int, *, up: bool, rounded: bool) -> Tensor:
    # Apple's MPS has no float64
    levels = (images.cpu() if images.device.type == "mps" else images).to(torch.float64) * 255
    levels = _to_levels(levels) if rounded else levels
    return (_resample(levels, scale, up=up, rounded=rounded) / 255).to(images)


def _resample(levels: Tensor, scale: int, *, up: bool, rounded: bool) -> Tensor:
    """Both axes of N×C×H×W levels (0..255, float64), height first."""
    _check(levels, scale, up=up)
    for axis in (2, 3):
        levels = _resample_axis(levels, axis, scale, up=up)
        if rounded:
            levels = _to_levels(levels)
    return levels


def _to_levels(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)


def _resample_axis(levels: Tensor, axis: int, scale: int, *, up: bool) -> Tensor:
    """One axis. `interpolate` cuts its kernel short at the border; so the border is padded first and cut off after."""
    size = levels.shape[axis]
    length = size * scale if up else size // scale
    pad, cut = (MARGIN, MARGIN * scale) if up else (MARGIN * scale, MARGIN)
    padding = (0, 0, pad, pad) if axis == 2 else (pad, pad, 0, 0)
    padded = functional.pad(levels, padding, mode="replicate")
    target = [*padded.shape[2:]]
    target[axis - 2] = length + 2 * cut
    resized = functional.interpolate(padded, size=target, mode="bicubic", align_corners=False, antialias=True)
    return resized.narrow(axis, cut, length)


def _check(levels: Tensor, scale: int, *, up: bool) -> None:
    height, width = levels.shape[2:]
    if scale < 1:
        raise InputError(f"a scale of {scale}", hint="a scale is a whole number from 1 up: 2, 3, 4")
    if not height or not width:
        raise InputError("an image without pixels cannot be resized")
    if not up and (height % scale or width % scale):
        raise InputError(
            f"{width}x{height} pixels do not divide by {scale}",
            hint="crop the image to a multiple of the scale first",
        )
