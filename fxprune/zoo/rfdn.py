"""RFDN: residual feature distillation network for lightweight image super-resolution (Liu et al., ECCVW 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.parts import conv, pixel_shuffle_once, require

__all__ = ["RFDN"]

SLOPE = 0.05  # of every leaky ReLU


class SpatialAttention(nn.Module):
    """ESA: x * sigmoid of a gate computed on a quarter of the channels, most of it at about a sixth of the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 4
        self.reduce = conv(width, inner, 1)
        self.skip = conv(inner, inner, 1)
        self.shrink = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv_max = conv(inner, inner)
        self.conv3 = conv(inner, inner)
        self.conv4 = conv(inner, inner)
        self.expand = conv(inner, width, 1)
        self.sigmoid = nn.Sigmoid()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        pooled = F.max_pool2d(self.shrink(reduced), kernel_size=7, stride=3)
        pooled = self.relu(self.conv_max(pooled))
        pooled = self.conv4(self.relu(self.conv3(pooled)))
        wide = F.interpolate(pooled, (x.size(2), x.size(3)), mode="bilinear", align_corners=False)
        gate: Tensor = self.sigmoid(self.expand(wide + self.skip(reduced)))
        return x * gate


class DistillationBlock(nn.Module):
    """RFDB: three shallow residual blocks, each with a 1x1 convolution beside it that distils half of the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.distil = nn.ModuleList(conv(width, half, 1) for _ in range(3))
        self.refine = nn.ModuleList(conv(width, width) for _ in range(3))
        self.last = conv(width, half)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.fuse = conv(4 * half, width, 1)
        self.attention = SpatialAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        distilled = []
        for distil, refine in zip(self.distil, self.refine, strict=True):
            distilled.append(self.act(distil(x)))
            x = self.act(refine(x) + x)
        distilled.append(self.act(self.last(x)))
        y: Tensor = self.attention(self.fuse(torch.cat(distilled, dim=1)))
        return y


class RFDN(nn.Module):
    """RFDN: (N, channels, H, W) -> (N, channels, scale H, scale W), H and W of 15 or more.

    The defaults are the published network that won AIM 2020 (E-RFDN, 433,448 parameters for x4); the paper's RFDN is
    blocks=6, width=48, and its RFDN-L blocks=6, width=52.

    Args:
        scale: magnification.
        blocks: residual feature distillation blocks.
        width: channels of the stream; half of them is distilled at each step.
        channels: channels of the picture.
    """

    def __init__(self, scale: int = 4, blocks: int = 4, width: int = 50, channels: int = 3) -> None:
        super().__init__()
        require(width >= 4, f"width={width} leaves no channel for the spatial attention, which has a quarter of them")
        self.head = conv(channels, width)
        self.body = nn.ModuleList(DistillationBlock(width) for _ in range(blocks))
        self.fuse = nn.Sequential(conv(blocks * width, width, 1), nn.LeakyReLU(SLOPE, inplace=True))
        self.body_end = conv(width, width)
        self.tail = nn.Sequential(*pixel_shuffle_once(width, channels, scale))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        outputs = [x]
        for block in self.body:
            outputs.append(block(outputs[-1]))
        fused = self.fuse(torch.cat(outputs[1:], dim=1))
        y: Tensor = self.tail(self.body_end(fused) + x)
        return y
