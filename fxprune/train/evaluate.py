"""An upscaler and image sets → PSNR and SSIM per image and set, and the images if wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fxprune.errors import FxpruneError, InputError, ModelError, OutputError
from fxprune.models.blame import told, user_line
from fxprune.train.metrics import Protocol, Score, luma
from fxprune.train.pictures import ImageSet, Pair, read_pair
from fxprune.train.resize import Pixels, upscale, upscale_tensor
from fxprune.train.tiles import Tiling, Upscaler, padded, self_ensemble, upscale_tiled

__all__ = [
    "AS_IS",
    "Bicubic",
    "Contender",
    "Evaluation",
    "ImageScore",
    "SetScore",
    "Setup",
    "evaluate",
    "saved_as",
    "super_resolve",
]

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
    left_out: tuple[str, ...] = ()  # why other sets were not measured

    @property
    def notes(self) -> tuple[str, ...]:
        """Every image and set that was left out, and why."""
        return (*(note for one in self.sets for note in one.notes), *self.left_out)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps; a PSNR of None stands for equal images."""
        protocols = [protocol.name for protocol in self.protocols]
        about = {"model": self.model, "scale": self.scale, "protocols": protocols, "ensemble": self.ensemble}
        return {**about, "sets": [one.to_json() for one in self.sets], "left_out": list(self.left_out)}


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
    """Measure a model on Y and RGB; as many pixels as the scale are cropped at each border, none at scale 1.

    Args:
        model: N×3×h×w → N×3×sh×sw. Measured in eval mode, left in the mode it came in; moved to `setup.device`.
        sets: images of one scale.
        name: of the model, for the table.
        setup: tiles, self-ensemble, device, range of values.
        save: folder for the upscaled images, `<set>/<image>.png`.
        progress: called with the set's name and each image's result.

    Raises:
        InputError: sets of several scales, or no image that can be measured.
        ModelError: the model does not run, its output has another size, or is not finite.
        OutputError: an image cannot be saved.
    """
    scales = {one.scale for one in sets}
    if len(scales) != 1:
        raise InputError(f"image sets of the scales {sorted(scales)}", hint="one scale at a time")
    scale = scales.pop()
    crop = scale if scale > 1 else 0  # networks that enlarge nothing are measured to the border
    protocols = Protocol("Y", crop), Protocol("RGB", crop)
    places = saved_as(sets, save) if save is not None else {}
    results: list[SetScore] = []
    left_out: list[str] = []
    for one in sets:
        images, notes = [], list(one.notes)
        for pair in one.pairs:
            try:
                image, score = _measure(model, pair, scale, protocols, setup)
            except InputError as error:
                notes.append(str(error).splitlines()[0])
                continue
            if places:
                _save(image, places[one.name, pair.name])
            images.append(score)
            progress(one.name, score)
        if images:
            results.append(SetScore(one.name, tuple(images), tuple(notes)))
        else:
            left_out += notes
    if not results:
        names = ", ".join(one.name for one in sets)
        raise InputError(f"no image of {names} can be measured", hint="; ".join(left_out[:3]) or None)
    return Evaluation(name, scale, protocols, setup.ensemble, tuple(results), tuple(left_out))


def saved_as(sets: Sequence[ImageSet], folder: Path) -> dict[tuple[str, str], Path]:
    """(set, image) → the file that its upscaled image goes to, `<set>/<image>.png`.

    Raises:
        OutputError: one of them is an image that is read.
    """
    places = {(one.name, pair.name): folder / one.name / f"{pair.name}.png" for one in sets for pair in one.pairs}
    pairs = [pair for one in sets for pair in one.pairs]
    read = {path.resolve() for pair in pairs for path in (pair.hr, pair.lr) if isinstance(path, Path)}
    for place in places.values():
        if place.resolve() in read:
            raise OutputError(f"{place} is one of the images to measure on", hint="save to another folder")
    return places


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
