"""An upscaler and image sets → PSNR and SSIM per image and set, and the images if wanted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from fxprune.errors import InputError, OutputError
from fxprune.train.metrics import Protocol, Score
from fxprune.train.pictures import ImageSet, Pair, read_pair
from fxprune.train.resize import Pixels
from fxprune.train.upscaling import AS_IS, Setup, super_resolve

__all__ = ["Evaluation", "ImageScore", "SetScore", "evaluate", "saved_as"]


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
