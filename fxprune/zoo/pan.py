"""PAN: efficient image super-resolution using pixel attention (Zhao et al., ECCVW 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.parts import check_scale, conv, require

__all__ = ["PAN"]


class PixelAttention(nn.Module):
    """x * sigmoid(W x): one gate for each channel of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.sigmoid(self.conv(x))
        return torch.mul(x, gate)


class PixelAttentionConv(nn.Module):
    """conv2(conv1(x) * sigmoid(W x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = conv(width, width, 1)
        self.sigmoid = nn.Sigmoid()
        self.conv1 = conv(width, width, bias=False)
        self.conv2 = conv(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.sigmoid(self.gate(x))
        y: Tensor = self.conv2(torch.mul(self.conv1(x), gate))
        return y


class SelfCalibratedBlock(nn.Module):
    """SCPA: two half-wide branches, one of them with pixel attention, joined by a 1x1 convolution, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.split_a = conv(width, half, 1, bias=False)
        self.split_b = conv(width, half, 1, bias=False)
        self.conv_a = conv(half, half, bias=False)
        self.conv_b = PixelAttentionConv(half)
        self.join = conv(2 * half, width, 1, bias=False)
        self.act = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        a = self.act(self.conv_a(self.act(self.split_a(x))))
        b = self.act(self.conv_b(self.act(self.split_b(x))))
        y: Tensor = self.join(torch.cat([a, b], dim=1))
        y += x
        return y


class UpsamplingStage(nn.Module):
    """Nearest-neighbour enlargement, convolution, pixel attention, convolution."""

    def __init__(self, inputs: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv1 = conv(inputs, width)
        self.attention = PixelAttention(width)
        self.conv2 = conv(width, width)
        self.act = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.interpolate(x, scale_factor=self.factor, mode="nearest"))
        x = self.act(self.attention(x))
        y: Tensor = self.act(self.conv2(x))
        return y


class PAN(nn.Module):
    """PAN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are the paper's network, 272,419 parameters for x4.

    Args:
        scale: magnification: 2, 3 or 4.
        blocks: self-calibrated blocks with pixel attention.
        width: channels of the residual stream; even, since each block halves it.
        tail_width: channels of the upsampler.
        channels: channels of the picture.
    """

    def __init__(
        self, scale: int = 4, blocks: int = 16, width: int = 40, tail_width: int = 24, channels: int = 3
    ) -> None:
        super().__init__()
        check_scale(scale, (2, 3, 4))
        require(width >= 2, "width=1 cannot be halved")
        self.scale = scale
        self.head = conv(channels, width)
        self.body = nn.Sequential(*(SelfCalibratedBlock(width) for _ in range(blocks)))
        self.body_end = conv(width, width)
        stages = [UpsamplingStage(width, tail_width, 3 if scale == 3 else 2)]
        if scale == 4:
            stages.append(UpsamplingStage(tail_width, tail_width, 2))
        self.tail = nn.Sequential(*stages, conv(tail_width, channels))

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x)
        features = features + self.body_end(self.body(features))
        y: Tensor = self.tail(features)
        return y + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
