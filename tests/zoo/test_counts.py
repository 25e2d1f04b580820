"""Parameter and MAC counts of the convolutional networks against the published figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from fxprune.zoo.parts import conv

from .counting import macs, meta, parameters, weights


@pytest.mark.parametrize(
    ("width", "scale", "expected", "giga"),
    [
        (256, 2, 19_507_468, 4492.512),
        (256, 3, 19_542_043, 1997.086),
        (256, 4, 19_590_448, 1127.906),
        (48, 2, 692_412, 159.153),
        (48, 3, 698_907, 71.287),
        (48, 4, 708_000, 40.684),
        (45, 2, 609_042, 139.968),
        (45, 3, 615_132, 62.732),
        (45, 4, 623_658, 35.832),
    ],
)
def test_lightweight_edsr(width: int, scale: int, expected: int, giga: float) -> None:
    """The nine networks of the ASSL and SRP tables; MACs are printed to a thousandth of a G, truncated or rounded."""
    net = meta("edsr", width=width, scale=scale, final_conv=False, mean_shift=False)
    assert parameters(net) == expected
    assert abs(macs(net, scale) / 1e9 - giga) < 1e-3


def test_edsr_baseline() -> None:
    """Row r = 0 of table 1 of ASSL and of SRP."""
    net = meta("edsr")
    assert parameters(net) == 1_369_883
    assert macs(net, 2) == 316_259_251_200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"blocks": 32, "width": 256, "scale": 4, "mean_shift": False}, 43_089_923),  # EDSR-L of ISS-P: 43,089,923
        ({"blocks": 8, "width": 128, "scale": 4, "mean_shift": False}, 3_696_643),  # EDSR-8-128 of width-sparsity
        ({"scale": 4, "mean_shift": False}, 1_517_571),  # EDSR-baseline x4: 1.5M in the papers
    ],
)
def test_other_edsrs(arguments: dict[str, object], expected: int) -> None:
    assert parameters(meta("edsr", **arguments)) == expected


def test_large_edsr_macs() -> None:
    """2894.5G for EDSR-L x4, as ISS-P counts it."""
    assert abs(macs(meta("edsr_large", scale=4, mean_shift=False), 4) / 1e9 - 2894.5) < 0.1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 15_444_667),  # RCAN x2 as ASSL and SRP count it, mean shift included
        ({"attention": False, "width": 96}, 34_466_907),  # SRPN's and ASSLN's large network before pruning
        ({"attention": False}, 15_328_667),  # the same, 64 wide
    ],
)
def test_rcan(arguments: dict[str, object], expected: int) -> None:
    assert parameters(meta("rcan", **arguments)) == expected


@pytest.mark.parametrize(("kernel", "expected"), [(1, 8_032), (5, 57_184)])
def test_srcnn(kernel: int, expected: int) -> None:
    """TPAMI paper: 9-1-5 has 8,032 weights, 9-5-5 has 57,184."""
    assert weights(meta("srcnn", channels=1, kernel=kernel)) == expected


def test_srcnn_macs() -> None:
    """52.7G in the table of CARN, for 9-5-5 on luminance."""
    assert round(macs(meta("srcnn", channels=1, kernel=5), 2, 1) / 1e9, 1) == 52.7


@pytest.mark.parametrize(("name", "expected"), [("fsrcnn", 12_464), ("fsrcnn_small", 3_937)])
def test_fsrcnn(name: str, expected: int) -> None:
    """Table 1 of the paper: 12,464 for FSRCNN(56, 12, 4), 3,937 for FSRCNN-s; weights only."""
    assert weights(meta(name, channels=1)) == expected


def test_vdsr() -> None:
    """20 layers of 64 channels on luminance, 612.6G in the table of CARN; 665K is printed there."""
    net = meta("vdsr", channels=1)
    assert parameters(net) == 665_921
    assert round(macs(net, 2, 1) / 1e9, 1) == 612.6


@pytest.mark.parametrize(("scale", "expected", "giga"), [(2, 694_404, 158.8), (3, 703_059, 71.5), (4, 715_176, 40.9)])
def test_imdn(scale: int, expected: int, giga: float) -> None:
    """The paper prints 694K, 703K, 715K; later papers 158.8G, 71.5G, 40.9G (x3 with 426 2/3 pixels of width)."""
    net = meta("imdn", scale=scale)
    assert parameters(net) == expected
    assert abs(macs(net, scale) / 1e9 - giga) < (0.2 if scale == 3 else 0.05)


@pytest.mark.parametrize(("name", "giga"), [("carn", (222.8, 118.8, 90.9)), ("carn_m", (91.2, 46.1, 32.5))])
def test_carn_macs(name: str, giga: tuple[float, float, float]) -> None:
    """Table 1 of the paper; its x3 has 426 2/3 pixels of width."""
    for scale, expected in zip((2, 3, 4), giga, strict=True):
        count = macs(meta(name, scale=scale, mean_shift=False), scale)
        assert abs(count / 1e9 - expected) < (0.2 if scale == 3 else 0.05)


def all_scales(name: str, count: Callable[[nn.Module], int]) -> int:
    """The count of a CARN with one body and the upsamplers of three scales, as the paper trains it."""
    nets = {scale: meta(name, scale=scale, mean_shift=False) for scale in (2, 3, 4)}
    final = count(conv(64, 3))
    upsamplers = (count(nets[scale].get_submodule("tail")) - final for scale in (3, 4))
    return count(nets[2]) + sum(upsamplers)


def test_carn_parameters() -> None:
    """The paper's 1,592K and 412K hold the upsamplers of all three scales; the second leaves biases out."""
    assert all_scales("carn", parameters) == 1_591_939
    assert all_scales("carn_m", weights) == 412_032
