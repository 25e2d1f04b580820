"""RCAN: image super-resolution using very deep residual channel attention networks (Zhang et al., ECCV 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from fxprune.zoo.parts import ChannelAttention, conv, pixel_shuffle_stages, shift_pair

__all__ = ["RCAN"]


class AttentionBlock(nn.Module):
    """RCAB: x + res_scale * attention(conv2(relu(conv1(x))))."""

    def __init__(self, width: int, reduction: int, attention: bool, res_scale: float) -> None:
        super().__init__()
        self.conv1 = conv(width, width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(width, width)
        self.attention = ChannelAttention(width, reduction) if attention else nn.Identity()
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.attention(self.conv2(self.relu(self.conv1(x))))
        if self.res_scale != 1:
            residual = residual * self.res_scale
        return x + residual


class ResidualGroup(nn.Module):
    """x + conv(blocks(x)): the residual in the residual."""

    def __init__(self, blocks: int, width: int, reduction: int, attention: bool, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(AttentionBlock(width, reduction, attention, res_scale) for _ in range(blocks)),
            conv(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual


class RCAN(nn.Module):
    """RCAN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are the paper's network, 15,444,667 parameters for x2.

    Args:
        scale: magnification: 2, 3, 4 or 8.
        groups: residual groups.
        blocks: residual channel attention blocks of each group.
        width: channels of the residual stream.
        channels: channels of the picture.
        attention: whether the blocks have channel attention.
        reduction: how many times fewer channels the attention's bottleneck has than the stream.
        res_scale: factor on each block's residual.
        mean_shift: whether the mean colour of DIV2K is taken off first and put back last, by fixed 1x1 convolutions.
        rgb_range: largest value of a pixel: 1 for pictures in [0, 1]; the original weights expect 255.
    """

    def __init__(
        self,
        scale: int = 2,
        groups: int = 10,
        blocks: int = 20,
        width: int = 64,
        channels: int = 3,
        attention: bool = True,
        reduction: int = 16,
        res_scale: float = 1.0,
        mean_shift: bool = True,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = shift_pair(mean_shift, rgb_range, channels)
        self.head = conv(channels, width)
        self.body = nn.Sequential(
            *(ResidualGroup(blocks, width, reduction, attention, res_scale) for _ in range(groups)),
            conv(width, width),
        )
        self.tail = nn.Sequential(*pixel_shuffle_stages(width, scale), conv(width, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x))
        x = self.tail(self.body(x) + x)
        y: Tensor = self.add_mean(x)
        return y
