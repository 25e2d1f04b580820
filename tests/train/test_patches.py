"""Patches: pairs that fit, the same whatever the workers, processes or memory, each orientation as often."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fxprune.errors import InputError
from fxprune.train.layouts import find_sets
from fxprune.train.patches import PatchSource
from fxprune.train.pictures import ImageSet, leaves_set
from fxprune.train.resize import downscale

from .folders import fill, picture, save

Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[ImageSet, ...]:
    fill(tmp_path, count=4)
    return find_sets(tmp_path, 2)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_shapes_range_and_type(sets: tuple[ImageSet, ...]) -> None:
    lr, hr = PatchSource(sets, patch=10, batch=6).batch(0)
    assert lr.shape == (6, 3, 10, 10)
    assert hr.shape == (6, 3, 20, 20)
    for values in (lr, hr):
        assert values.dtype == torch.float32
        assert values.is_contiguous()
        assert values.min() >= 0
        assert 0.5 < values.max() <= 1


def test_lr_and_hr_patches_show_the_same_place(sets: tuple[ImageSet, ...]) -> None:
    """Away from its border, an LR patch is its HR patch scaled down, in whatever orientation (but for rounding)."""
    lr, hr = (values.numpy() * 255 for values in PatchSource(sets, patch=12, batch=32, seed=3).batch(5))
    errors = []
    for small, large in zip(lr, hr, strict=True):
        again = downscale(np.round(large.transpose(1, 2, 0)).astype(np.uint8), 2).transpose(2, 0, 1)
        errors.append(np.abs(again - small)[:, 2:-2, 2:-2].max())
    assert max(errors) < 9  # the order of the axes and the rounding between them is seen in turned patches
    assert np.median(errors) < 4
    assert np.abs(lr[0] - lr[1]).max() > 20


def test_every_patch_is_cut_from_an_image(sets: tuple[ImageSet, ...]) -> None:
    source = PatchSource(sets, patch=8, batch=8, flip=False, rotate=False)
    images = [picture(index) for index in range(4)]
    for hr in source.batch(1)[1]:
        patch = (hr.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        views = (np.lib.stride_tricks.sliding_window_view(image, (16, 16, 3))[::2, ::2, 0] for image in images)
        assert any((view == patch).all(axis=(2, 3, 4)).any() for view in views)


def test_a_batch_depends_on_seed_and_step_alone(sets: tuple[ImageSet, ...]) -> None:
    source = PatchSource(sets, patch=8, batch=4, seed=1)
    want = [source.batch(step) for step in range(7)]
    assert not same(want[0], want[1])
    assert not same(want[0], PatchSource(sets, patch=8, batch=4, seed=2).batch(0))
    for workers in (0, 1, 3):
        fresh = PatchSource(sets, patch=8, batch=4, seed=1)
        got = list(fresh.steps(2, 7, workers=workers))
        assert [step for step, _, _ in got] == [2, 3, 4, 5, 6]
        assert all(same(want[step], (lr, hr)) for step, lr, hr in got)


@pytest.mark.parametrize("read", [False, True])
def test_memory_does_not_change_the_patches(tmp_path: Path, read: bool) -> None:
    fill(tmp_path / "HR", tmp_path / "LR" if read else None, count=4)
    sets = find_sets(tmp_path, 2)
    sources = [PatchSource(sets, patch=9, batch=16, cache_bytes=size) for size in (0, 30_000, 10**9)]
    assert [source._kept for source in sources] == [0, 2, 4]
    first, *others = ([source.batch(step) for step in range(2)] for source in sources)
    assert all(same(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_processes_share_a_batch(sets: tuple[ImageSet, ...]) -> None:
    whole = PatchSource(sets, patch=8, batch=6).batch(3)
    parts = [PatchSource(sets, patch=8, batch=6, rank=rank, world=3).batch(3) for rank in range(3)]
    assert all(part[0].shape[0] == 2 for part in parts)
    assert same(whole, (torch.cat([lr for lr, _ in parts]), torch.cat([hr for _, hr in parts])))


def test_images_places_and_orientations_are_drawn_evenly() -> None:
    one = leaves_set(1, 16, scale=2)
    tall = torch.from_numpy(np.ascontiguousarray(one.pairs[0].hr.draw())).permute(2, 0, 1)
    orientations = {
        (turned, *flips): torch.flip(tall.transpose(1, 2) if turned else tall, flips)
        for turned in (False, True)
        for flips in ([], [1], [2], [1, 2])
    }
    counts: Counter[tuple[int, ...]] = Counter()
    for hr in PatchSource([one], patch=8, batch=800).batch(0)[1]:
        levels = (hr * 255).round().to(torch.uint8)
        counts.update(key for key, image in orientations.items() if torch.equal(image, levels))
    assert len(counts) == 8
    assert all(60 < count < 140 for count in counts.values())


@pytest.mark.parametrize(("flip", "rotate", "ways"), [(False, False, 1), (True, False, 4), (False, True, 2)])
def test_orientations_can_be_turned_off(flip: bool, rotate: bool, ways: int) -> None:
    source = PatchSource([leaves_set(1, 16, scale=2)], patch=8, batch=64, flip=flip, rotate=rotate)
    assert len({values.numpy().tobytes() for values in source.batch(0)[0]}) == ways


def test_damaged_and_small_images_are_noted_and_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, count=2)
    torn = save(picture(5), tmp_path / "torn.png")
    torn.write_bytes(torn.read_bytes()[:2000])  # its head is whole, so it is found out on reading
    save(picture(6, 24, 24), tmp_path / "small.png")
    source = PatchSource(find_sets(tmp_path, 2), patch=16, batch=12)
    assert source.notes == (f"{tmp_path / 'small.png'}: 24x24 pixels are less than a patch of 32x32",)
    assert source.batch(0)[0].shape == (12, 3, 16, 16)
    assert len(source.notes) == 2
    assert source.notes[1].startswith(f"{torn}: ")
    again = PatchSource(find_sets(tmp_path, 2), patch=16, batch=12)
    assert same(list(again.steps(0, 2))[1][1:], source.batch(1))


def test_all_damaged(tmp_path: Path) -> None:
    torn = save(picture(5), tmp_path / "torn.png")
    torn.write_bytes(torn.read_bytes()[:2000])
    source = PatchSource(find_sets(tmp_path, 2), patch=16, batch=2)
    with pytest.raises(InputError, match="no training image can be read"):
        next(source.steps(0))


def test_drawn_pictures_are_images_too() -> None:
    sets = [leaves_set(3, 33, scale=2, seed=4)]
    _, hr = PatchSource(sets, patch=16, batch=4).batch(0)
    assert hr.shape == (4, 3, 32, 32)
    assert PatchSource(sets, patch=16, batch=2).steps_per_epoch == 2


def test_leaving_early_stops_the_workers(sets: tuple[ImageSet, ...]) -> None:
    steps = PatchSource(sets, patch=8, batch=2).steps(0, workers=2)
    assert next(steps)[0] == 0
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


def test_refusals(sets: tuple[ImageSet, ...]) -> None:
    with pytest.raises(InputError, match="as many for each of the 2 processes"):
        PatchSource(sets, patch=8, batch=3, world=2)
    with pytest.raises(InputError, match="no training image has 100x100 pixels"):
        PatchSource(sets, patch=50, batch=2)
    with pytest.raises(InputError, match="one scale at a time"):
        PatchSource([*sets, leaves_set(1, 32, scale=3)], patch=8, batch=2)
    with pytest.raises(InputError, match="a seed of -1"):
        PatchSource(sets, patch=8, batch=2, seed=-1).batch(0)
