"""An upscaler and image sets → PSNR and SSIM per image and set, and the images if wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fxprune.errors import InputError, ModelError, OutputError
from fxprune.train.metrics import Protocol, Score
from fxprune.train.pictures import ImageSet, Pair, read_pair
from fxprune.train.resize import Pixels, upscale_tensor
from fxprune.train.tiles import Tiling, Upscaler, self_ensemble, upscale_tiled

__all__ = ["AS_IS", "Bicubic", "Evaluation", "ImageScore", "SetScore", "Setup", "evaluate", "super_resolve"]

WHOLE_UNTIL_512 = Tiling()


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is run on an image."""

    tiling: Tiling | None = WHOLE_UNTIL_512  # None: every image whole
    ensemble: bool = False  # the mean over the eight orientations
    device: str = "cpu"
    peak: float = 1.0  # the model's value for white: 1, or 255 for models trained on levels


AS_IS = Setup()


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image measured."""

    name: str
    height: int  # HR pixels
    width: int
    scores: tuple[Score, ...]  # one per protocol of the evaluation
    seconds: float  # for upscaling it

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps."""
        scores = [score.to_json() for score in self.scores]
        size = {"height": self.height, "width": self.width}
        return {"name": self.name, **size, "scores": scores, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class SetScore:
    """One image set measured."""

    name: str
    images: tuple[ImageScore, ...]
    notes: tuple[str, ...]  # images left out, and why

    @property
    def means(self) -> tuple[Score, ...]:
        """Mean PSNR and SSIM over the images, per protocol."""
        columns = list(zip(*(image.scores for image in self.images), strict=True))
        n = len(self.images)
        return tuple(Score(math.fsum(s.psnr for s in c) / n, math.fsum(s.ssim for s in c) / n) for c in columns)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps."""
        images = [image.to_json() for image in self.images]
        means = [mean.to_json() for mean in self.means]
        return {"name": self.name, "means": means, "images": images, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model measured on image sets."""

    model: str  # how it is called in tables
    scale: int
    protocols: tuple[Protocol, ...]
    ensemble: bool
    sets: tuple[SetScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps; a PSNR of None stands for equal images."""
        protocols = [protocol.name for protocol in self.protocols]
        about = {"model": self.model, "scale": self.scale, "protocols": protocols, "ensemble": self.ensemble}
        return {**about, "sets": [one.to_json() for one in self.sets]}


class Bicubic(nn.Module):
    """N×3×h×w in [0, 1] → N×3×sh×sw by bicubic interpolation: the upscaler every other one is measured against."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return upscale_tensor(images, self.scale)


def evaluate(
    model: nn.Module,
    sets: Sequence[ImageSet],
    *,
    name: str = "model",
    setup: Setup = AS_IS,
    save: Path | None = None,
    progress: Callable[[str, ImageScore], None] = lambda _set, _image: None,
) -> Evaluation:
    """Measure a model on Y and RGB, cropping the scale at each border.

    Args:
        model: N×3×h×w → N×3×sh×sw. Measured in eval mode, left in the mode it came in; moved to `setup.device`.
        sets: images of one scale.
        name: of the model, for the table.
        setup: tiles, self-ensemble, device, range of values.
        save: folder for the upscaled images, `<set>/<image>.png`.
        progress: called with the set's name and each image's result.

    Raises:
        InputError: sets of several scales, or a set of which no image can be measured.
        ModelError: the model's output has another size, or is not finite.
        OutputError: an image cannot be saved.
    """
    scales = {one.scale for one in sets}
    if len(scales) != 1:
        raise InputError(f"image sets of the scales {sorted(scales)}", hint="one scale at a time")
    scale = scales.pop()
    protocols = Protocol("Y", scale), Protocol("RGB", scale)
    results = []
    for one in sets:
        images, notes = [], list(one.notes)
        for pair in one.pairs:
            try:
                image, score = _measure(model, pair, scale, protocols, setup)
            except InputError as error:
                notes.append(str(error).splitlines()[0])
                continue
            if save is not None:
                _save(image, save / one.name / f"{pair.name}.png")
            images.append(score)
            progress(one.name, score)
        if not images:
            raise InputError(f"no image of {one.name} can be measured", hint="; ".join(notes[:3]) or None)
        results.append(SetScore(one.name, tuple(images), tuple(notes)))
    return Evaluation(name, scale, protocols, setup.ensemble, tuple(results))


def super_resolve(model: nn.Module, lr: Pixels, scale: int, setup: Setup = AS_IS) -> Pixels:
    """A uint8 image of h×w×3 → uint8 of sh×sw×3: the model's output, clamped and rounded half up.

    Raises:
        ModelError: the output has another size, or is not finite.
    """
    values = torch.from_numpy(np.ascontiguousarray(lr.transpose(2, 0, 1)))[None].to(setup.device, torch.float32)
    upscaler: Upscaler = self_ensemble(model) if setup.ensemble else model
    with _evaluating(model, setup.device):
        output = upscale_tiled(upscaler, values / 255 * setup.peak, scale, setup.tiling)[0].float()
    if not torch.isfinite(output).all():
        raise ModelError("the model's output holds values that are not finite", hint="its weights may be damaged")
    levels = (output * (255 / setup.peak) + 0.5).floor().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.cpu().numpy().transpose(1, 2, 0))


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


def _measure(
    model: nn.Module, pair: Pair, scale: int, protocols: tuple[Protocol, ...], setup: Setup
) -> tuple[Pixels, ImageScore]:
    lr, hr = read_pair(pair, scale)
    start = time.perf_counter()
    image = super_resolve(model, lr, scale, setup)
    seconds = time.perf_counter() - start
    scores = tuple(protocol.score(image, hr) for protocol in protocols)
    return image, ImageScore(pair.name, pair.height, pair.width, scores, seconds)


def _save(image: Pixels, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from None
