"""Sizes that papers print, to the last digit, by compiling specs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fxprune
from fxprune import zoo

TABLE_1 = [  # ASSL and SRP, EDSR-baseline ×2: share removed, kept, parameters, MACs for 1280 × 720
    (10, 57, 1_101_769, 254_540_620_800),
    (30, 44, 681_063, 157_711_795_200),
    (50, 32, 381_819, 88_859_980_800),
    (70, 19, 154_163, 36_509_875_200),
    (90, 6, 26_893, 7_288_704_000),
]
LIGHT = {  # EDSR without final conv and mean shift: (kept of 256, scale) → parameters, G MACs
    (256, 2): (19_507_468, 4492.512),
    (256, 3): (19_542_043, 1997.086),
    (256, 4): (19_590_448, 1127.906),
    (48, 2): (692_412, 159.153),
    (48, 3): (698_907, 71.287),
    (48, 4): (708_000, 40.684),
    (45, 2): (609_042, 139.968),
    (45, 3): (615_132, 62.732),
    (45, 4): (623_658, 35.832),
}
IMAGE = (1, 3, 16, 16)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, image: tuple[int, ...]) -> int:
    """Multiply-accumulates, counted while the network runs without arithmetic."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net.to("meta").eval()(torch.empty(image))
    return counter.get_total_flops() // 2


@pytest.fixture(scope="module")
def baseline() -> nn.Module:
    torch.manual_seed(0)
    return zoo.build("edsr")


def test_the_dense_row(baseline: nn.Module) -> None:
    assert count(baseline) == 1_369_883
    assert macs(zoo.build("edsr"), (1, 3, 360, 640)) == 316_259_251_200


@pytest.mark.parametrize(("share", "kept", "params", "cost"), TABLE_1)
def test_table_1(baseline: nn.Module, share: int, kept: int, params: int, cost: int) -> None:
    spec = f"protect tail.*, sub_mean, add_mean\ncut filters {share}% by l1\n"
    compiled = fxprune.compile(spec, baseline, torch.rand(IMAGE))
    assert compiled.report.params == (1_369_883, params)
    assert compiled.report.macs == (316_259_251_200, cost)
    assert compiled.report.macs_at == (1280, 720)
    assert compiled.report.verified is not None
    assert compiled.report.verified.difference < 1e-5
    assert count(compiled.module) == params
    assert len(compiled.kept["head.weight"][0]) == kept
    assert macs(compiled.module, (1, 3, 360, 640)) == cost


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("how", "kept"), [("keep 48", 48), ("82.421875%", 45), (None, 256)])
def test_lightweight_table(how: str | None, kept: int, scale: int) -> None:
    with torch.device("meta"):
        net = zoo.build("edsr", scale=scale, width=256, final_conv=False, mean_shift=False)
    params, cost = LIGHT[kept, scale]
    if how is None:
        report = fxprune.compile("protect tail.*\ncut filters keep 255", net, torch.empty(IMAGE, device="meta")).report
        assert report.params[0] == params
        assert report.macs[0] // 10**6 == pytest.approx(cost * 1000, abs=1)
        return
    compiled = fxprune.compile(f"protect tail.*\ncut filters {how}", net, torch.empty(IMAGE, device="meta"))
    assert compiled.report.params[1] == params == count(compiled.module)
    assert compiled.report.macs[1] // 10**6 == pytest.approx(cost * 1000, abs=1)
    assert compiled.report.verified is None
