"""A folder → the image sets in it, whatever the layout: names and sizes of HR and LR files; nothing is decoded here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fxprune.errors import InputError
from fxprune.models.reference import did_you_mean
from fxprune.train.pictures import SUFFIXES, ImageSet, Pair, image_size

__all__ = ["LAYOUTS", "Layout", "find_sets"]

SCALES = (2, 3, 4, 8)  # looked for where none is asked for
SMALLEST = 16  # pixels an HR image must have each way to be of use


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a data set keeps its images, below its folder. `{s}` is the scale; `{part}` whatever stands in *_HR."""

    name: str
    hr: str  # a folder; * is any letters; . the folder itself
    lr: tuple[str, ...] = ()  # folders of LR files, the first with images counts; none: LR is made


# The first row that fits counts: pairs before lone HR images, a scale in a folder's name before one told by the sizes.
LAYOUTS = (
    Layout("a folder per scale", "[xX]{s}/HR", ("x{s}/LR", "X{s}/LR")),
    Layout("DIV2K", "*_HR", ("{part}_LR_bicubic/X{s}", "{part}_LR_bicubic/x{s}")),
    Layout("BasicSR", "GTmod*", ("LRbicx{s}",)),
    Layout("KAIR", "HR", ("LR_bicubic/X{s}", "LR_bicubic/x{s}", "LR/X{s}", "LR/x{s}")),
    Layout("HR and LR", "HR", ("LR",)),
    Layout("HR alone", "HR"),
    Layout("HR alone", "GTmod*"),
    Layout("HR alone", "*_HR"),
    Layout("bare", "."),
)
# An LR file's name for an HR file's, without their endings.
STEMS = ("{stem}", "{stem}x{s}", "{stem}_x{s}", "{stem}_LR", "{stem}_LRx{s}", "{stem}LRBI_x{s}")


def find_sets(
    folder: Path, scale: int | None = None, role: Literal["train", "validate"] | None = None
) -> tuple[ImageSet, ...]:
    """The image sets in a folder: the folder itself, or else each folder in it that is one, sorted by name.

    Args:
        folder: in one of the LAYOUTS, or holding several that are (`test/Set5`, `test/Set14`).
        scale: which scale to take; None: the one there is.
        role: leaves out the sets that are named for the other role (DIV2K_train, DIV2K_valid).

    Images that cannot be read, are too small, or have no LR partner are left out and named in `ImageSet.notes`.

    Raises:
        InputError: no such folder; nothing found; several scales, or none, to be seen and none given; no usable image.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist", hint=_nearest(folder))
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint="data is a folder of images")
    if scale is not None and scale < 1:
        raise InputError(f"a scale of {scale}", hint="a scale is a whole number: 2, 3, 4")
    try:
        below = sorted(entry for entry in folder.iterdir() if _may_be_a_set(entry, scale))
        sets = _sets_at(folder, scale) or [found for entry in below for found in _sets_at(entry, scale)]
    except PermissionError as error:
        raise InputError(f"{error.filename}: not readable") from None
    if not sets:
        raise InputError(f"no images found in {folder}", hint=_looked_for(scale))
    if not any(one.pairs for one in sets):
        notes = [note for one in sets for note in one.notes]
        raise InputError(f"no usable image in {folder}", hint="; ".join(notes[:3]) + ("; …" if len(notes) > 3 else ""))
    return tuple(_of_role(sets, role))


def _nearest(folder: Path) -> str | None:
    """What may have been meant by a folder that is not there."""
    beside = folder.parent
    if not beside.is_dir():
        return f"there is no folder {beside}"
    names = [entry.name for entry in beside.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    return did_you_mean(folder.name, names)


def _may_be_a_set(folder: Path, scale: int | None) -> bool:
    other_scale = scale is not None and re.fullmatch(r"[xX]\d", folder.name) and int(folder.name[1:]) != scale
    return folder.is_dir() and not folder.name.startswith(".") and not other_scale


def _sets_at(folder: Path, scale: int | None) -> list[ImageSet]:
    for layout in LAYOUTS:
        scales = [scale] if scale is not None else list(SCALES)
        found = {s: places for s in scales if (places := list(_places(folder, layout, s)))}
        if not found:
            continue
        named = any("{s}" in pattern for pattern in (layout.hr, *layout.lr))
        if scale is None and named and len(found) > 1:
            there = ", ".join(f"x{s}" for s in found)
            raise InputError(f"{folder} holds several scales: {there}", hint="say which: --scale 2")
        places = next(iter(found.values()))
        chosen = next(iter(found)) if scale is not None or named else _scale_of(folder, places)
        return [_set(folder, layout, hr, lr, chosen) for hr, lr in places]
    return []


def _places(folder: Path, layout: Layout, scale: int) -> Iterator[tuple[Path, Path | None]]:
    """HR folders with images, and the LR folder that goes with each."""
    pattern = layout.hr.format(s=scale)
    for hr in [folder] if pattern == "." else sorted(folder.glob(pattern)):
        if not hr.is_dir() or not _images(hr):
            continue
        if not layout.lr:
            yield hr, None
            continue
        part = hr.name.removesuffix("_HR")
        for lr in (folder / other.format(s=scale, part=part) for other in layout.lr):
            if lr.is_dir() and _images(lr):
                yield hr, lr
                break


def _scale_of(folder: Path, places: Sequence[tuple[Path, Path | None]]) -> int:
    """The scale that the sizes of the first readable pair tell."""
    for hr, lr in places:
        for file in _images(hr) if lr else []:
            partners = [_partner(file, _by_stem(lr), s) for s in SCALES] if lr else []
            for partner in filter(None, partners):
                try:
                    large, small = image_size(file), image_size(partner)
                except InputError:
                    continue
                return max(1, round(large[0] / small[0]))
    raise InputError(f"no scale can be told from {folder}", hint="its HR images have no LR partners; say --scale 2")


def _set(folder: Path, layout: Layout, hr: Path, lr: Path | None, scale: int) -> ImageSet:
    pairs, notes = [], []
    partners = _by_stem(lr) if lr else {}
    files = _images(hr)
    times = Counter(file.stem for file in files)
    for file in files:
        partner = _partner(file, partners, scale) if lr else None
        try:
            if lr and partner is None:
                raise InputError(f"{file}: no LR image of that name in {lr}")
            pairs.append(replace(_pair(file, partner, scale), name=file.stem if times[file.stem] == 1 else file.name))
        except InputError as error:
            notes.append(str(error))
    home = folder.resolve()
    name = hr.name.removesuffix("_HR") if layout.hr == "*_HR" else home.name
    if re.fullmatch(r"[xX]\d", name):
        name = home.parent.name
    return ImageSet(name, scale, layout.name, tuple(pairs), tuple(notes))


def _pair(file: Path, partner: Path | None, scale: int) -> Pair:
    height, width = image_size(file)
    if min(height, width) < SMALLEST:
        raise InputError(f"{file}: {width}x{height} pixels are too few")
    rows, columns = height // scale, width // scale
    if partner is not None:
        low, across = image_size(partner)
        # other tools round the LR size up, or keep the pixels beyond the last multiple of the scale
        if abs(low * scale - height) >= scale or abs(across * scale - width) >= scale:
            raise InputError(f"{partner}: {across}x{low} pixels are not {width}x{height} made {scale} times smaller")
        rows, columns = min(rows, low), min(columns, across)
    return Pair(file.stem, rows * scale, columns * scale, file, partner)


def _images(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in files if path.is_file())


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in _images(folder)}


def _partner(file: Path, partners: dict[str, Path], scale: int) -> Path | None:
    names = (pattern.format(stem=file.stem, s=scale) for pattern in STEMS)
    return next((partners[name] for name in names if name in partners), None)


def _of_role(sets: list[ImageSet], role: str | None) -> list[ImageSet]:
    """Without the sets named for the other role, unless that leaves none."""
    others = {"train": ("val", "test"), "validate": ("train",)}.get(role or "", ())
    return [one for one in sets if not any(word in one.name.lower() for word in others)] or sets


def _looked_for(scale: int | None) -> str:
    s = scale or "N"
    rows = [
        f"{layout.hr.format(s=s).replace('[xX]', 'x')} with {layout.lr[0].format(s=s, part='*')}"
        for layout in LAYOUTS
        if layout.lr
    ]
    return f"looked there and one folder down for {', '.join(rows)}, HR alone, or images ({' '.join(SUFFIXES)})"
