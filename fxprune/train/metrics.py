"""Two uint8 images → PSNR and SSIM by a protocol that names itself, in double precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import correlate1d

from fxprune.errors import InputError
from fxprune.train.resize import Pixels

__all__ = ["Floats", "Protocol", "Score", "luma", "psnr", "ssim"]

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

PEAK = 255.0  # the largest level of an 8-bit image
WINDOW, SIGMA = 11, 1.5  # SSIM's Gaussian window (Wang et al. 2004): width in pixels, standard deviation
K1, K2 = 0.01, 0.03  # SSIM's stabilisers (ibid.)


@dataclass(frozen=True, slots=True)
class Score:
    """How near an image is to another."""

    psnr: float  # dB; infinite for equal images
    ssim: float  # at most 1, which is equal

    def to_json(self) -> dict[str, float | None]:
        """Plain values; a PSNR of infinity, which JSON cannot say, becomes None."""
        return {"psnr": self.psnr if math.isfinite(self.psnr) else None, "ssim": self.ssim}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How two images are compared. PSNRs of different protocols must not be compared: RGB lies 1.9 dB under Y."""

    channel: Literal["Y", "RGB"] = "Y"
    crop: int = 0  # pixels cut off at each side before comparing, by custom the scale

    @property
    def name(self) -> str:
        """For instance `Y, crop 2`."""
        return f"{self.channel}, crop {self.crop}"

    def score(self, image: Pixels, truth: Pixels) -> Score:
        """PSNR and SSIM of two uint8 images of one size, H×W×3 (or H×W, taken as grey RGB).

        RGB: PSNR of the mean square over all three channels, mean of the three channels' SSIM.

        Raises:
            InputError: the sizes differ, or nothing of 11×11 pixels is left after cropping.
        """
        first, second = self._planes(image), self._planes(truth)
        if first.shape != second.shape:
            raise InputError(f"images of different size: {_size(image)} against {_size(truth)}")
        if min(first.shape[:2]) < WINDOW:
            raise InputError(
                f"an image of {_size(truth)} is too small to be measured",
                hint=f"SSIM needs {WINDOW}x{WINDOW} pixels after {self.crop} are cropped at each side",
            )
        values = [ssim(first[..., c], second[..., c]) for c in range(first.shape[2])]
        return Score(psnr(first, second), math.fsum(values) / len(values))

    def _planes(self, image: Pixels) -> Floats:
        rgb = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
        height, width = rgb.shape[:2]
        inner = rgb[self.crop : height - self.crop, self.crop : width - self.crop]
        return luma(inner)[:, :, None] if self.channel == "Y" else inner.astype(np.float64)


def luma(rgb: Pixels) -> Floats:
    """Y of YCbCr (ITU-R BT.601, studio range 16..235) of H×W×3 levels, not rounded.

    Y = 16 + 65.481 R + 128.553 G + 24.966 B, with R, G, B in [0, 1].
    """
    levels = rgb.astype(np.float64)
    return (65.481 * levels[..., 0] + 128.553 * levels[..., 1] + 24.966 * levels[..., 2]) / PEAK + 16.0


def psnr(image: Floats, truth: Floats) -> float:
    """Peak signal-to-noise ratio of levels in 0..255: 10 log₁₀(255² / mean square error), in dB."""
    error = float(np.mean(np.square(image - truth)))
    return 10.0 * math.log10(PEAK**2 / error) if error > 0 else math.inf


def ssim(image: Floats, truth: Floats) -> float:
    """Structural similarity (Wang et al. 2004) of two H×W planes of levels in 0..255.

    (2 μₓμᵧ + C₁)(2 σₓᵧ + C₂) / ((μₓ² + μᵧ² + C₁)(σₓ² + σᵧ² + C₂)), averaged over the windows that lie inside.
    """
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * np.square(offsets / SIGMA))
    weights /= weights.sum()
    inside = slice(WINDOW // 2, -(WINDOW // 2))

    def mean(plane: Floats) -> Floats:
        rows = correlate1d(plane, weights, axis=0, mode="nearest")[inside]
        blurred: Floats = correlate1d(rows, weights, axis=1, mode="nearest")[:, inside]
        return blurred

    mean_x, mean_y = mean(image), mean(truth)
    var_x = mean(image * image) - mean_x * mean_x
    var_y = mean(truth * truth) - mean_y * mean_y
    covariance = mean(image * truth) - mean_x * mean_y
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    likeness /= (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return float(likeness.mean())


def _size(image: Pixels) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
