"""NAFSSR: stereo image super-resolution using NAFNet (Chu et al., CVPRW 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.nafnet import LayerNorm2d, NAFBlock
from fxprune.zoo.parts import conv, pixel_shuffle_once

__all__ = ["NAFSSR"]


class StereoAttention(nn.Module):
    """SCAM: each view attends to the other along the rows, where a stereo pair's matching pixels lie."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.norm_left = LayerNorm2d(width)
        self.norm_right = LayerNorm2d(width)
        self.query_left = conv(width, width, 1)
        self.query_right = conv(width, width, 1)
        self.value_left = conv(width, width, 1)
        self.value_right = conv(width, width, 1)
        self.beta = nn.Parameter(torch.zeros((1, width, 1, 1)))
        self.gamma = nn.Parameter(torch.zeros((1, width, 1, 1)))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        q_left = self.query_left(self.norm_left(left)).permute(0, 2, 3, 1)
        q_right = self.query_right(self.norm_right(right)).permute(0, 2, 1, 3)
        v_left = self.value_left(left).permute(0, 2, 3, 1)
        v_right = self.value_right(right).permute(0, 2, 3, 1)
        scores = torch.matmul(q_left, q_right) * self.scale
        to_left = torch.matmul(torch.softmax(scores, dim=-1), v_right)
        to_right = torch.matmul(torch.softmax(scores.permute(0, 1, 3, 2), dim=-1), v_left)
        left = left + to_left.permute(0, 3, 1, 2) * self.beta
        right = right + to_right.permute(0, 3, 1, 2) * self.gamma
        return left, right


class ViewsBlock(nn.Module):
    """One NAF block applied to every view, then, for a stereo pair, attention between the two."""

    def __init__(self, width: int, stereo: bool) -> None:
        super().__init__()
        self.block = NAFBlock(width)
        self.fusion = StereoAttention(width) if stereo else None

    def forward(self, *views: Tensor) -> tuple[Tensor, ...]:
        views = tuple([self.block(x) for x in views])
        if self.fusion is not None:
            views = self.fusion(*views)
        return views


class NAFSSR(nn.Module):
    """NAFSSR: (N, views * channels, H, W) -> (N, views * channels, scale H, scale W), any H and W.

    Two views, left then right, side by side in the channels; one without `stereo`, which is NAFNet-SR. The defaults are
    NAFSSR-T: 0.46M parameters for x4.

    Args:
        scale: magnification.
        blocks: NAF blocks, each followed by attention between the views.
        width: channels of the stream of each view.
        channels: channels of the picture.
        stereo: whether there are two views.
    """

    def __init__(
        self, scale: int = 4, blocks: int = 16, width: int = 48, channels: int = 3, stereo: bool = True
    ) -> None:
        super().__init__()
        self.scale = scale
        self.stereo = stereo
        self.head = conv(channels, width)
        self.body = nn.ModuleList(ViewsBlock(width, stereo) for _ in range(blocks))
        self.tail = nn.Sequential(*pixel_shuffle_once(width, channels, scale))

    def forward(self, x: Tensor) -> Tensor:
        enlarged = F.interpolate(x, scale_factor=self.scale, mode="bilinear")
        views = x.chunk(2, dim=1) if self.stereo else (x,)
        views = tuple([self.head(view) for view in views])
        for block in self.body:
            views = block(*views)
        return torch.cat([self.tail(view) for view in views], dim=1) + enlarged
