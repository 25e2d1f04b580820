"""The few pieces most SR networks share: same-size convolutions, mean shift, upsamplers, channel attention."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.errors import ModelError

__all__ = [
    "ChannelAttention",
    "bicubic",
    "check_scale",
    "conv",
    "mean_shift",
    "pixel_shuffle_once",
    "pixel_shuffle_stages",
    "require",
    "shift_pair",
]

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # of R, G, B over the training pictures of DIV2K, in [0, 1]


def require(condition: bool, message: str, hint: str | None = None) -> None:
    """Raises ModelError(message, hint) unless the condition holds: for arguments that contradict each other."""
    if not condition:
        raise ModelError(message, hint=hint)


def check_scale(scale: int, allowed: tuple[int, ...]) -> None:
    """Raises ModelError unless the network's paper (or code) knows this scale."""
    require(
        scale in allowed,
        f"scale={scale} is not a scale of this network",
        f"it knows {', '.join(str(s) for s in allowed)}",
    )


def conv(inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution with an odd kernel that keeps height and width: (N, inputs, H, W) -> (N, outputs, H, W)."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)


def mean_shift(sign: int, rgb_range: float = 1.0) -> nn.Conv2d:
    """The fixed 1x1 convolution x + sign * rgb_range * mean of EDSR: 12 parameters that are never trained."""
    layer = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        cast(Tensor, layer.bias).copy_(sign * rgb_range * torch.tensor(DIV2K_MEAN))
    return layer.requires_grad_(False)


def shift_pair(on: bool, rgb_range: float, channels: int) -> tuple[nn.Module, nn.Module]:
    """`sub_mean` and `add_mean`; two identities, so that the names stay, when the mean shift is off.

    Raises ModelError for a mean shift on pictures that are not red, green and blue.
    """
    if not on:
        return nn.Identity(), nn.Identity()
    require(channels == 3, f"the mean shift is one of red, green and blue; channels={channels}", "add mean_shift=no")
    return mean_shift(-1, rgb_range), mean_shift(+1, rgb_range)


def pixel_shuffle_stages(width: int, scale: int, *, groups: int = 1, relu: bool = False) -> list[nn.Module]:
    """EDSR's upsampler, (N, width, H, W) -> (N, width, scale H, scale W).

    One convolution to 4 width and a pixel shuffle for each factor of two; one to 9 width for scale 3. CARN puts a
    ReLU between the two. Raises ModelError for any other scale.
    """
    require(scale == 3 or (scale & (scale - 1)) == 0, f"scale={scale} is neither 3 nor a power of two")
    factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    layers: list[nn.Module] = []
    for factor in factors:
        layers.append(conv(width, width * factor**2, groups=groups))
        if relu:
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.PixelShuffle(factor))
    return layers


def pixel_shuffle_once(width: int, channels: int, scale: int) -> list[nn.Module]:
    """The lightweight upsampler: one convolution width -> channels * scale^2 straight into the pixel shuffle."""
    return [conv(width, channels * scale**2), nn.PixelShuffle(scale)]


def bicubic(x: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) -> (N, C, scale H, scale W), bicubic; the picture itself for scale 1."""
    if scale == 1:
        return x
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)


class ChannelAttention(nn.Module):
    """RCAN's x * sigmoid(W2 relu(W1 mean_HW(x))), with W1: width -> width / reduction."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        require(
            width >= reduction,
            f"reduction={reduction} leaves no channel of width={width}",
            f"reduction={width} or less",
        )
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(
            nn.Conv2d(width, width // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // reduction, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.excite(self.squeeze(x))
        return x * gate
