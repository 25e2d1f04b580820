"""LapSRN: deep Laplacian pyramid networks for fast and accurate super-resolution (Lai et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import check_scale, conv

__all__ = ["LapSRN"]


def bilinear_kernel(size: int) -> Tensor:
    """The (size, size) kernel with which a transposed convolution of stride size / 2 interpolates bilinearly."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / factor
    return line[:, None] * line[None, :]


class Level(nn.Module):
    """One level of the pyramid: (features, picture) -> both twice as high and wide."""

    def __init__(self, layers: int, width: int, channels: int) -> None:
        super().__init__()
        body: list[nn.Module] = []
        for _ in range(layers):
            body += [conv(width, width), nn.LeakyReLU(0.2, inplace=True)]
        self.body = nn.Sequential(*body)
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.residual = conv(width, channels)
        self.picture = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False, groups=channels)
        with torch.no_grad():
            self.picture.weight.copy_(bilinear_kernel(4).expand(channels, 1, 4, 4))

    def forward(self, features: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        features = self.enlarge(self.body(features))
        return features, self.picture(picture) + self.residual(features)


class LapSRN(nn.Module):
    """LapSRN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    Doubles the size level by level. The defaults are the paper's x4 network, 812,768 weights on luminance (channels=1).

    Args:
        scale: magnification: 2, 4 or 8, one level of the pyramid for each factor of two.
        layers: convolutions of a level in front of its transposed one.
        width: channels of the features.
        channels: channels of the picture.
        pyramid: whether the pictures of all levels are given back, as a tuple, the largest last.
    """

    def __init__(
        self, scale: int = 4, layers: int = 10, width: int = 64, channels: int = 3, pyramid: bool = False
    ) -> None:
        super().__init__()
        check_scale(scale, (2, 4, 8))
        self.pyramid = pyramid
        self.head = nn.Sequential(conv(channels, width), nn.LeakyReLU(0.2, inplace=True))
        self.levels = nn.ModuleList(Level(layers, width, channels) for _ in range(scale.bit_length() - 1))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        features = self.head(x)
        pictures = [x]
        for level in self.levels:
            features, picture = level(features, pictures[-1])
            pictures.append(picture)
        return tuple(pictures[1:]) if self.pyramid else pictures[-1]
