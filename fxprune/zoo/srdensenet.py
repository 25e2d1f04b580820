"""SRDenseNet: image super-resolution using dense skip connections (Tong et al., ICCV 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import check_scale, conv

__all__ = ["SRDenseNet"]


class DenseBlock(nn.Module):
    """Appends to its input the features of `layers` convolutions, each of which sees those of all before it."""

    def __init__(self, inputs: int, layers: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(inputs if i == 0 else i * growth, growth) for i in range(layers))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.convs
        grown: Tensor = self.relu(first(x))
        for layer in others:
            grown = torch.cat([grown, self.relu(layer(grown))], 1)
        return torch.cat([x, grown], 1)


class SRDenseNet(nn.Module):
    """SRDenseNet_All: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    Args:
        scale: magnification: 2, 4 or 8, a transposed convolution for each factor of two.
        blocks: dense blocks.
        layers: convolutions of a dense block.
        growth: channels that each of them adds.
        width: channels after the bottleneck and in the transposed convolutions.
        channels: channels of the picture.
    """

    def __init__(
        self,
        scale: int = 4,
        blocks: int = 8,
        layers: int = 8,
        growth: int = 16,
        width: int = 256,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_scale(scale, (2, 4, 8))
        grown = layers * growth
        self.head = nn.Sequential(conv(channels, grown), nn.ReLU(inplace=True))
        self.body = nn.Sequential(*(DenseBlock((i + 1) * grown, layers, growth) for i in range(blocks)))
        self.bottleneck = nn.Sequential(conv((blocks + 1) * grown, width, 1), nn.ReLU(inplace=True))
        tail: list[nn.Module] = []
        for _ in range(scale.bit_length() - 1):
            tail += [
                nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1),
                nn.ReLU(inplace=True),
            ]
        self.tail = nn.Sequential(*tail, conv(width, channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tail(self.bottleneck(self.body(self.head(x))))
        return y
