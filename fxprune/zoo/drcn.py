"""DRCN: deeply-recursive convolutional network for image super-resolution (Kim et al., CVPR 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import bicubic, conv

__all__ = ["DRCN"]


class DRCN(nn.Module):
    """DRCN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    One convolution applied again and again; the picture is reconstructed, by one and the same network, from every
    recursion, and the predictions are averaged with learnt weights. The defaults are the paper's network, 1,774,080
    weights on luminance (channels=1).

    Args:
        scale: bicubic magnification in front of the network; 1 takes an already enlarged picture.
        recursions: times the recursive convolution is applied.
        width: channels of the hidden state.
        channels: channels of the picture.
    """

    def __init__(self, scale: int = 2, recursions: int = 16, width: int = 256, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.recursions = recursions
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Sequential(conv(channels, width), nn.ReLU(inplace=True), conv(width, width))
        self.body = conv(width, width)
        self.tail = nn.Sequential(conv(width, width), nn.ReLU(inplace=True), conv(width, channels))
        self.weight = nn.Parameter(torch.full((recursions,), 1 / recursions))

    def forward(self, x: Tensor) -> Tensor:
        x = bicubic(x, self.scale)
        state = self.relu(self.head(x))
        predictions = []
        for _ in range(self.recursions):
            state = self.relu(self.body(state))
            predictions.append(x + self.tail(state))
        stacked = torch.stack(predictions, dim=0)
        weight = self.weight / self.weight.sum()
        return (stacked * weight.view(-1, 1, 1, 1, 1)).sum(dim=0)
