"""Folders as users have them: recognised, paired, and what is unusable named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxprune.errors import InputError
from fxprune.train.layouts import find_sets
from fxprune.train.leaks import find_leaks
from fxprune.train.pictures import leaves_set, read_pair, read_pixels

from .folders import fill, lr_of, picture, save

LAYOUTS = {  # layout: (HR folder, LR folder, LR file's name), below the data set's folder
    "a folder per scale": ("x2/HR", "x2/LR", "{}"),
    "DIV2K": ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X2", "{}x2"),
    "BasicSR": ("GTmod12", "LRbicx2", "{}"),
    "KAIR": ("HR", "LR_bicubic/X2", "{}x2"),
    "HR and LR": ("HR", "LR", "{}"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [2, None])
def test_pairs_are_found(tmp_path: Path, layout: str, scale: int | None) -> None:
    hr, lr, stem = LAYOUTS[layout]
    fill(tmp_path / "Mine" / hr, tmp_path / "Mine" / lr, stem=stem)
    for folder in (tmp_path / "Mine", tmp_path):  # the set itself, or the folder of sets
        (found,) = find_sets(folder, scale)
        assert (found.layout, found.scale, found.notes) == (layout, 2, ())
        assert found.name == ("DIV2K_train" if layout == "DIV2K" else "Mine")
        assert [pair.name for pair in found.pairs] == ["0001", "0002", "0003"]
        pixels = read_pair(found.pairs[1], 2)
        assert np.array_equal(pixels[1], picture(1))
        assert np.array_equal(pixels[0], lr_of(picture(1), 2))


@pytest.mark.parametrize(("folder", "layout"), [(".", "bare"), ("HR", "HR alone"), ("My_HR", "HR alone")])
def test_lone_hr_images_get_lr_images_made(tmp_path: Path, folder: str, layout: str) -> None:
    fill(tmp_path / folder, count=1)
    save(picture(7, 49, 65), tmp_path / folder / "odd.jpg")
    (found,) = find_sets(tmp_path, 3)
    assert found.layout == layout
    sizes = [(pair.height, pair.width) for pair in found.pairs]
    assert sizes == [(48, 63), (48, 63)]
    lr, hr = read_pair(found.pairs[0], 3)
    assert hr.shape == (48, 63, 3)
    assert np.array_equal(lr, lr_of(picture(0), 3))
    with pytest.raises(InputError, match="no scale can be told"):
        find_sets(tmp_path)


def test_several_sets_and_scales(tmp_path: Path) -> None:
    for name in ("Set5", "Set14"):
        for scale in (2, 4):
            fill(tmp_path / name / f"x{scale}/HR", tmp_path / name / f"x{scale}/LR", scale=scale)
    assert [(one.name, one.scale) for one in find_sets(tmp_path, 4)] == [("Set14", 4), ("Set5", 4)]
    assert [one.name for one in find_sets(tmp_path / "Set5" / "x4")] == ["Set5"]
    with pytest.raises(InputError, match=r"several scales: x2, x4\n.*say which"):
        find_sets(tmp_path)
    with pytest.raises(InputError, match="no images found"):
        find_sets(tmp_path / "Set5", 3)


def test_roles(tmp_path: Path) -> None:
    fill(tmp_path / "DIV2K_train_HR", tmp_path / "DIV2K_train_LR_bicubic/X2", stem="{}x2")
    fill(tmp_path / "DIV2K_valid_HR", tmp_path / "DIV2K_valid_LR_bicubic/X2", stem="{}x2")
    names = {role: [one.name for one in find_sets(tmp_path, 2, role)] for role in ("train", "validate", None)}
    assert names == {
        "train": ["DIV2K_train"],
        "validate": ["DIV2K_valid"],
        None: ["DIV2K_train", "DIV2K_valid"],
    }


def test_unusable_images_are_named_and_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "HR", tmp_path / "LR", count=2)
    (tmp_path / "HR" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (tmp_path / "HR" / "empty.png").touch()
    save(picture(0, 16, 16)[:8], tmp_path / "HR" / "flat.png")
    save(picture(3), tmp_path / "HR" / "lonely.png")
    save(picture(4), tmp_path / "HR" / "wrong.png")
    save(lr_of(picture(4), 4), tmp_path / "LR" / "wrong.png")
    for name in ("broken", "empty", "flat"):
        save(picture(0), tmp_path / "LR" / f"{name}.png")
    (tmp_path / "HR" / "._0001.png").write_bytes(b"left by a file browser")
    (found,) = find_sets(tmp_path, 2)
    assert [pair.name for pair in found.pairs] == ["0001", "0002"]
    reasons = (
        "not an image",
        "not an image",
        "16x8 pixels are too few",
        "no LR image of that name",
        "are not 64x48 made",
    )
    assert len(found.notes) == len(reasons)
    for note, reason in zip(found.notes, reasons, strict=True):
        assert reason in note
    assert "broken.png" in found.notes[0]


def test_lr_sizes_rounded_up_are_cropped(tmp_path: Path) -> None:
    pixels = picture(0, 49, 64)
    save(pixels, tmp_path / "HR" / "a.png")
    save(lr_of(picture(0, 50, 64), 2), tmp_path / "LR" / "a.png")  # 25 rows for 49
    (found,) = find_sets(tmp_path, 2)
    lr, hr = read_pair(found.pairs[0], 2)
    assert lr.shape == (24, 32, 3)
    assert np.array_equal(hr, pixels[:48])


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no images here")
    with pytest.raises(InputError) as caught:
        find_sets(tmp_path, 4)
    for words in ("no images found", "*_LR_bicubic/X4", "LRbicx4", "x4/HR with x4/LR", ".png"):
        assert words in str(caught.value)
    with pytest.raises(InputError, match="is not a folder"):
        find_sets(tmp_path / "notes.txt", 2)
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"no usable image(.|\n)*a\.png: not an image"):
        find_sets(tmp_path, 2)


def test_colours_of_odd_files(tmp_path: Path) -> None:
    grey = picture(0)[..., 0]
    assert np.array_equal(read_pixels(save(grey, tmp_path / "grey.png")), np.repeat(grey[:, :, None], 3, axis=2))
    deep = save(grey.astype(np.uint16) * 257, tmp_path / "deep.png")
    assert np.array_equal(read_pixels(deep)[..., 1], grey)
    clear = np.concatenate([picture(0), np.zeros((48, 64, 1), dtype=np.uint8)], axis=2)
    assert np.array_equal(read_pixels(save(clear, tmp_path / "clear.png")), picture(0))
    Image.fromarray(picture(0)).quantize(16).save(tmp_path / "palette.png")
    assert read_pixels(tmp_path / "palette.png").shape == (48, 64, 3)


def test_leaks_are_warned_of(tmp_path: Path) -> None:
    fill(tmp_path / "train", count=3)
    copy = save(picture(0), tmp_path / "val" / "renamed.png")
    save(picture(5), tmp_path / "val" / "0002.png")  # another picture with the name and size of one
    save(picture(6, 32, 32), tmp_path / "val" / "0003.png")  # another size: another picture
    (train,), (val,) = find_sets(tmp_path / "train", 2), find_sets(tmp_path / "val", 2)
    notes = find_leaks([train], [val])
    assert len(notes) == 2
    assert "0002.png may also be for training" in notes[0]
    assert notes[1] == f"{copy} is for validation and also for training: {tmp_path / 'train' / '0001.png'}"
    assert find_leaks([val], [leaves_set(3, 64, scale=2)]) == ()
    assert len(find_leaks([leaves_set(3, 64, scale=2, seed=1)], [leaves_set(2, 32, scale=2, seed=1)])) == 2
    assert find_leaks([leaves_set(3, 64, scale=2, seed=1)], [leaves_set(2, 32, scale=2, seed=2)]) == ()
