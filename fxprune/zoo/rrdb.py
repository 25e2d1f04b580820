"""RRDB: ESRGAN, enhanced super-resolution generative adversarial networks (Wang et al., ECCVW 2018), its generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.parts import check_scale, conv

__all__ = ["RRDB"]


class DenseBlock(nn.Module):
    """x + res_scale * a dense block of five convolutions, each of which sees what all before it made."""

    def __init__(self, width: int, growth: int, res_scale: float) -> None:
        super().__init__()
        self.conv1 = conv(width, growth)
        self.conv2 = conv(width + growth, growth)
        self.conv3 = conv(width + 2 * growth, growth)
        self.conv4 = conv(width + 3 * growth, growth)
        self.conv5 = conv(width + 4 * growth, width)
        self.act = nn.LeakyReLU(0.2, inplace=True)
        self.res_scale = res_scale
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_normal_(layer.weight)
            with torch.no_grad():
                layer.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.act(self.conv1(x))
        x2 = self.act(self.conv2(torch.cat((x, x1), 1)))
        x3 = self.act(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.act(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        x5: Tensor = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x5 * self.res_scale + x


class ResidualInResidual(nn.Module):
    """x + res_scale * three dense blocks in a row."""

    def __init__(self, width: int, growth: int, res_scale: float) -> None:
        super().__init__()
        self.dense1 = DenseBlock(width, growth, res_scale)
        self.dense2 = DenseBlock(width, growth, res_scale)
        self.dense3 = DenseBlock(width, growth, res_scale)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense3(self.dense2(self.dense1(x)))
        return y * self.res_scale + x


class RRDB(nn.Module):
    """RRDBNet: (N, channels, H, W) -> (N, channels, scale H, scale W).

    Always enlarges fourfold: scale 2 and 1 first turn blocks of 2x2 and 4x4 pixels into channels, so that H and W must
    be multiples of 2 and 4; any H and W for scale 4. The defaults are ESRGAN's generator, 16,697,987 parameters.

    Args:
        scale: magnification: 4, 2 or 1.
        blocks: residual-in-residual dense blocks.
        width: channels of the stream.
        growth: channels that each of a dense block's convolutions adds.
        channels: channels of the picture.
        res_scale: factor on every residual.
    """

    def __init__(
        self,
        scale: int = 4,
        blocks: int = 23,
        width: int = 64,
        growth: int = 32,
        channels: int = 3,
        res_scale: float = 0.2,
    ) -> None:
        super().__init__()
        check_scale(scale, (1, 2, 4))
        self.unshuffle = 4 // scale
        self.head = conv(channels * self.unshuffle**2, width)
        self.body = nn.Sequential(*(ResidualInResidual(width, growth, res_scale) for _ in range(blocks)))
        self.body_end = conv(width, width)
        self.tail = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"),
            conv(width, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2, mode="nearest"),
            conv(width, width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(width, width),
            nn.LeakyReLU(0.2, inplace=True),
            conv(width, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        x = self.head(x)
        y: Tensor = self.tail(x + self.body_end(self.body(x)))
        return y
