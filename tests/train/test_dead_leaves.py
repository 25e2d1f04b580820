"""Dead leaves: reproducible to the bit, and of natural images' statistics."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest

from fxprune.errors import InputError
from fxprune.train import dead_leaves as module
from fxprune.train.dead_leaves import Leaves, dead_leaves
from fxprune.train.draws import Stream, philox


def test_the_same_picture_on_every_machine() -> None:
    (picture,) = dead_leaves(1, 96, seed=7)
    assert hashlib.sha256(picture.tobytes()).hexdigest()[:16] == "9c6ea1c9e2661c4c"


def test_a_picture_depends_on_its_seed_and_number_alone() -> None:
    first, second = dead_leaves(2, 64, seed=1)
    assert np.array_equal(second, Leaves(1, 1, 64, 64).draw())
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, dead_leaves(1, 64, seed=2)[0])


def test_sizes() -> None:
    (picture,) = dead_leaves(1, (48, 100), seed=1)
    assert picture.shape == (48, 100, 3)
    assert picture.dtype == np.uint8
    assert dead_leaves(0, 64) == []


def power(pictures: list[np.ndarray], low: float, high: float) -> float:
    """The exponent of the luminance's mean power spectrum, fitted between two frequencies in cycles per picture."""
    size = len(pictures[0])
    along = np.fft.fftfreq(size) * size
    frequency = np.hypot(along[:, None], along[None, :])
    planes = [picture.mean(axis=2) for picture in pictures]
    spectrum = np.mean([np.abs(np.fft.fft2(plane - plane.mean())) ** 2 for plane in planes], axis=0)
    edges = np.geomspace(low, high, 9)
    bands = [(frequency >= a) & (frequency < b) for a, b in itertools.pairwise(edges)]
    middles = np.log(np.sqrt(edges[:-1] * edges[1:]))
    return float(np.polyfit(middles, [math.log(spectrum[band].mean()) for band in bands], 1)[0])


def test_the_power_spectrum_falls_as_of_natural_images() -> None:
    """As 1/f², within the spread of exponents that photographs have about it."""
    pictures = dead_leaves(12, 192, seed=5)
    assert -2.6 < power(pictures, 3, 80) < -1.8
    noise = [np.random.default_rng(i).integers(0, 256, (192, 192, 3)) for i in range(3)]
    assert power(noise, 3, 80) > -0.3  # the fit can tell


def test_radii_follow_the_inverse_cube() -> None:
    """P(radius > r) = (r⁻² − R⁻²) / (r₀⁻² − R⁻²)."""
    shapes = module._scatter(module._Random(3, 0), 1024, 1024)
    least, most = module.SMALLEST * module.SUPERSAMPLE, 512
    assert shapes.radius.min() >= least * (1 - 1e-12)
    assert shapes.radius.max() <= most
    for r in (1.5 * least, 3 * least, 8 * least):
        want = (r**-2 - most**-2) / (least**-2 - most**-2)
        assert (shapes.radius > r).mean() == pytest.approx(want, abs=4 * math.sqrt(want / len(shapes.radius)))


def test_spans_are_the_pixels_inside_the_shapes() -> None:
    """Each pixel tried against each shape, on a plane whose edges meet."""
    rows, columns = 40, 56
    shapes = module._scatter(module._Random(11, 0), rows, columns)
    want = np.zeros((rows, columns), dtype=int)
    for leaf in range(len(shapes.x)):
        a, b, c = (axis[leaf] for axis in shapes.axes)
        for up in (-rows, 0, rows):
            for side in (-columns, 0, columns):
                dy = np.arange(rows)[:, None] + up - shapes.y[leaf]
                dx = np.arange(columns)[None, :] + side - shapes.x[leaf]
                inside = a * dx * dx + 2 * b * dx * dy + c * dy * dy <= 1
                for p, q, s in shapes.edges[:, :, leaf]:
                    inside &= p * dx + q * dy <= s
                want[inside] = leaf
    assert np.array_equal(module._visible(shapes, rows, columns), want)


def test_colours_are_spread_and_seldom_clipped() -> None:
    levels = np.array(dead_leaves(6, 96, seed=2)).reshape(-1, 3)
    assert (levels.mean(axis=0) > 80).all()
    assert (levels.mean(axis=0) < 150).all()
    assert (levels.std(axis=0) > 35).all()
    assert np.isin(levels, (0, 255)).mean() < 0.08
    red, green, blue = np.corrcoef(levels.T)[[0, 0, 1], [1, 2, 2]]
    assert min(red, green, blue) > 0.5  # natural colours are mostly grey


def test_places_have_streams_of_their_own() -> None:
    words = {tuple(philox(1, stream, *place).random_raw(4)) for stream in Stream for place in ((0,), (1,), (0, 1))}
    assert len(words) == 3 * len(Stream)
    assert np.array_equal(philox(1, Stream.LEAVES, 0).random_raw(4), philox(1, Stream.LEAVES, 0, 0).random_raw(4))


@pytest.mark.parametrize("arguments", [(1, 8, 0), (-1, 64, 0), (1, 64, -1)])
def test_refusals(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        dead_leaves(*arguments)
