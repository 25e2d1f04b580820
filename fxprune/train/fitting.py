"""A network → how images are handed to it: how much larger it makes them, which sizes it takes, which values.

Nothing is asked of the network's code: it is run on small images, of sizes that share no more than one divisor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from fxprune.errors import InputError, ModelError
from fxprune.models import check_example
from fxprune.train.metrics import Protocol
from fxprune.train.resize import Pixels, upscale
from fxprune.train.tiles import Tiling
from fxprune.train.upscaling import Setup, super_resolve

__all__ = ["Fit", "fit", "fitted", "told_peak"]

# What the sides of an image may have to be multiples of, the likeliest least ones first.
MULTIPLES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128)
SIDE = 24  # pixels that a trial has at least each way
PATCH = 64  # LR pixels each way of the image that tells the range of values
CLEARLY = 3.0  # dB by which one range has to be the better one
LIKE_AN_IMAGE = 18.0  # dB against bicubic, under which an output is no image at all


@dataclass(frozen=True, slots=True)
class Fit:
    """What a network takes and makes."""

    scale: int
    channels: Literal[1, 3] = 3  # 3: RGB; 1: luma
    multiple: tuple[int, int] = (1, 1)  # rows and columns come in multiples of these
    fixed: bool = False  # and in no other sizes


def fit(model: nn.Module, example: Sequence[Tensor]) -> Fit:
    """Try a network on small images.

    Args:
        model: in any mode, on the device of the example.
        example: its inputs, at a size that it does take.

    Raises:
        InputError: it takes several inputs, or images that are neither grey nor RGB, or does not run.
        ModelError: it makes no larger images of images.
    """
    if len(example) != 1 or example[0].ndim != 4:
        raise InputError(
            "the network takes something other than one image", hint="eval measures networks that make one image of one"
        )
    channels = example[0].shape[1]
    if channels not in (1, 3):
        raise InputError(
            f"the network takes images of {channels} channels", hint="eval measures networks of RGB or grey images"
        )
    for multiple in MULTIPLES:
        count = -(-SIDE // multiple)
        count += 1 - count % 2
        scale = _scale(model, example[0].new_empty(1, channels, multiple * count, multiple * (count + 2)))
        if scale is not None:
            return Fit(scale, 1 if channels == 1 else 3, (multiple, multiple))
    scale = _scale(model, example[0][:1])
    if scale is not None:
        rows, columns = example[0].shape[2:]
        return Fit(scale, 1 if channels == 1 else 3, (rows, columns), fixed=True)
    check_example(model, example)
    with torch.no_grad():
        made = model(example[0])
    shown = "x".join(map(str, made.shape)) if isinstance(made, Tensor) else f"a {type(made).__name__}"
    raise ModelError(
        f"the network turns {'x'.join(map(str, example[0].shape))} into {shown}, "
        "which is no image a whole number of times larger",
        hint="eval measures networks that make an image of an image",
    )


def _scale(model: nn.Module, images: Tensor) -> int | None:
    """How many times larger the network makes an image of that size; None if it does not."""
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    images = torch.full_like(images, 0.5, dtype=kind)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            made = model(images)
    except Exception:  # the network's code may raise anything at a size that it does not take
        return None
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(made, Tensor) or made.ndim != 4:
        return None
    scale = made.shape[2] // images.shape[2]
    rows, columns = images.shape[2:]
    return scale if scale and made.shape == (*images.shape[:2], rows * scale, columns * scale) else None


def fitted(setup: Setup, found: Fit) -> Setup:
    """The setup with what was found; where one size only is taken, images are cut up into such tiles."""
    setup = replace(setup, channels=found.channels, multiple=found.multiple)
    if not found.fixed:
        return setup
    least = min(found.multiple)
    overlap = min(setup.tiling.overlap if setup.tiling else least // 4, least // 4)
    return replace(setup, tiling=Tiling(least - 2 * overlap, overlap, always=True))


def told_peak(model: nn.Module, lr: Pixels, scale: int, setup: Setup) -> float:
    """The value of white, 1 or 255, that a network takes: 255 where only then its output looks like the input.

    Args:
        model: as for `super_resolve`.
        lr: an image, uint8 h×w×3.
        scale: of the network.
        setup: its peak is not looked at.

    Raises:
        ModelError: the network does not run.
    """
    rows, columns = (min(PATCH, side) for side in lr.shape[:2])
    top, left = (lr.shape[0] - rows) // 2, (lr.shape[1] - columns) // 2
    patch = lr[top : top + rows, left : left + columns]
    bicubic, protocol = upscale(patch, scale), Protocol("RGB")
    likeness = {}
    for peak in (1.0, 255.0):
        try:
            made = super_resolve(model, patch, scale, replace(setup, peak=peak, ensemble=False))
            likeness[peak] = protocol.score(made, bicubic).psnr
        except ModelError:
            likeness[peak] = -math.inf
    better = likeness[255.0] > max(LIKE_AN_IMAGE, likeness[1.0] + CLEARLY)
    return 255.0 if better else 1.0
