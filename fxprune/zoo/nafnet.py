"""NAFNet: simple baselines for image restoration (Chen et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.parts import bicubic, conv, require

__all__ = ["NAFBlock", "NAFNet"]


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (N, C, H, W), written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.pow(2).mean(1, keepdim=True)
        y = centred / (variance + 1e-6).sqrt()
        return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


class SimpleGate(nn.Module):
    """The product of the two halves of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a * b


class NAFBlock(nn.Module):
    """Two residual branches without a non-linear activation; beta and gamma scale them by channel, from zero on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(width)
        self.conv1 = conv(width, 2 * width, 1)
        self.conv2 = conv(2 * width, 2 * width, groups=2 * width)
        self.gate = SimpleGate()
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(width, width, 1))
        self.conv3 = conv(width, width, 1)
        self.norm2 = LayerNorm2d(width)
        self.conv4 = conv(width, 2 * width, 1)
        self.conv5 = conv(width, width, 1)
        self.beta = nn.Parameter(torch.zeros((1, width, 1, 1)))
        self.gamma = nn.Parameter(torch.zeros((1, width, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.gate(self.conv2(self.conv1(self.norm1(x))))
        y = self.conv3(y * self.attention(y))
        x = x + y * self.beta
        y = self.conv5(self.gate(self.conv4(self.norm2(x))))
        z: Tensor = x + y * self.gamma
        return z


class NAFNet(nn.Module):
    """NAFNet: (N, channels, H, W) -> (N, channels, scale H, scale W), any H and W.

    A U-net of NAF blocks; the paper's restores without enlarging (scale=1). The defaults are NAFNet-width32 for
    deblurring, 17.1M parameters.

    Args:
        scale: bicubic magnification in front of the network; 1 restores at the picture's own size.
        width: channels at full size; each level has twice as many.
        encoder: NAF blocks of each encoding level, from full size down.
        middle: NAF blocks at the smallest size.
        decoder: NAF blocks of each decoding level, from the smallest up.
        channels: channels of the picture.
    """

    def __init__(
        self,
        scale: int = 1,
        width: int = 32,
        encoder: tuple[int, ...] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: tuple[int, ...] = (1, 1, 1, 1),
        channels: int = 3,
    ) -> None:
        super().__init__()
        require(len(encoder) == len(decoder), f"{len(encoder)} levels are encoded and {len(decoder)} decoded")
        self.scale = scale
        self.head = conv(channels, width)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        for count in encoder:
            self.encoders.append(nn.Sequential(*(NAFBlock(width) for _ in range(count))))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, 2))
            width = 2 * width
        self.middle = nn.Sequential(*(NAFBlock(width) for _ in range(middle)))
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        for count in decoder:
            self.ups.append(nn.Sequential(conv(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width = width // 2
            self.decoders.append(nn.Sequential(*(NAFBlock(width) for _ in range(count))))
        self.tail = conv(width, channels)
        self.multiple = 2 ** len(encoder)

    def padded(self, x: Tensor) -> Tensor:
        """Zeros at the lower and right edge until every level can be halved."""
        _, _, h, w = x.size()
        below = (self.multiple - h % self.multiple) % self.multiple
        right = (self.multiple - w % self.multiple) % self.multiple
        return F.pad(x, (0, right, 0, below))

    def forward(self, x: Tensor) -> Tensor:
        picture = bicubic(x, self.scale)
        _, _, h, w = picture.shape
        picture = self.padded(picture)
        x = self.head(picture)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for decoder, up, skip in zip(self.decoders, self.ups, skips[::-1], strict=True):
            x = decoder(up(x) + skip)
        x = self.tail(x) + picture
        return x[:, :, :h, :w]
