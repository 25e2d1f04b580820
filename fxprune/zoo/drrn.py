"""DRRN: image super-resolution via deep recursive residual network (Tai et al., CVPR 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from fxprune.zoo.parts import bicubic, conv

__all__ = ["DRRN"]


def preactivated(inputs: int, outputs: int) -> nn.Sequential:
    """Batch norm, ReLU, 3x3 convolution."""
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), conv(inputs, outputs))


class RecursiveBlock(nn.Module):
    """A convolution, then `units` residual units that share their weights and all start from its output."""

    def __init__(self, inputs: int, width: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.enter = preactivated(inputs, width)
        self.conv1 = preactivated(width, width)
        self.conv2 = preactivated(width, width)

    def forward(self, x: Tensor) -> Tensor:
        start = self.enter(x)
        state: Tensor = start
        for _ in range(self.units):
            state = self.conv2(self.conv1(state)) + start
        return state


class DRRN(nn.Module):
    """DRRN(B, U): (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are DRRN_B1U25: 52 layers deep, 297,216 weights on luminance (channels=1).

    Args:
        scale: bicubic magnification in front of the network; 1 takes an already enlarged picture.
        blocks: recursive blocks (B).
        units: residual units of a block, all of one set of weights (U).
        width: channels of the stream.
        channels: channels of the picture.
    """

    def __init__(self, scale: int = 2, blocks: int = 1, units: int = 25, width: int = 128, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(*(RecursiveBlock(channels if i == 0 else width, width, units) for i in range(blocks)))
        self.tail = preactivated(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = bicubic(x, self.scale)
        residual: Tensor = self.tail(self.body(x))
        return x + residual
