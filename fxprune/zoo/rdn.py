"""RDN: residual dense network for image super-resolution (Zhang et al., CVPR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import conv, pixel_shuffle_stages

__all__ = ["RDN"]


class DenseLayer(nn.Module):
    """Appends relu(conv(x)) to x."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.conv = conv(inputs, growth)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.relu(self.conv(x))), 1)


class ResidualDenseBlock(nn.Module):
    """x + fuse(dense layers(x))."""

    def __init__(self, layers: int, width: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(DenseLayer(width + i * growth, growth) for i in range(layers)))
        self.fuse = conv(width + layers * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.fuse(self.layers(x))
        return residual + x


class RDN(nn.Module):
    """RDN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are the paper's D = 16, C = 8, G = G0 = 64: 22,123,395 parameters for x2.

    Args:
        scale: magnification: 2, 3, 4 or 8.
        blocks: residual dense blocks (D).
        layers: convolutions of a block that grow its features (C).
        width: channels of the stream between blocks (G0).
        growth: channels that each of a block's convolutions adds (G).
        channels: channels of the picture.
    """

    def __init__(
        self,
        scale: int = 2,
        blocks: int = 16,
        layers: int = 8,
        width: int = 64,
        growth: int = 64,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.head = conv(channels, width)
        self.head2 = conv(width, width)
        self.body = nn.ModuleList(ResidualDenseBlock(layers, width, growth) for _ in range(blocks))
        self.fuse = nn.Sequential(conv(blocks * width, width, 1), conv(width, width))
        self.tail = nn.Sequential(*pixel_shuffle_stages(width, scale), conv(width, channels))

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.head(x)
        x = self.head2(shallow)
        outputs = []
        for block in self.body:
            x = block(x)
            outputs.append(x)
        x = self.fuse(torch.cat(outputs, 1))
        x += shallow
        y: Tensor = self.tail(x)
        return y
