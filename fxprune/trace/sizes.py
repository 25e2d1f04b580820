"""Inputs of a network → their like at another size: pictures grow, and what belongs to each of them comes as often.

A picture is what has height and width: N x C x H x W, or N x T x C x H x W for a video. Of other tensors, those whose
first dimension is the number of pictures follow that: a degradation's code, a level of noise.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch.utils import _pytree as pytree

__all__ = ["Scale", "images", "is_image", "resized"]

Scale = tuple[Fraction | int, Fraction | int]  # of height and of width

Make = Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]


def is_image(value: Any) -> bool:
    """Has it height and width? A number for each picture (N x 1 x 1 x 1) has not."""
    return isinstance(value, torch.Tensor) and value.dim() >= 4 and min(value.shape[-2:]) > 1


def images(inputs: Any) -> list[torch.Tensor]:
    """The tensors in nested inputs that have height and width."""
    return [x for x in pytree.tree_leaves(inputs) if is_image(x)]


def resized(inputs: Any, scale: Scale, make: Make, batch: Callable[[int], int] = lambda count: count) -> Any:
    """The same inputs with every picture of another height and width, and another number of them.

    Args:
        inputs: nested, of any kind; what is neither a picture nor follows their number is given back as it is.
        scale: of height and of width; neither becomes less than a pixel.
        make: given a picture and its new shape, what takes its place.
        batch: the new number of pictures, given the old one.
    """
    counts = {x.shape[0] for x in images(inputs)}

    def made(value: Any) -> Any:
        if is_image(value):
            high, wide = (max(1, int(size * by)) for size, by in zip(value.shape[-2:], scale, strict=True))
            return make(value, (batch(value.shape[0]), *value.shape[1:-2], high, wide))
        if not isinstance(value, torch.Tensor) or value.dim() < 2 or value.shape[0] not in counts:
            return value
        return value[torch.arange(batch(value.shape[0]), device=value.device) % value.shape[0]]

    return pytree.tree_map(made, inputs)
