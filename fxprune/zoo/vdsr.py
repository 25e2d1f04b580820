"""VDSR: accurate image super-resolution using very deep convolutional networks (Kim et al., CVPR 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from fxprune.zoo.parts import bicubic, conv, require

__all__ = ["VDSR"]


class VDSR(nn.Module):
    """VDSR: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    A plain stack of 3x3 convolutions that learns what a bicubic enlargement lacks. The paper works on luminance alone
    (channels=1), 665,921 parameters.

    Args:
        scale: bicubic magnification in front of the network; 1 takes an already enlarged picture.
        layers: convolutions, first and last included; 2 or more.
        width: channels of the hidden layers.
        channels: channels of the picture.
    """

    def __init__(self, scale: int = 2, layers: int = 20, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        require(layers >= 2, "layers=1 is less than a first and a last convolution")
        self.scale = scale
        self.head = nn.Sequential(conv(channels, width), nn.ReLU(inplace=True))
        body: list[nn.Module] = []
        for _ in range(layers - 2):
            body += [conv(width, width), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*body)
        self.tail = conv(width, channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = bicubic(x, self.scale)
        residual: Tensor = self.tail(self.body(self.head(x)))
        return x + residual
