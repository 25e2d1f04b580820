"""ESRB: the network that FMP, flexible meta pruning, starts from: residual blocks with spatial attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.parts import conv, pixel_shuffle_once

__all__ = ["ESRB"]


class SpatialAttention(nn.Module):
    """ESA as RLFN simplified it: x * sigmoid of a gate computed on `inner` channels at about a sixth of the size."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.reduce = conv(width, inner, 1)
        self.skip = conv(inner, inner, 1)
        self.shrink = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv = conv(inner, inner)
        self.expand = conv(inner, width, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        pooled = self.conv(F.max_pool2d(self.shrink(reduced), kernel_size=7, stride=3))
        wide = F.interpolate(pooled, (x.size(2), x.size(3)), mode="bilinear", align_corners=False)
        gate: Tensor = self.sigmoid(self.expand(wide + self.skip(reduced)))
        return x * gate


class AttentionBlock(nn.Module):
    """attention(fuse(x + act(conv2(act(conv1(x)))))); the order of skip and activations is RLFN's."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = conv(width, width)
        self.conv2 = conv(width, width)
        self.act = nn.LeakyReLU(0.05, inplace=True)
        self.fuse = conv(width, width, 1)
        self.attention = SpatialAttention(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.act(self.conv2(self.act(self.conv1(x))))
        y: Tensor = self.attention(self.fuse(x + residual))
        return y


class ESRB(nn.Module):
    """ESRB: (N, channels, H, W) -> (N, channels, scale H, scale W), H and W of 15 or more.

    The defaults are ESRB-6-256, 8,180,876 parameters for x2.

    Args:
        scale: magnification.
        blocks: residual blocks with attention.
        width: channels of the stream.
        inner: channels inside the attention.
        channels: channels of the picture.
    """

    def __init__(self, scale: int = 2, blocks: int = 6, width: int = 256, inner: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.head = conv(channels, width)
        self.body = nn.Sequential(*(AttentionBlock(width, inner) for _ in range(blocks)))
        self.body_end = conv(width, width)
        self.tail = nn.Sequential(*pixel_shuffle_once(width, channels, scale))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        y: Tensor = self.tail(self.body_end(self.body(x)) + x)
        return y
