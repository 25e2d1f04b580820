"""A network and an LR image → the upscaled image: values, colours, sizes and tiles as the network takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fxprune.errors import FxpruneError, ModelError
from fxprune.models.blame import told, user_line
from fxprune.train.metrics import luma
from fxprune.train.resize import Pixels, upscale, upscale_tensor
from fxprune.train.tiles import Tiling, Upscaler, padded, self_ensemble, upscale_tiled

__all__ = ["AS_IS", "Bicubic", "Contender", "Setup", "super_resolve"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]

WHOLE_UNTIL_512 = Tiling()


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is run on an image."""

    tiling: Tiling | None = WHOLE_UNTIL_512  # None: every image whole
    ensemble: bool = False  # the mean over the eight orientations
    device: str = "cpu"
    peak: float = 1.0  # the model's value for white: 1, or 255 for models trained on levels
    channels: Literal[1, 3] = 3  # 1: the model sees luma, and colour is enlarged by bicubic interpolation
    multiple: tuple[int, int] = (1, 1)  # the model takes rows and columns in multiples of these; images are padded


AS_IS = Setup()


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model to be measured."""

    name: str  # in tables and pictures
    model: nn.Module  # N×3×h×w → N×3×sh×sw, or of one channel
    setup: Setup = AS_IS


class Bicubic(nn.Module):
    """N×3×h×w in [0, 1] → N×3×sh×sw by bicubic interpolation: the upscaler every other one is measured against."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return upscale_tensor(images, self.scale)


def super_resolve(model: nn.Module, lr: Pixels, scale: int, setup: Setup = AS_IS) -> Pixels:
    """A uint8 image of h×w×3 → uint8 of sh×sw×3: the model's output, clamped and rounded half up.

    A model of one channel is given luma (16..235 of 255). What it changes against bicubic interpolation is added to
    all three colours alike: that leaves Cb and Cr as they are.

    Raises:
        ModelError: the model does not run, its output has another size, or is not finite.
    """
    grey = setup.channels == 1
    planes = luma(lr)[None] if grey else lr.transpose(2, 0, 1)
    output: Floats = _levels(model, np.ascontiguousarray(planes, dtype=np.float32), scale, setup)
    if grey:
        coloured = upscale(lr, scale)
        # Y grows by 219/255 of what R, G and B grow by together
        output = coloured.transpose(2, 0, 1) + (output - luma(coloured)) * (255 / 219)
    return np.ascontiguousarray(np.clip(np.floor(output + 0.5), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _levels(model: nn.Module, planes: Floats, scale: int, setup: Setup) -> Floats:
    """C×h×w levels in 0..255 → the model's C×sh×sw, neither rounded nor clamped."""
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    values = torch.from_numpy(planes)[None].to(setup.device) / 255 * setup.peak
    upscaler: Upscaler = padded(model, scale, setup.multiple)
    upscaler = self_ensemble(upscaler) if setup.ensemble else upscaler
    with _evaluating(model, setup.device), _retold(values):
        output = upscale_tiled(upscaler, values.to(kind), scale, setup.tiling)[0].float()
    if not torch.isfinite(output).all():
        raise ModelError("the model's output holds values that are not finite", hint="its weights may be damaged")
    levels: Floats = (output * (255 / setup.peak)).cpu().numpy()
    return levels


@contextmanager
def _retold(images: Tensor) -> Iterator[None]:
    """What a model raises becomes one message.

    Raises:
        ModelError: it raised.
    """
    size = f"{images.shape[3]}x{images.shape[2]}"
    try:
        yield
    except FxpruneError:
        raise
    except Exception as error:  # the model's code may raise anything
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
            message = f"an image of {size} pixels does not fit into memory"
            raise ModelError(message, hint="smaller tiles need less: --tile 128") from error
        where = user_line(error)
        message = f"{where + ': ' if where else ''}the model does not run on {size} pixels: {told(error)}"
        raise ModelError(message) from error


@contextmanager
def _evaluating(model: nn.Module, device: str) -> Iterator[None]:
    """The model on the device, in eval mode and without gradients; each module back in its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.to(device).eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
