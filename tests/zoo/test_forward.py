"""Every network runs on pictures of any size and enlarges them by its scale."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxprune.zoo import NETWORKS, build

# Arguments that make each network small, so that the forward pass takes milliseconds.
TINY: dict[str, dict[str, object]] = {
    "carn": {"blocks": 2, "width": 8},
    "carn_m": {"blocks": 2, "width": 8},
    "edsr": {"blocks": 2, "width": 8},
    "edsr_large": {"blocks": 2, "width": 8},
    "fsrcnn": {"width": 8, "shrink": 4, "blocks": 2},
    "fsrcnn_small": {"width": 8, "shrink": 4},
    "imdn": {"blocks": 2, "width": 16, "reduction": 4},
    "rcan": {"groups": 2, "blocks": 2, "width": 8, "reduction": 4},
    "srcnn": {"width": 8, "kernel": 5},
    "vdsr": {"layers": 4, "width": 8},
}
SIZES = ((2, 9, 14), (1, 16, 12))  # batch, height, width


def test_every_network_is_tried() -> None:
    assert sorted(TINY) == sorted(NETWORKS)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", sorted(TINY))
def test_enlarges_any_size(name: str, scale: int) -> None:
    torch.manual_seed(0)
    net = build(name, scale=scale, **TINY[name])
    for batch, height, width in SIZES:
        with torch.no_grad():
            y = net(torch.rand(batch, 3, height, width))
        assert y.shape == (batch, 3, scale * height, scale * width)
        assert y.isfinite().all()


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_parameter_is_used(name: str) -> None:
    """Each trainable parameter gets a gradient: nothing is built and forgotten."""
    torch.manual_seed(0)
    net = build(name, **TINY[name])
    net(torch.rand(1, 3, 8, 12)).square().sum().backward()
    for path, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, path


def zero(net: nn.Module, layer: str) -> None:
    """Sets a layer's weight and bias to zero."""
    for kind in ("weight", "bias"):
        nn.init.zeros_(net.get_parameter(f"{layer}.{kind}"))


def test_mean_shift_is_undone() -> None:
    """With the tail at zero, EDSR gives the mean colour back."""
    net = build("edsr", blocks=1, width=4, rgb_range=255.0)
    zero(net, "tail.2")
    y = net(torch.rand(1, 3, 5, 7))
    assert torch.allclose(y[0, :, 0, 0], 255 * torch.tensor([0.4488, 0.4371, 0.4040]))
    assert not net.get_parameter("sub_mean.weight").requires_grad
    assert sum(p.numel() for n, p in net.named_parameters() if "mean" in n) == 24


def test_edsr_names() -> None:
    """The names that specs use: blocks and the last convolution under body, upsampler and final convolution in tail."""
    names = {n.removesuffix(".weight") for n, _ in build("edsr", blocks=2, width=4).named_parameters() if "weight" in n}
    blocks = {f"body.{i}.conv{j}" for i in (0, 1) for j in (1, 2)}
    assert names == {"sub_mean", "head", "add_mean", "body.2", "tail.0", "tail.2"} | blocks
    light = build("edsr", blocks=1, width=4, final_conv=False, mean_shift=False)
    assert {n for n, _ in light.named_children()} == {"sub_mean", "head", "body", "tail", "add_mean"}
    assert light.get_parameter("tail.0.weight").shape == (12, 4, 3, 3)


def test_residual_scaling() -> None:
    """With res_scale = 0 the blocks are the identity."""
    block = build("edsr", blocks=1, width=4, res_scale=0).get_submodule("body.0")
    x = torch.rand(1, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_interpolating_networks_start_from_bicubic() -> None:
    """With the last convolution at zero VDSR is the bicubic enlargement; scale=1 leaves the picture as it is."""
    x = torch.rand(1, 3, 6, 9)
    for scale in (1, 3):
        net = build("vdsr", scale=scale, layers=3, width=4)
        zero(net, "tail")
        bicubic = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic") if scale > 1 else x
        assert torch.allclose(net(x), bicubic)


def test_recursive_blocks_are_shared() -> None:
    net = build("carn_m", blocks=3, width=8)
    first, *others = (net.get_submodule(f"body.stages.0.stages.{i}") for i in range(3))
    assert all(other is first for other in others)
