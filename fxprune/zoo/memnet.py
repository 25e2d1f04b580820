"""MemNet: a persistent memory network for image restoration (Tai et al., ICCV 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import bicubic, conv

__all__ = ["MemNet"]


def preactivated(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Batch norm, ReLU, convolution."""
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), conv(inputs, outputs, kernel))


class MemoryBlock(nn.Module):
    """One residual unit applied `units` times, and a 1x1 gate over its states and the outputs of all blocks before."""

    def __init__(self, width: int, units: int, memories: int) -> None:
        super().__init__()
        self.units = units
        self.conv1 = preactivated(width, width)
        self.conv2 = preactivated(width, width)
        self.gate = preactivated((units + memories) * width, width, 1)

    def forward(self, x: Tensor, memories: list[Tensor]) -> Tensor:
        states = []
        for _ in range(self.units):
            x = self.conv2(self.conv1(x)) + x
            states.append(x)
        y: Tensor = self.gate(torch.cat(states + memories, dim=1))
        return y


class MemNet(nn.Module):
    """MemNet: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    The defaults are the basic MemNet_M6R6: 80 layers deep, 676,992 weights on luminance (channels=1).

    Args:
        scale: bicubic magnification in front of the network; 1 takes an already enlarged picture.
        blocks: memory blocks (M).
        units: applications of a block's residual unit (R).
        width: channels of the stream.
        channels: channels of the picture.
        ensemble: whether the picture is reconstructed from every memory block, by the same last layer, and the
            predictions are added with learnt weights: the paper's multi-supervised network.
    """

    def __init__(
        self,
        scale: int = 2,
        blocks: int = 6,
        units: int = 6,
        width: int = 64,
        channels: int = 3,
        ensemble: bool = False,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.head = preactivated(channels, width)
        self.body = nn.ModuleList(MemoryBlock(width, units, i + 1) for i in range(blocks))
        self.tail = preactivated(width, channels)
        self.weight = nn.Parameter(torch.full((blocks,), 1 / blocks)) if ensemble else None

    def forward(self, x: Tensor) -> Tensor:
        x = bicubic(x, self.scale)
        memories = [self.head(x)]
        for block in self.body:
            memories.append(block(memories[-1], memories))
        if self.weight is None:
            last: Tensor = self.tail(memories[-1])
            return x + last
        y = torch.zeros_like(x)
        for i, memory in enumerate(memories[1:]):
            y = y + self.weight[i] * (x + self.tail(memory))
        return y
