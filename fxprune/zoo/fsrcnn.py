"""FSRCNN: accelerating the super-resolution convolutional neural network (Dong et al., ECCV 2016)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from fxprune.zoo.parts import conv

__all__ = ["FSRCNN"]


class FSRCNN(nn.Module):
    """FSRCNN(d, s, m): (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    Feature extraction, shrinking, mapping, expanding, and a 9x9 transposed convolution that enlarges. The defaults are
    FSRCNN(56, 12, 4), 12,464 weights on luminance (channels=1); width=32, shrink=5, blocks=1 is FSRCNN-s, 3,937.

    Args:
        scale: magnification, the stride of the transposed convolution.
        blocks: mapping layers (m).
        width: channels of the extracted features (d).
        shrink: channels between shrinking and expanding (s).
        channels: channels of the picture.
    """

    def __init__(self, scale: int = 2, blocks: int = 4, width: int = 56, shrink: int = 12, channels: int = 3) -> None:
        super().__init__()
        kernels = [5, 1, *[3] * blocks, 1]
        widths = [channels, width, *[shrink] * (blocks + 1), width]
        layers: list[nn.Module] = []
        for kernel, (inputs, outputs) in zip(kernels, pairwise(widths), strict=True):
            layers += [conv(inputs, outputs, kernel), nn.PReLU(outputs)]
        self.body = nn.Sequential(*layers)
        self.tail = nn.ConvTranspose2d(width, channels, 9, stride=scale, padding=4, output_padding=scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tail(self.body(x))
        return y
