"""What `fxprune eval` was asked → networks fitted to images, measured one after the other."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from fxprune.cli.images import LEAVES, called, data, hardest, lr_of
from fxprune.cli.meter import Meter
from fxprune.cli.subjects import Subject, subject
from fxprune.emit.places import replace_file
from fxprune.errors import InputError, OutputError
from fxprune.job import Settings, settings, usable_device
from fxprune.train.comparison import compare
from fxprune.train.evaluate import Evaluation, evaluate, saved_as
from fxprune.train.fitting import fit, fitted, told_peak
from fxprune.train.pictures import ImageSet, read_pair
from fxprune.train.tiles import Tiling
from fxprune.train.upscaling import Bicubic, Contender, Setup

__all__ = ["Measured", "Wish", "measure"]

BICUBIC = "bicubic"
FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked."""

    what: str  # an output folder, a model reference, or bicubic
    scale: int | None = None  # None: the network's, or the one that the images tell
    folders: tuple[str, ...] = ()  # none: drawn pictures
    dense: str | None = None  # a network to measure beside
    tile: int = 512  # LR pixels each way; 0: images stay whole
    overlap: int = 64
    ensemble: bool = False
    peak: str = "auto"  # 1, 255, or to be told by a trial
    save: str | None = None
    picture: str | None = None
    image: str | None = None
    crop: int = 64
    pairs: tuple[str, ...] = ()  # --set
    weights: str | None = None
    shape: str | None = None
    device: str = "cpu"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One network measured."""

    contender: Contender
    evaluation: Evaluation
    parameters: int  # 0: bicubic interpolation
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All there is to tell: bicubic interpolation first, what was asked for last."""

    scale: int
    rows: tuple[Row, ...]
    sets: tuple[ImageSet, ...]
    notes: tuple[str, ...]
    saved: str | None = None  # folder
    picture: str | None = None  # file
    pictured: str | None = None  # set and image in it

    def to_json(self) -> dict[str, Any]:
        """Plain values, for json.dumps."""
        first = self.rows[0].evaluation
        about = {"scale": self.scale, "protocols": [protocol.name for protocol in first.protocols]}
        data = [
            {"name": one.name, "layout": one.layout, "images": len(one.pairs), "lr": lr_of(one)} for one in self.sets
        ]
        models = [
            {
                "name": row.contender.name,
                "parameters": row.parameters,
                "range": row.contender.setup.peak,
                "self_ensemble": row.contender.setup.ensemble,
                "seconds": row.seconds,
                "sets": [{k: v for k, v in one.to_json().items() if k != "notes"} for one in row.evaluation.sets],
            }
            for row in self.rows
        ]
        files = {"saved": self.saved, "picture": self.picture}
        return {**about, "data": data, "models": models, "notes": list(self.notes), **files}


def measure(wish: Wish) -> Measured:
    """Measure what was asked for, bicubic interpolation beside it, and write the images and the picture.

    Raises:
        FxpruneError: a network or images that won't do, options that do not go together, files that cannot be written.
    """
    check_places(wish)
    subjects = named(wish)
    setups, scale = fitting(subjects, wish)
    sets = data(wish.folders or (LEAVES,), scale)
    if wish.save:
        saved_as(sets, Path(wish.save))
    drawn = called(sets, wish.image) if wish.image else None
    contenders = [
        Contender(BICUBIC, Bicubic(sets[0].scale), Setup(Tiling())),
        *(
            with_peak(Contender(one.name, one.module, setup), sets, wish.peak)
            for one, setup in zip(subjects, setups, strict=True)
        ),
    ]
    rows = run(contenders, sets, Path(wish.save) if wish.save else None)
    pictured = None
    if wish.picture:
        set_name, pair = drawn or hardest(sets, rows[0].evaluation)
        pictured = f"{set_name}/{pair.name}"
        drawing = compare(pair, sets[0].scale, contenders[1:], crop=wish.crop, title=pictured)
        write_picture(Path(wish.picture), drawing)
    notes = [note for one in subjects for note in one.notes]
    notes += [f"{row.contender.name} takes values of 0 to 255" for row in rows if row.contender.setup.peak == 255]
    notes += rows[0].evaluation.notes
    return Measured(sets[0].scale, rows, sets, tuple(dict.fromkeys(notes)), wish.save, wish.picture, pictured)


def check_places(wish: Wish) -> None:
    """Refuse a picture and a folder for images that could not be written in the end.

    Raises:
        OutputError: one of them.
    """
    if wish.picture and Path(wish.picture).suffix.lower() not in FORMATS:
        raise OutputError(f"{wish.picture}: no picture is called so", hint=f"end it in {', '.join(FORMATS)}")
    if wish.picture and not Path(wish.picture).absolute().parent.is_dir():
        raise OutputError(
            f"cannot write {wish.picture}: there is no folder {Path(wish.picture).parent}", hint="make it first"
        )
    if wish.save:
        place = Path(wish.save).absolute()
        above = next(path for path in (place, *place.parents) if path.exists())
        if not above.is_dir():
            raise OutputError(f"cannot save to {wish.save}: {above.name} is a file", hint="name a folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise OutputError(f"cannot save to {wish.save}: {above} may not be written", hint="name another folder")


def named(wish: Wish) -> list[Subject]:
    """The networks to measure, what was asked for last. Settings belong to the last one that can be set.

    Raises:
        InputError: there is nothing that they could belong to.
        ModelError, OutputError: there is no such network.
    """
    usable_device(wish.device)
    names = [name for name in (wish.dense, wish.what) if name is not None and name != BICUBIC]
    given = settings(wish.pairs)
    if not names and (wish.pairs or wish.weights):
        raise InputError("bicubic interpolation has nothing to set", hint="leave out --set and --weights")
    settable = max((k for k, name in enumerate(names) if not Path(name).is_dir()), default=len(names) - 1)
    return [
        subject(name, given, weights=wish.weights, shape=wish.shape, device=wish.device)
        if k == settable
        else subject(name, Settings(), device=wish.device)
        for k, name in enumerate(names)
    ]


def fitting(subjects: Sequence[Subject], wish: Wish) -> tuple[list[Setup], int | None]:
    """How each network is run, and the scale of all.

    Raises:
        InputError: they differ in scale, from each other or from what was asked for.
    """
    tiling = Tiling(wish.tile, wish.overlap) if wish.tile else None
    setups, scale, whose = [], wish.scale, "--scale asks for"
    for one in subjects:
        found = fit(one.module, one.example)
        if scale is not None and found.scale != scale:
            hint = "give the scale that the network is for" if whose.startswith("--") else None
            if one.name.startswith("zoo:") and hint:
                hint = f"--set scale={scale} builds it for that, --scale {found.scale} measures it as it is"
            raise InputError(f"{one.name} makes images {found.scale} times larger; {whose} {scale}", hint=hint)
        scale, whose = found.scale, f"{one.name} makes them"
        setups.append(fitted(Setup(tiling, wish.ensemble, wish.device), found))
    return setups, scale


def with_peak(contender: Contender, sets: Sequence[ImageSet], wanted: str) -> Contender:
    """A contender with the value of white: the one wanted, or the one that the first image that can be read tells."""
    if wanted != "auto":
        return replace(contender, setup=replace(contender.setup, peak=float(wanted)))
    for pair in (pair for one in sets for pair in one.pairs):
        try:
            lr, _ = read_pair(pair, sets[0].scale)
        except InputError:
            continue  # told when it is to be measured
        peak = told_peak(contender.model, lr, sets[0].scale, contender.setup)
        return replace(contender, setup=replace(contender.setup, peak=peak))
    return contender


def run(contenders: Sequence[Contender], sets: Sequence[ImageSet], save: Path | None) -> tuple[Row, ...]:
    """Measure one after the other, and save the images of the last one."""
    rows = []
    with Meter([one.name for one in contenders], sum(len(one.pairs) for one in sets)) as meter:
        for one in contenders:
            start = time.perf_counter()
            place = save if one is contenders[-1] else None
            made = evaluate(
                one.model, sets, name=one.name, setup=one.setup, save=place, progress=meter.progress(one.name)
            )
            size = sum(parameter.numel() for parameter in one.model.parameters())
            rows.append(Row(one, made, size, time.perf_counter() - start))
            meter.over(one.name, rows[-1].seconds)
    return tuple(rows)


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture, whole or not at all, in the format that its name ends in.

    Raises:
        OutputError: it cannot be written.
    """
    written = io.BytesIO()
    picture.save(written, format=Image.registered_extensions()[path.suffix.lower()])
    replace_file(path, written.getvalue())
