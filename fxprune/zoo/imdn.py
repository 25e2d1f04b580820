"""IMDN: lightweight image super-resolution with information multi-distillation network (Hui et al., ACM MM 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import conv, pixel_shuffle_once, require

__all__ = ["IMDN"]

SLOPE = 0.05  # of every leaky ReLU


class ContrastAttention(nn.Module):
    """CCA: channel attention that squeezes each channel to its standard deviation plus its mean."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.excite = nn.Sequential(
            nn.Conv2d(width, width // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // reduction, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        deviation = (x - mean).pow(2).mean(dim=(2, 3), keepdim=True).pow(0.5)
        gate: Tensor = self.excite(deviation + mean)
        return x * gate


class DistillationBlock(nn.Module):
    """IMDB: each convolution sets a quarter of its channels aside; what was set aside is attended to and fused."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.distilled = width // 4
        self.remaining = width - self.distilled
        self.conv1 = conv(width, width)
        self.conv2 = conv(self.remaining, width)
        self.conv3 = conv(self.remaining, width)
        self.conv4 = conv(self.remaining, self.distilled)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.attention = ContrastAttention(4 * self.distilled, reduction)
        self.fuse = conv(4 * self.distilled, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        sizes = [self.distilled, self.remaining]
        distilled1, rest = torch.split(self.act(self.conv1(x)), sizes, dim=1)
        distilled2, rest = torch.split(self.act(self.conv2(rest)), sizes, dim=1)
        distilled3, rest = torch.split(self.act(self.conv3(rest)), sizes, dim=1)
        distilled = torch.cat([distilled1, distilled2, distilled3, self.conv4(rest)], dim=1)
        y: Tensor = self.fuse(self.attention(distilled))
        return y + x


class IMDN(nn.Module):
    """IMDN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are the paper's network: 694,404 parameters for x2, 703,059 for x3, 715,176 for x4.

    Args:
        scale: magnification.
        blocks: information multi-distillation blocks.
        width: channels of the stream; a quarter of them is distilled at each step.
        channels: channels of the picture.
        reduction: how many times fewer channels the attention's bottleneck has than its input.
    """

    def __init__(
        self, scale: int = 2, blocks: int = 6, width: int = 64, channels: int = 3, reduction: int = 16
    ) -> None:
        super().__init__()
        require(width // 4 * 4 >= max(4, reduction), f"reduction={reduction} leaves no channel of width={width}")
        self.head = conv(channels, width)
        self.body = nn.ModuleList(DistillationBlock(width, reduction) for _ in range(blocks))
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
