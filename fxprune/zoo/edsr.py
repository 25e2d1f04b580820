"""EDSR: enhanced deep residual networks for single image super-resolution (Lim et al., CVPRW 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from fxprune.zoo.parts import conv, pixel_shuffle_once, pixel_shuffle_stages, shift_pair

__all__ = ["EDSR"]


class ResidualBlock(nn.Module):
    """x + res_scale * conv2(relu(conv1(x))), without batch norm."""

    def __init__(self, width: int, res_scale: float) -> None:
        super().__init__()
        self.conv1 = conv(width, width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(width, width)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(self.relu(self.conv1(x)))
        if self.res_scale != 1:
            residual = residual * self.res_scale
        return x + residual


class EDSR(nn.Module):
    """EDSR: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are EDSR-baseline x2, 1,369,883 parameters. The large model is blocks=32, width=256, res_scale=0.1.

    Args:
        scale: magnification: 2, 3, 4 or 8.
        blocks: residual blocks; `body` holds them and one more convolution.
        width: channels of the residual stream.
        channels: channels of the picture.
        res_scale: factor on each block's residual.
        final_conv: whether a 3x3 convolution ends the network. Without it the tail is one convolution
            width -> channels * scale^2 straight into the pixel shuffle: the lightweight networks of ASSL and SRP.
        mean_shift: whether the mean colour of DIV2K is taken off first and put back last, by fixed 1x1 convolutions.
        rgb_range: largest value of a pixel: 1 for pictures in [0, 1]; the original weights expect 255.
    """

    def __init__(
        self,
        scale: int = 2,
        blocks: int = 16,
        width: int = 64,
        channels: int = 3,
        res_scale: float = 1.0,
        final_conv: bool = True,
        mean_shift: bool = True,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = shift_pair(mean_shift, rgb_range, channels)
        self.head = conv(channels, width)
        self.body = nn.Sequential(*(ResidualBlock(width, res_scale) for _ in range(blocks)), conv(width, width))
        self.tail = nn.Sequential(*upsampling_tail(width, channels, scale, final_conv))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x))
        x = self.tail(self.body(x) + x)
        y: Tensor = self.add_mean(x)
        return y


def upsampling_tail(width: int, channels: int, scale: int, final_conv: bool) -> list[nn.Module]:
    """The layers of `tail`: staged upsampler and final convolution, or the lightweight one-step upsampler."""
    if final_conv:
        return [*pixel_shuffle_stages(width, scale), conv(width, channels)]
    return pixel_shuffle_once(width, channels, scale)
