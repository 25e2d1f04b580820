"""What a network takes is found by trying: scale, sizes, colours, range; images are handed to it accordingly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from fxprune.errors import InputError, ModelError
from fxprune.models import example_for
from fxprune.train.fitting import Fit, fit, fitted, told_peak
from fxprune.train.metrics import luma
from fxprune.train.resize import downscale, upscale
from fxprune.train.tiles import Tiling, padded
from fxprune.train.upscaling import AS_IS, Bicubic, Setup, super_resolve

from .folders import picture

LR = downscale(picture(1), 2)


class Larger(nn.Module):
    """Each pixel `scale` times each way, after a convolution that leaves it as it is; refuses some sizes."""

    def __init__(self, scale: int = 2, channels: int = 3, step: int = 1, only: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.scale, self.step, self.only = scale, step, only
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        if rows % self.step or columns % self.step or self.only not in (None, (rows, columns)):
            raise ValueError(f"no images of {rows}x{columns}")
        return functional.interpolate(self.conv(x), scale_factor=self.scale)


class Windowed(nn.Module):
    """A local network that takes rows in multiples of 4 and columns in multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.unflatten(3, (-1, 8)).unflatten(2, (-1, 4))
        return functional.pixel_shuffle(self.conv(windows.flatten(2, 3).flatten(3, 4)), 2)


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (Larger(), Fit(2)),
        (Larger(3), Fit(3)),
        (Larger(1), Fit(1)),
        (Larger(2, channels=1), Fit(2, channels=1)),
        (Larger(4, step=7), Fit(4, multiple=(7, 7))),
        (Larger(4, step=16), Fit(4, multiple=(16, 16))),
        (Larger(2, step=64), Fit(2, multiple=(64, 64))),
        (Larger(2, only=(48, 48)), Fit(2, multiple=(48, 48), fixed=True)),
        (Larger().double(), Fit(2)),
        (Windowed(), Fit(2, multiple=(8, 8))),
    ],
)
def test_what_a_network_takes_is_found(network: nn.Module, found: Fit) -> None:
    network.train()
    example = tuple(x.to(next(network.parameters()).dtype) for x in example_for(network))
    assert fit(network, example) == found
    assert network.training


@pytest.mark.parametrize("only", [(40, 48), (48, 48)])
@pytest.mark.parametrize("step", [1, 3, 8])
def test_networks_that_take_some_sizes_only_see_every_image(step: int, only: tuple[int, int]) -> None:
    want = super_resolve(Larger(), LR, 2)
    assert np.array_equal(super_resolve(Larger(step=step), LR, 2, fitted(AS_IS, Fit(2, 3, (step, step)))), want)
    setup = fitted(Setup(Tiling(512, 4)), Fit(2, 3, only, fixed=True))
    assert np.array_equal(super_resolve(Larger(only=only), LR, 2, setup), want)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_padding_changes_nothing_but_near_the_bottom_and_the_right(h: int, w: int) -> None:
    network, image = Windowed(), torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(h * 50 + w))
    with torch.no_grad():
        made = padded(network, 2, (4, 8))(image)
        want = functional.pixel_shuffle(network.conv(image), 2)
    assert made.shape == want.shape
    assert torch.allclose(made[:, :, : 2 * (h - 2), : 2 * (w - 2)], want[:, :, : 2 * (h - 2), : 2 * (w - 2)], atol=1e-6)


def test_grey_networks_see_luma_and_colour_is_enlarged_beside() -> None:
    seen = []

    class Watching(Larger):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return super().forward(x)

    made = super_resolve(Watching(channels=1), LR, 2, Setup(channels=1))
    assert np.allclose(seen[0].numpy()[0, 0] * 255, luma(LR), atol=1e-4)
    assert luma(LR).min() >= 16
    want = np.repeat(np.repeat(luma(LR), 2, axis=0), 2, axis=1)
    change, free = want - luma(upscale(LR, 2)), (made > 0) & (made < 255)
    inside = free.all(axis=2)
    assert np.abs(luma(made) - want)[inside].max() < 0.51
    # all three colours moved together: what is left between them is that of bicubic interpolation
    moved = made.astype(float) - upscale(LR, 2)
    assert np.abs(moved - change[..., None] * 255 / 219)[inside].max() < 0.51


def test_the_range_is_told_by_what_looks_like_an_image() -> None:
    class OfLevels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            # as trained with a mean colour of levels: at values of 0 to 1 there is nothing but the mean
            return functional.interpolate((x - 114.0).clamp(-60, 200) + 114.0, scale_factor=2)

    torch.manual_seed(0)
    untrained = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    ranges = {told_peak(network, LR, 2, AS_IS) for network in (Larger(), untrained, Bicubic(2))}
    assert ranges == {1.0}
    assert told_peak(OfLevels(), LR, 2, AS_IS) == 255.0


def test_numbers_of_any_precision() -> None:
    plain = super_resolve(Larger(), LR, 2)
    assert np.array_equal(super_resolve(Larger().double(), LR, 2), plain)
    assert np.abs(super_resolve(Larger().bfloat16(), LR, 2).astype(int) - plain).max() <= 1


REFUSED = {
    "several inputs": (Larger(), "1x3x48x48 1x3x48x48", "something other than one image"),
    "six channels": (Larger(2, channels=6), "1x6x48x48", "images of 6 channels"),
    "no size taken": (Larger(step=1000), "1x3x48x48", "does not take an input of 1x3x48x48: ValueError: no images of"),
    "smaller": (nn.Conv2d(3, 3, 3), "1x3x48x48", "turns 1x3x48x48 into 1x3x46x46, which is no image a whole number"),
    "classes": (nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), "1x3x48x48", "turns 1x3x48x48 into 1x5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    network, shapes, words = REFUSED[case]
    example = tuple(torch.rand(*map(int, shape.split("x"))) for shape in shapes.split())
    if case == "classes":
        network(*example)
    with pytest.raises((InputError, ModelError), match=words):
        fit(network, example)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no such window"), r"test_fitting.py:\d+: the model does not run on 32x24 pixels: ValueError: no"),
        (torch.OutOfMemoryError("CUDA out of memory"), "an image of 32x24 pixels does not fit into memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "does not fit into memory\n.*--tile"),
    ],
)
def test_what_a_network_raises_is_one_message(error: Exception, words: str) -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    with pytest.raises(ModelError, match=words):
        super_resolve(Failing(), LR, 2)
