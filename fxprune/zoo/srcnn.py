"""SRCNN: image super-resolution using deep convolutional networks (Dong et al., ECCV 2014, TPAMI 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from fxprune.zoo.parts import bicubic, conv, require

__all__ = ["SRCNN"]


class SRCNN(nn.Module):
    """SRCNN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    Patch extraction, non-linear mapping, reconstruction, after a bicubic enlargement. The paper works on luminance
    alone (channels=1), where 9-1-5 has 8,032 weights and 9-5-5 has 57,184. Convolutions are padded, so that the size
    stays; the paper's are not.

    Args:
        scale: bicubic magnification in front of the network; 1 takes an already enlarged picture.
        width: channels after the first layer (n1); the second layer has half of them (n2).
        channels: channels of the picture.
        kernel: size of the second layer's kernel: 1 gives 9-1-5, 3 gives 9-3-5, 5 gives 9-5-5.
    """

    def __init__(self, scale: int = 2, width: int = 64, channels: int = 3, kernel: int = 1) -> None:
        super().__init__()
        require(width >= 2, "width=1 leaves no channel for the second layer")
        require(kernel % 2 == 1, f"kernel={kernel} is even, and would not keep the size")
        self.scale = scale
        self.extract = conv(channels, width, 9)
        self.map = conv(width, width // 2, kernel)
        self.reconstruct = conv(width // 2, channels, 5)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = bicubic(x, self.scale)
        x = self.relu(self.extract(x))
        x = self.relu(self.map(x))
        y: Tensor = self.reconstruct(x)
        return y
