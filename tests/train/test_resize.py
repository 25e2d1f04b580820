"""Bicubic resizing against exact rational arithmetic, and its laws."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fxprune.errors import InputError
from fxprune.train.resize import (
    MARGIN,
    crop_to_multiple,
    downscale,
    downscale_tensor,
    upscale,
    upscale_tensor,
)


def pixels(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def cubic(x: Fraction) -> Fraction:
    """Keys 1981, a = -1/2."""
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x <= 2 else Fraction(0)


def exact(line: list[int], scale: int, up: bool) -> list[Fraction]:
    """A line of levels resized with imresize's formula in rational numbers, neither clamped nor rounded."""
    length, factor = (len(line) * scale, Fraction(scale)) if up else (len(line) // scale, Fraction(1, scale))
    stretch = min(factor, Fraction(1))
    out = []
    for i in range(length):
        centre = (i + Fraction(1, 2)) / factor - Fraction(1, 2)
        taps = range(int(centre - 2 / stretch) - 2, int(centre + 2 / stretch) + 3)
        weights = [cubic(stretch * (centre - t)) for t in taps]
        levels = [line[min(max(t, 0), len(line) - 1)] for t in taps]
        out.append(sum((w * v for w, v in zip(weights, levels, strict=True)), Fraction(0)) / sum(weights))
    return out


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_each_axis_is_the_exact_formula_clamped_and_rounded_half_up(scale: int, up: bool, axis: int) -> None:
    line = pixels(24, 1, seed=scale)[:, 0, 0]
    image = np.repeat(line[:, None], scale, axis=1)  # constant along the other axis, which therefore changes nothing
    image = image if axis == 0 else image.T
    got = (upscale if up else downscale)(image, scale)
    got = got[:, 0] if axis == 0 else got[0]
    want = [min(max(v, Fraction(0)), Fraction(255)) for v in exact(line.tolist(), scale, up)]
    ties = [v for v in want if (v + Fraction(1, 2)).denominator == 1]
    assert not ties or scale in (2, 4)  # thirds are not exact in floating point: a tie there could fall either way
    assert got.tolist() == [int(v + Fraction(1, 2)) for v in want]


@pytest.mark.parametrize("scale", [2, 3])
def test_height_goes_first_and_is_rounded_before_the_width(scale: int) -> None:
    image = pixels(12 * scale, 12 * scale, seed=1, channels=1)[:, :, 0]

    def one_axis(plane: np.ndarray, axis: int) -> np.ndarray:
        lines = plane.T if axis == 0 else plane
        small = [downscale(np.repeat(line[:, None], scale, axis=1), scale)[:, 0] for line in lines]
        return np.array(small).T if axis == 0 else np.array(small)

    got = downscale(image, scale)
    assert np.array_equal(got, one_axis(one_axis(image, 0), 1))
    assert not np.array_equal(got, one_axis(one_axis(image, 1), 0))  # the order is seen


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(3, 12), st.integers(3, 12), st.integers(0, 255))
def test_a_flat_image_stays_flat(scale: int, rows: int, columns: int, level: int) -> None:
    image = np.full((rows * scale, columns * scale, 3), level, dtype=np.uint8)
    small = downscale(image, scale)
    assert small.shape == (rows, columns, 3)
    assert (small == level).all()
    assert np.array_equal(upscale(small, scale), image)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 3, 4]), st.integers(0, 8), st.integers(0, 8))
def test_a_window_with_its_margin_comes_out_as_from_the_whole(scale: int, y: int, x: int) -> None:
    image, size = pixels(20 * scale, 20 * scale, seed=2), 8
    top, left = max(0, y - MARGIN), max(0, x - MARGIN)
    around = image[top * scale : (y + size + MARGIN) * scale, left * scale : (x + size + MARGIN) * scale]
    window = downscale(around, scale)[y - top : y - top + size, x - left : x - left + size]
    assert np.array_equal(window, downscale(image, scale)[y : y + size, x : x + size])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_what_arrays_give(dtype: torch.dtype) -> None:
    image = pixels(24, 36, seed=3)
    values = (torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255).to(dtype)
    for array, tensor in ((downscale, downscale_tensor), (upscale, upscale_tensor)):
        got = tensor(values, 2)
        assert got.dtype == dtype
        want = torch.from_numpy(array(image, 2)).permute(2, 0, 1)[None]
        assert torch.equal((got * 255).round().to(torch.uint8), want)


def test_without_rounding_values_lie_between_levels() -> None:
    values = torch.from_numpy(pixels(24, 24, seed=4)).permute(2, 0, 1)[None].double() / 255
    exactly, rounded = upscale_tensor(values, 2, rounded=False), upscale_tensor(values, 2)
    levels = exactly * 255
    assert (levels - levels.round()).abs().max() > 0.4
    assert exactly.min() < 0  # the cubic overshoots
    assert rounded.min() >= 0


def test_grey_planes_and_crops() -> None:
    plane = pixels(25, 26, seed=5, channels=1)[:, :, 0]
    assert downscale(crop_to_multiple(plane, 4), 4).shape == (6, 6)
    assert crop_to_multiple(plane, 1).shape == plane.shape
    assert upscale(plane[:1, :1], 3).shape == (3, 3)


@pytest.mark.parametrize(
    ("shape", "scale", "words"),
    [((9, 8), 2, "8x9 pixels do not divide by 2"), ((8, 8), 0, "a scale of 0"), ((0, 4), 2, "without pixels")],
)
def test_refusals(shape: tuple[int, int], scale: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        downscale(np.zeros(shape, dtype=np.uint8), scale)
