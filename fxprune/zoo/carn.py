"""CARN: fast, accurate, and lightweight super-resolution with cascading residual network (Ahn et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import conv, pixel_shuffle_stages, require, shift_pair

__all__ = ["CARN"]


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))); CARN-M's efficient block has grouped convolutions and a 1x1 after them."""

    def __init__(self, width: int, conv_groups: int, efficient: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            conv(width, width, groups=conv_groups),
            nn.ReLU(inplace=True),
            conv(width, width, groups=conv_groups),
        ]
        if efficient:
            layers += [nn.ReLU(inplace=True), conv(width, width, 1)]
        self.body = nn.Sequential(*layers)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.body(x) + x)
        return y


class Cascade(nn.Module):
    """Stages in a row, each followed by a 1x1 convolution over the input and the output of every stage so far."""

    def __init__(self, stages: list[nn.Module], width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.fuse = nn.ModuleList(
            nn.Sequential(conv(width * (i + 2), width, 1), nn.ReLU(inplace=True)) for i in range(len(stages))
        )

    def forward(self, x: Tensor) -> Tensor:
        gathered = x
        for stage, fuse in zip(self.stages, self.fuse, strict=True):
            gathered = torch.cat([gathered, stage(x)], dim=1)
            x = fuse(gathered)
        return x


class CARN(nn.Module):
    """CARN: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    A cascade of cascades of residual blocks. The defaults are CARN for one scale (964,187 parameters for x2; the
    paper's 1,592K hold the upsamplers of all three). conv_groups=4, efficient=yes, recursive=yes is CARN-M.

    Args:
        scale: magnification: 2, 3, 4 or 8.
        blocks: residual blocks of each cascade, and cascades of the network.
        width: channels of the stream.
        channels: channels of the picture.
        conv_groups: groups of the 3x3 convolutions in residual blocks and upsampler.
        efficient: whether residual blocks end with a 1x1 convolution.
        recursive: whether the blocks of a cascade are one block, used `blocks` times.
        mean_shift: whether the mean colour of DIV2K is taken off first and put back last, by fixed 1x1 convolutions.
        rgb_range: largest value of a pixel.
    """

    def __init__(
        self,
        scale: int = 2,
        blocks: int = 3,
        width: int = 64,
        channels: int = 3,
        conv_groups: int = 1,
        efficient: bool = False,
        recursive: bool = False,
        mean_shift: bool = True,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        require(width % conv_groups == 0, f"width={width} is not a multiple of conv_groups={conv_groups}")
        self.sub_mean, self.add_mean = shift_pair(mean_shift, rgb_range, channels)
        self.head = conv(channels, width)
        cascades: list[nn.Module] = []
        for _ in range(blocks):
            distinct = [ResidualBlock(width, conv_groups, efficient) for _ in range(1 if recursive else blocks)]
            cascades.append(Cascade([distinct[i % len(distinct)] for i in range(blocks)], width))
        self.body = Cascade(cascades, width)
        upsampler = pixel_shuffle_stages(width, scale, groups=conv_groups, relu=True)
        self.tail = nn.Sequential(*upsampler, conv(width, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.tail(self.body(self.head(self.sub_mean(x))))
        y: Tensor = self.add_mean(x)
        return y
