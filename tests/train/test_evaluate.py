"""Evaluation: tiles equal the whole, orientations average out, results add up and travel as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fxprune.errors import InputError, ModelError, OutputError
from fxprune.train.comparison import compare, telling_crop
from fxprune.train.evaluate import evaluate
from fxprune.train.layouts import find_sets
from fxprune.train.metrics import Protocol
from fxprune.train.pictures import leaves_set
from fxprune.train.resize import downscale, upscale
from fxprune.train.tiles import Tiling, self_ensemble, upscale_tiled
from fxprune.train.upscaling import Bicubic, Contender, Setup, super_resolve

from .folders import fill, picture, save


def small_net(scale: int = 2, layers: int = 3) -> nn.Module:
    """Convolutions that see `layers` pixels to each side."""
    torch.manual_seed(0)
    widths = [3, *[6] * (layers - 1), 3 * scale**2]
    convs = [nn.Conv2d(widths[i], widths[i + 1], 3, padding=1) for i in range(layers)]
    return nn.Sequential(*convs, nn.PixelShuffle(scale))


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 40), st.integers(5, 40), st.integers(4, 13), st.integers(3, 5))
def test_tiles_give_the_whole_when_they_overlap_by_the_receptive_field(h: int, w: int, size: int, overlap: int) -> None:
    net, image = small_net(), torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(h * 100 + w))
    with torch.no_grad():
        whole, tiled = net(image), upscale_tiled(net, image, 2, Tiling(size, overlap))
    assert torch.allclose(whole, tiled, atol=1e-6)


def test_a_smaller_overlap_shows() -> None:
    net, image = small_net(), torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (net(image) - upscale_tiled(net, image, 2, Tiling(10, 2))).abs().max() > 1e-4


def test_small_images_stay_whole() -> None:
    seen = []

    def upscaler(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape[2:]))
        return images

    image = torch.zeros(1, 3, 20, 45)
    upscale_tiled(upscaler, image, 1, Tiling(30, 5))
    assert seen == [(20, 45)]
    upscale_tiled(upscaler, image, 1, Tiling(29, 5))
    assert seen[1:] == [(20, 34), (20, 21)]


def test_the_self_ensemble_knows_no_orientation() -> None:
    net, image = small_net(), torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(1))
    averaged = self_ensemble(net)
    with torch.no_grad():
        result = averaged(image)
        assert not torch.allclose(result, net(image), atol=1e-3)
        assert torch.allclose(averaged(image.flip(3)), result.flip(3), atol=1e-6)
        assert torch.allclose(averaged(image.transpose(2, 3)), result.transpose(2, 3), atol=1e-6)


def test_the_self_ensemble_of_what_knows_no_orientation_is_itself() -> None:
    class Even(nn.Module):
        """A kernel that no turn or flip changes, between pixels made larger."""

        def forward(self, x: Tensor) -> Tensor:
            kernel = torch.tensor([[1.0, 2, 1], [2, 5, 2], [1, 2, 1]]).expand(3, 1, 3, 3)
            return functional.conv2d(functional.interpolate(x, scale_factor=2), kernel, padding=1, groups=3).tanh()

    image = torch.rand(1, 3, 9, 14, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(self_ensemble(Even())(image), Even()(image), atol=1e-6)


def test_bicubic_is_measured_as_by_hand(tmp_path: Path) -> None:
    fill(tmp_path / "One", count=2)
    fill(tmp_path / "Two", count=1, first=2)
    seen = []
    result = evaluate(
        Bicubic(2),
        find_sets(tmp_path, 2),
        name="bicubic",
        save=tmp_path / "out",
        progress=lambda name, image: seen.append((name, image.name)),
    )
    assert seen == [("One", "0001"), ("One", "0002"), ("Two", "0003")]
    scores = []
    for index in range(2):
        made = upscale(downscale(picture(index), 2), 2)
        scores.append(Protocol("Y", 2).score(made, picture(index)))
        assert result.sets[0].images[index].scores[0] == scores[-1]
        saved = np.array(Image.open(tmp_path / "out" / "One" / f"{index + 1:04}.png"))
        assert np.array_equal(saved, made)
    assert result.sets[0].means[0].psnr == pytest.approx((scores[0].psnr + scores[1].psnr) / 2)
    assert result.sets[0].means[1].psnr < result.sets[0].means[0].psnr
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain["protocols"] == ["Y, crop 2", "RGB, crop 2"]
    assert plain["sets"][1]["images"][0]["name"] == "0003"
    assert plain["sets"][0]["means"][0]["psnr"] == result.sets[0].means[0].psnr


def test_range_tiles_and_ensemble_are_options_of_the_same_model() -> None:
    class OfLevels(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return net(images / 255) * 255

    net, lr = small_net(), downscale(picture(1), 2)
    plain = super_resolve(net, lr, 2)
    assert plain.dtype == np.uint8
    assert plain.shape == (48, 64, 3)
    for model, setup in (
        (OfLevels(), Setup(peak=255)),
        (net, Setup(tiling=None)),
        (net, Setup(tiling=Tiling(16, 4))),
    ):
        assert np.abs(super_resolve(model, lr, 2, setup).astype(int) - plain).max() <= 1
    assert np.abs(super_resolve(net, lr, 2, Setup(ensemble=True)).astype(int) - plain).max() > 1


def test_each_module_keeps_its_mode() -> None:
    net = nn.Sequential(nn.Dropout(0.5), small_net())
    net.train()
    net[0].eval()
    evaluate(net, [leaves_set(1, 32, scale=2)])
    assert [module.training for module in (net, net[0], net[1])] == [True, False, True]
    assert all(parameter.grad is None for parameter in net.parameters())


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    fill(tmp_path, count=1)
    torn = save(picture(5), tmp_path / "torn.png")
    torn.write_bytes(torn.read_bytes()[:2000])
    save(picture(6, 16, 16)[:, :16], tmp_path / "tiny.png")
    (one,) = evaluate(Bicubic(4), find_sets(tmp_path, 4)).sets
    assert [image.name for image in one.images] == ["0001"]
    assert len(one.notes) == 2
    assert "16x16 is too small" in one.notes[0]
    assert "torn.png" in one.notes[1]


def test_a_set_of_which_nothing_can_be_measured_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "good", count=1)
    save(picture(6, 16, 16), tmp_path / "tiny" / "one.png")
    result = evaluate(Bicubic(4), find_sets(tmp_path, 4))
    assert [one.name for one in result.sets] == ["good"]
    assert "16x16 is too small" in result.notes[0]
    assert len(result.notes) == len(result.to_json()["left_out"]) == 1


def test_images_that_are_read_are_never_written_over(tmp_path: Path) -> None:
    fill(tmp_path / "Set", count=1)
    before = (tmp_path / "Set" / "0001.png").read_bytes()
    with pytest.raises(OutputError, match=r"0001.png is one of the images to measure on"):
        evaluate(Bicubic(2), find_sets(tmp_path / "Set", 2), save=tmp_path)
    assert (tmp_path / "Set" / "0001.png").read_bytes() == before


def test_images_whose_names_differ_in_their_ending_alone_are_saved_apart(tmp_path: Path) -> None:
    for ending in ("png", "bmp"):
        save(picture(1), tmp_path / "Set" / f"a.{ending}")
    (one,) = evaluate(Bicubic(2), find_sets(tmp_path / "Set", 2), save=tmp_path / "out").sets
    assert [image.name for image in one.images] == ["a.bmp", "a.png"]
    assert sorted(path.name for path in (tmp_path / "out" / "Set").iterdir()) == ["a.bmp.png", "a.png.png"]


def test_what_enlarges_nothing_is_measured_to_the_border(tmp_path: Path) -> None:
    save(picture(1), tmp_path / "HR" / "a.png")
    save(picture(2), tmp_path / "LR" / "a.png")
    result = evaluate(nn.Identity(), find_sets(tmp_path, 1))
    assert result.protocols == (Protocol("Y", 0), Protocol("RGB", 0))
    assert result.sets[0].means[0] == Protocol("Y", 0).score(picture(2), picture(1))


class Fixed(nn.Module):
    """Gives the same tensor for every image."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, _images: Tensor) -> Tensor:
        return self.output


def test_refusals(tmp_path: Path) -> None:
    leaves = leaves_set(1, 32, scale=2)
    with pytest.raises(ModelError, match=r"turned 1x3x16x16 into 1x3x48x48, not 1x3x32x32\n.*is it a x2 model"):
        evaluate(Bicubic(3), [leaves])
    with pytest.raises(ModelError, match="not finite"):
        evaluate(Fixed(torch.full((1, 3, 32, 32), math.nan)), [leaves])
    with pytest.raises(InputError, match="one scale at a time"):
        evaluate(Bicubic(2), [leaves, leaves_set(1, 32, scale=4)])
    with pytest.raises(InputError, match="no image of dead_leaves can be measured"):
        evaluate(Bicubic(8), [leaves_set(1, 24, scale=8)])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        evaluate(Bicubic(2), [leaves], save=tmp_path / "file")
    with pytest.raises(InputError, match="tiles of 0 pixels"):
        Tiling(0)


def test_the_comparison_shows_each_upscaler_where_bicubic_errs_most() -> None:
    pair = leaves_set(1, 96, scale=2).pairs[0]
    truth = pair.hr.draw()
    perfect = Fixed(torch.from_numpy(truth).permute(2, 0, 1)[None] / 255)
    contenders = [Contender("compact", perfect), Contender("dense", Bicubic(2))]
    sheet = compare(pair, 2, contenders, crop=40)
    top, left, side = telling_crop(upscale(downscale(truth, 2), 2), truth, 40)
    want = np.repeat(np.repeat(truth[top : top + side, left : left + side], 6, axis=0), 6, axis=1)
    panels = [np.array(sheet)[26 : 26 + 240, 256 + 248 * k : 496 + 248 * k] for k in range(5)]
    assert sheet.width == 256 + 5 * 248
    assert np.array_equal(panels[2], want)
    assert np.array_equal(panels[4], want)
    assert np.array_equal(panels[1], panels[3])
    assert not np.array_equal(panels[0], panels[1])


def test_the_telling_crop_is_where_the_error_is() -> None:
    truth = np.zeros((40, 60, 3), dtype=np.uint8)
    image = truth.copy()
    image[30:36, 50:56] = 200
    top, left, side = telling_crop(image, truth, 10)
    assert top <= 30
    assert left <= 50
    assert top + side >= 36
    assert left + side >= 56
    assert telling_crop(image, truth, 40)[0] == 0
