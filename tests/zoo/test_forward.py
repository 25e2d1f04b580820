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
    "drcn": {"recursions": 3, "width": 8},
    "drrn": {"blocks": 2, "units": 3, "width": 8},
    "edsr": {"blocks": 2, "width": 8},
    "edsr_large": {"blocks": 2, "width": 8},
    "esrb": {"blocks": 2, "width": 8, "inner": 4},
    "fsrcnn": {"width": 8, "shrink": 4, "blocks": 2},
    "fsrcnn_small": {"width": 8, "shrink": 4},
    "hat": {"groups": 2, "blocks": 2, "width": 12, "heads": 2, "window": 4, "reduction": 4, "tail_width": 8},
    "hat_small": {"groups": 1, "blocks": 2, "width": 24, "heads": 2, "window": 4, "tail_width": 8},
    "imdn": {"blocks": 2, "width": 16, "reduction": 4},
    "lapsrn": {"layers": 2, "width": 8},
    "latticenet": {"blocks": 3, "width": 8, "inner": 6, "reduction": 4},
    "memnet": {"blocks": 2, "units": 2, "width": 8},
    "nafnet": {"width": 4, "encoder": (1, 1), "decoder": (1, 1)},
    "nafssr": {"blocks": 2, "width": 8},
    "pan": {"blocks": 2, "width": 8, "tail_width": 6},
    "rcan": {"groups": 2, "blocks": 2, "width": 8, "reduction": 4},
    "rdn": {"blocks": 2, "layers": 3, "width": 8, "growth": 4},
    "restormer": {"blocks": (1, 1, 1), "heads": (1, 2, 4), "refinement": 1, "width": 8},
    "rfdn": {"blocks": 2, "width": 8},
    "rrdb": {"blocks": 2, "width": 8, "growth": 4},
    "srcnn": {"width": 8, "kernel": 5},
    "srdensenet": {"blocks": 2, "layers": 3, "growth": 4, "width": 8},
    "swinir": {"groups": 2, "blocks": 2, "width": 12, "heads": 2, "window": 4, "tail_width": 8, "image_size": 12},
    "swinir_light": {"groups": 2, "blocks": 2, "width": 12, "heads": 2, "window": 4, "image_size": 12},
    "vdsr": {"layers": 4, "width": 8},
}
SCALES: dict[str, tuple[int, ...]] = {
    "lapsrn": (2, 4, 8),
    "nafnet": (1, 2),
    "restormer": (1, 2),
    "rrdb": (1, 2, 4),
    "srdensenet": (2, 4),
}  # of those that do not do 2, 3 and 4
SIZES = ((2, 15, 22), (1, 20, 16))  # batch, height, width
EVEN = ((2, 16, 24), (1, 20, 16))  # for rrdb, which turns blocks of pixels into channels
CHANNELS = {"nafssr": 6}  # two views


def example(name: str, batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, CHANNELS.get(name, 3), height, width)


def test_every_network_is_tried() -> None:
    assert sorted(TINY) == sorted(NETWORKS)


@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name in TINY for scale in SCALES.get(name, (2, 3, 4))])
def test_enlarges_any_size(name: str, scale: int) -> None:
    torch.manual_seed(0)
    net = build(name, scale=scale, **TINY[name])
    for batch, height, width in EVEN if name == "rrdb" else SIZES:
        x = example(name, batch, height, width)
        with torch.no_grad():
            y = net(x.clone())
        assert y.shape == (batch, x.shape[1], scale * height, scale * width)
        assert y.isfinite().all()


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_parameter_is_used(name: str) -> None:
    """Each trainable parameter gets a gradient: nothing is built and forgotten."""
    torch.manual_seed(0)
    net = build(name, **TINY[name])
    net(example(name, 2, 16, 20)).square().sum().backward()
    for path, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, path


@pytest.mark.parametrize("name", sorted(TINY))
def test_batches_do_not_mix(name: str) -> None:
    """In eval mode a picture's result does not depend on the others in its batch."""
    torch.manual_seed(0)
    net = build(name, **TINY[name]).eval()
    x = example(name, 3, 16, 20)
    with torch.no_grad():
        assert torch.allclose(net(x)[1:2], net(x[1:2]), atol=1e-5)


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


def test_a_pyramid_gives_every_level() -> None:
    torch.manual_seed(0)
    arguments: dict[str, object] = {"scale": 8, "layers": 1, "width": 4}
    net = build("lapsrn", pyramid=True, **arguments)
    x = torch.rand(1, 3, 5, 6)
    pictures = net(x)
    assert [tuple(p.shape[2:]) for p in pictures] == [(10, 12), (20, 24), (40, 48)]
    alone = build("lapsrn", **arguments)
    alone.load_state_dict(net.state_dict())
    assert torch.equal(alone(x), pictures[-1])


def test_lapsrn_starts_from_bilinear() -> None:
    """With its residuals at zero a level interpolates bilinearly, away from the border."""
    net = build("lapsrn", scale=2, layers=1, width=4)
    zero(net, "levels.0.residual")
    x = torch.rand(1, 3, 6, 8)
    expected = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.allclose(net(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-6)


def test_an_ensemble_adds_weighted_predictions() -> None:
    torch.manual_seed(0)
    net = build("memnet", blocks=3, units=1, width=4, ensemble=True, scale=1).eval()
    alone = build("memnet", blocks=3, units=1, width=4, scale=1).eval()
    alone.load_state_dict({k: v for k, v in net.state_dict().items() if k != "weight"})
    x = torch.rand(1, 3, 6, 8)
    with torch.no_grad():
        net.get_parameter("weight").copy_(torch.tensor([0.0, 0.0, 1.0]))
        assert torch.allclose(net(x), alone(x), atol=1e-6)


def test_naf_blocks_start_as_the_identity() -> None:
    net = build("nafnet", **TINY["nafnet"])
    x = torch.rand(1, 4, 6, 8)
    assert torch.equal(net.get_submodule("encoders.0")(x), x)


def test_one_view_needs_no_attention_between_views() -> None:
    net = build("nafssr", stereo=False, **TINY["nafssr"])
    assert net(torch.rand(1, 3, 7, 9)).shape == (1, 3, 28, 36)


def test_swinir_is_the_same_with_and_without_a_kept_mask() -> None:
    torch.manual_seed(0)
    tiny = TINY["swinir"]
    kept = build("swinir", **tiny).eval()
    made = build("swinir", **{**tiny, "image_size": 32}).eval()
    made.load_state_dict({k: v for k, v in kept.state_dict().items() if "attn_mask" not in k}, strict=False)
    x = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        assert torch.equal(kept(x), made(x))


def test_drop_path_drops_only_while_training() -> None:
    torch.manual_seed(0)
    net = build("swinir_light", drop_path=0.9, **TINY["swinir_light"])
    x = torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))
