"""Parameter and MAC counts of recursive, dense and transformer networks against the published figures."""

from __future__ import annotations

import pytest

from .counting import macs, meta, parameters, weights

Arguments = dict[str, object]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        # exact, as counted by the width-sparsity paper (PAN) and by FMP (ESRB)
        ("pan", {}, 272_419),
        ("esrb", {"scale": 2}, 8_180_876),
        ("esrb", {"scale": 3}, 8_215_451),
        ("esrb", {"scale": 4}, 8_263_856),
        # what the published code counts; the papers print 261K; 16.7M; 22.1M, 22.3M, 22.3M; 0.433M (AIM 2020)
        ("pan", {"scale": 2}, 261_403),
        ("rrdb", {}, 16_697_987),
        ("rdn", {"scale": 2}, 22_123_395),
        ("rdn", {"scale": 3}, 22_308_035),
        ("rdn", {"scale": 4}, 22_271_107),
        ("rfdn", {}, 433_448),
        ("swinir", {"scale": 2}, 11_752_487),
        ("swinir", {"scale": 4}, 11_900_199),
    ],
)
def test_exact(name: str, arguments: Arguments, expected: int) -> None:
    assert parameters(meta(name, **arguments)) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "printed", "unit"),
    [
        # LatticeNet, table of x2, x3, x4: 756K, 765K, 777K
        ("latticenet", {"scale": 2}, 756, 1e3),
        ("latticenet", {"scale": 3}, 765, 1e3),
        ("latticenet", {"scale": 4}, 777, 1e3),
        # HAT, table of x4 model sizes
        ("hat", {}, 20.8, 1e6),
        ("hat_small", {}, 9.6, 1e6),
        # Restormer, 26.13M in the comparison of denoisers
        ("restormer", {}, 26.13, 1e6),
        # NAFNet-width32 and -width64 for deblurring
        ("nafnet", {}, 17.11, 1e6),
        ("nafnet", {"width": 64}, 67.89, 1e6),
        # NAFSSR-T, -S, -B for x4, and -T for x2
        ("nafssr", {}, 0.46, 1e6),
        ("nafssr", {"scale": 2}, 0.45, 1e6),
        ("nafssr", {"width": 64, "blocks": 32}, 1.56, 1e6),
        ("nafssr", {"width": 96, "blocks": 64}, 6.80, 1e6),
    ],
)
def test_as_printed(name: str, arguments: Arguments, printed: float, unit: float) -> None:
    """The paper's figure, to the digits it prints."""
    digits = len(str(printed).partition(".")[2]) if isinstance(printed, float) else 0
    assert round(parameters(meta(name, **arguments)) / unit, digits) == printed


@pytest.mark.parametrize(
    ("name", "expected", "giga"),
    [("drcn", 1_774_080, 17_974.3), ("drrn", 297_216, 6_796.9), ("memnet", 676_992, 2_662.4)],
)
def test_recursive_networks(name: str, expected: int, giga: float) -> None:
    """Table of CARN: 1,774K, 297K and 677K weights on luminance, and their MACs for 1280x720."""
    net = meta(name, channels=1)
    assert weights(net) == expected
    assert abs(macs(net.eval(), 2, channels=1) / 1e9 - giga) < 0.06


def test_lapsrn() -> None:
    """812K weights for x4 on luminance, 813K in the table of CARN."""
    assert weights(meta("lapsrn", channels=1)) == 812_768


def test_srdensenet() -> None:
    """The paper prints no count; this is the sum over its layers, from 1 -> 128 to 256 -> 1, on luminance."""
    first = [9 * 128 * (block + 1) * 16 for block in range(8)]
    others = [9 * 16 * i * 16 for i in range(1, 8)]
    expected = 9 * 128 + sum(first) + 8 * sum(others) + 9 * 128 * 256 + 2 * 9 * 256 * 256 + 9 * 256
    assert weights(meta("srdensenet", channels=1)) == expected


@pytest.mark.parametrize(("scale", "printed"), [(2, 878), (3, 886), (4, 897)])
def test_swinir_light(scale: int, printed: int) -> None:
    """The paper prints 878K, 886K, 897K: all parameters but the tables of position biases."""
    net = meta("swinir_light", scale=scale)
    tables = sum(p.numel() for n, p in net.named_parameters() if n.endswith("relative_position_bias_table"))
    assert round((parameters(net) - tables) / 1e3) == printed


def test_swinir_light_weights() -> None:
    """ISS-P prunes 103 layers with 880,740 weights in SwinIR-light x4."""
    net = meta("swinir_light")
    layers = [p for n, p in net.named_parameters() if p.ndim > 1 and n.endswith(".weight")]
    assert len(layers) == 103
    assert sum(p.numel() for p in layers) == 880_740


@pytest.mark.parametrize(
    ("width", "scale", "printed"),
    [(48, 2, 534), (48, 3, 541), (48, 4, 550), (52, 2, 626), (52, 3, 633), (52, 4, 643)],
)
def test_rfdn_of_the_paper(width: int, scale: int, printed: int) -> None:
    """RFDN's and RFDN-L's printed figures come out when only the two ends of the spatial attention are counted."""
    net = meta("rfdn", blocks=6, width=width, scale=scale)
    inside = ("skip", "shrink", "conv_max", "conv3", "conv4")
    uncounted = sum(p.numel() for n, p in net.named_parameters() if ".attention." in n and n.split(".")[-2] in inside)
    assert round((parameters(net) - uncounted) / 1e3) == printed


@pytest.mark.parametrize(
    ("name", "giga"),
    [
        ("esrb", (1877.753, 836.783, 474.213)),  # FMP
        ("pan", (70.5, 39.0, 28.2)),  # PAN
        ("latticenet", (169.5, 76.3, 43.6)),  # LatticeNet
    ],
)
def test_macs(name: str, giga: tuple[float, float, float]) -> None:
    """MACs for a 1280x720 output. All but FMP count 426 2/3 pixels of width for x3."""
    extra: Arguments = {"mean_shift": False} if name == "latticenet" else {}
    for scale, expected in zip((2, 3, 4), giga, strict=True):
        count = macs(meta(name, scale=scale, **extra), scale) / 1e9
        if scale == 3 and name != "esrb":
            count *= 1280 / 3 / 426
        assert abs(count - expected) < (1e-3 if name == "esrb" else 0.1), (name, scale, count)
