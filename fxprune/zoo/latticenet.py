"""LatticeNet: towards lightweight image super-resolution with lattice block (Luo et al., ECCV 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import conv, pixel_shuffle_once, require, shift_pair

__all__ = ["LatticeNet"]


class Coefficients(nn.Module):
    """A combination coefficient for each channel: half the sum of two gates, of its mean and of its deviation."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.of_mean = self.gate(width, reduction)
        self.of_deviation = self.gate(width, reduction)

    @staticmethod
    def gate(width: int, reduction: int) -> nn.Sequential:
        """width -> width / reduction -> width, squashed into (0, 1)."""
        return nn.Sequential(
            conv(width, width // reduction, 1),
            nn.ReLU(inplace=True),
            conv(width // reduction, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        deviation = torch.std(x.view(batch, channels, -1), dim=2, keepdim=True).view(batch, channels, 1, 1)
        y: Tensor = (self.of_mean(self.squeeze(x)) + self.of_deviation(deviation)) / 2.0
        return y


class LatticeBlock(nn.Module):
    """Two residual branches in two butterflies, joined by a 1x1 convolution."""

    def __init__(self, width: int, inner: int, reduction: int) -> None:
        super().__init__()
        self.branch1 = self.branch(width, inner)
        self.branch2 = self.branch(width, inner)
        self.mix1 = nn.ModuleList(Coefficients(width, reduction) for _ in range(2))
        self.mix2 = nn.ModuleList(Coefficients(width, reduction) for _ in range(2))
        self.compress = conv(2 * width, width, 1)

    @staticmethod
    def branch(width: int, inner: int) -> nn.Sequential:
        """Three 3x3 convolutions width -> inner -> inner -> width, each with a leaky ReLU."""
        widths = (width, inner, inner, width)
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [conv(widths[i], widths[i + 1]), nn.LeakyReLU(0.05)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        u = self.branch1(x)
        p = x + self.mix1[0](u) * u
        q = u + self.mix1[1](x) * x
        v = self.branch2(p)
        y: Tensor = self.compress(torch.cat((v + self.mix2[0](q) * q, q + self.mix2[1](v) * v), 1))
        return y


class BackwardFusion(nn.Module):
    """Halves the channels of a later and of an earlier output and puts them side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.later = nn.Sequential(conv(width, width // 2, 1), nn.ReLU())
        self.earlier = nn.Sequential(conv(width, width // 2, 1), nn.ReLU())

    def forward(self, later: Tensor, earlier: Tensor) -> Tensor:
        return torch.cat((self.later(later), self.earlier(earlier)), 1)


class LatticeNet(nn.Module):
    """LatticeNet: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are the paper's network: 756K parameters for x2, 765K for x3, 777K for x4.

    Args:
        scale: magnification.
        blocks: lattice blocks; their outputs are fused from the last to the first.
        width: channels of the stream; even.
        inner: channels between the convolutions of a block's branches.
        channels: channels of the picture.
        reduction: how many times fewer channels the bottleneck of a combination coefficient has.
        mean_shift: whether the mean colour of DIV2K is taken off first and put back last, by fixed 1x1 convolutions.
        rgb_range: largest value of a pixel: 1 for pictures in [0, 1]; the original weights expect 255.
    """

    def __init__(
        self,
        scale: int = 4,
        blocks: int = 4,
        width: int = 64,
        inner: int = 48,
        channels: int = 3,
        reduction: int = 16,
        mean_shift: bool = True,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        require(width >= reduction, f"reduction={reduction} leaves no channel of width={width}")
        require(width % 2 == 0, f"width={width} cannot be halved")
        self.sub_mean, self.add_mean = shift_pair(mean_shift, rgb_range, channels)
        self.head = nn.Sequential(conv(channels, width), conv(width, width))
        self.body = nn.ModuleList(LatticeBlock(width, inner, reduction) for _ in range(blocks))
        self.fusion = nn.ModuleList(BackwardFusion(width) for _ in range(blocks - 1))
        self.tail = nn.Sequential(conv(width, width), *pixel_shuffle_once(width, channels, scale))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x))
        outputs = [x]
        for block in self.body:
            outputs.append(block(outputs[-1]))
        fused = outputs.pop()
        for fusion in self.fusion:
            fused = fusion(fused, outputs.pop())
        y: Tensor = self.add_mean(self.tail(fused + x))
        return y
