"""PSNR and SSIM against scikit-image's and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fxprune.errors import InputError
from fxprune.train.dead_leaves import dead_leaves
from fxprune.train.metrics import Protocol, luma


def damaged(image: np.ndarray, amount: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, amount, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("amount", [0.5, 8.0, 60.0])
@pytest.mark.parametrize("crop", [0, 3])
def test_equal_to_scikit_image(amount: float, crop: int) -> None:
    color, metrics = pytest.importorskip("skimage.color"), pytest.importorskip("skimage.metrics")
    (image,) = dead_leaves(1, (48, 70), seed=4)
    other = damaged(image, amount, seed=1)
    inner = slice(crop, -crop or None), slice(crop, -crop or None)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}

    y, z = (color.rgb2ycbcr(one)[..., 0][inner] for one in (image, other))
    score = Protocol("Y", crop).score(other, image)
    assert score.psnr == pytest.approx(metrics.peak_signal_noise_ratio(y, z, data_range=255), abs=1e-4)
    assert score.ssim == pytest.approx(metrics.structural_similarity(y, z, **window), abs=1e-4)

    rgb, bgr = (one[inner].astype(np.float64) for one in (image, other))
    score = Protocol("RGB", crop).score(other, image)
    assert score.psnr == pytest.approx(metrics.peak_signal_noise_ratio(rgb, bgr, data_range=255), abs=1e-4)
    want = metrics.structural_similarity(rgb, bgr, channel_axis=2, **window)
    assert score.ssim == pytest.approx(want, abs=1e-4)


def test_psnr_by_hand() -> None:
    black = np.zeros((16, 16, 3), dtype=np.uint8)
    score = Protocol("RGB").score(black + np.uint8(5), black)
    assert score.psnr == pytest.approx(20 * math.log10(255 / 5))
    # luma spans 219 levels of 255
    assert Protocol("Y").score(black + np.uint8(5), black).psnr == pytest.approx(20 * math.log10(255 / 5 * 255 / 219))


def test_luma_spans_16_to_235() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert luma(image)[0] == pytest.approx([16, 235, 81.481, 144.553, 40.966])


def test_only_what_is_inside_the_crop_counts() -> None:
    (image,) = dead_leaves(1, 32, seed=1)
    other = image.copy()
    other[:2] = other[-2:] = 0
    other[:, :2] = other[:, -2:] = 255
    assert Protocol("Y", 2).score(other, image).psnr == math.inf
    assert Protocol("Y", 1).score(other, image).psnr < 40


def test_equal_images_have_no_finite_psnr_and_json_says_so() -> None:
    (image,) = dead_leaves(1, 32, seed=1)
    score = Protocol().score(image, image)
    assert score.psnr == math.inf
    assert score.to_json() == {"psnr": None, "ssim": pytest.approx(1.0)}


def test_grey_is_measured_as_rgb() -> None:
    (image,) = dead_leaves(1, 32, seed=1)
    grey, other = image[..., 0], damaged(image[..., 0], 9, seed=2)
    repeated = (np.repeat(one[:, :, None], 3, axis=2) for one in (other, grey))
    assert Protocol("Y").score(other, grey) == Protocol("Y").score(*repeated)


def test_a_protocol_names_itself() -> None:
    assert Protocol("Y", 3).name == "Y, crop 3"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [(((16, 16, 3), (16, 17, 3)), "16x16 against 17x16"), (((13, 40, 3), (13, 40, 3)), "40x13 is too small")],
)
def test_refusals(shapes: tuple[tuple[int, ...], tuple[int, ...]], words: str) -> None:
    one, other = (np.zeros(shape, dtype=np.uint8) for shape in shapes)
    with pytest.raises(InputError, match=words):
        Protocol("Y", 2).score(one, other)
