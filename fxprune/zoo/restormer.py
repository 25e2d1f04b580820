"""Restormer: efficient transformer for high-resolution image restoration (Zamir et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune.zoo.parts import bicubic, conv, require
from fxprune.zoo.windows import pad_to_multiple

__all__ = ["Restormer"]


class LayerNorm(nn.Module):
    """Layer norm over the channels of (N, C, H, W), written out; the bias-free one keeps the mean."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        variance = x.var(-1, keepdim=True, unbiased=False)
        if self.bias is None:
            x = x / torch.sqrt(variance + 1e-5) * self.weight
        else:
            x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(variance + 1e-5) * self.weight + self.bias
        return x.transpose(1, 2).reshape(n, c, h, w)


class TransposedAttention(nn.Module):
    """MDTA: attention between channels, heads by heads, on queries and keys normalised over the pixels."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv(width, 3 * width, 1, bias=bias)
        self.qkv_depthwise = conv(3 * width, 3 * width, groups=3 * width, bias=bias)
        self.proj = conv(width, width, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv_depthwise(self.qkv(x)).chunk(3, dim=1)
        q = q.reshape(n, self.heads, c // self.heads, h * w)
        k = k.reshape(n, self.heads, c // self.heads, h * w)
        v = v.reshape(n, self.heads, c // self.heads, h * w)
        q = F.normalize(q, dim=-1)
        k = F.normalize(k, dim=-1)
        scores = (q @ k.transpose(-2, -1)) * self.temperature
        mixed = scores.softmax(dim=-1) @ v
        y: Tensor = self.proj(mixed.reshape(n, c, h, w))
        return y


class GatedFeedForward(nn.Module):
    """GDFN: project(gelu(a) * b), where a and b are the halves of a depthwise convolution's output."""

    def __init__(self, width: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(width * expansion)
        self.enter = conv(width, 2 * hidden, 1, bias=bias)
        self.depthwise = conv(2 * hidden, 2 * hidden, groups=2 * hidden, bias=bias)
        self.leave = conv(hidden, width, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.depthwise(self.enter(x)).chunk(2, dim=1)
        y: Tensor = self.leave(F.gelu(a) * b)
        return y


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then the same with the feed-forward layer."""

    def __init__(self, width: int, heads: int, expansion: float, bias: bool, norm_bias: bool) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, norm_bias)
        self.attn = TransposedAttention(width, heads, bias)
        self.norm2 = LayerNorm(width, norm_bias)
        self.ffn = GatedFeedForward(width, expansion, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.ffn(self.norm2(x))
        return y


class Restormer(nn.Module):
    """Restormer: (N, channels, H, W) -> (N, channels, scale H, scale W), scale H and scale W of 8 or more.

    A U-net of transformer blocks over four levels; the paper's restores without enlarging (scale=1), 26.13M
    parameters.

    Args:
        scale: bicubic magnification in front of the network; 1 restores at the picture's own size.
        blocks: transformer blocks of the levels, from full size to an eighth.
        refinement: transformer blocks after the last decoder.
        width: channels at full size; each level has twice as many.
        heads: attention heads of the levels.
        mlp_ratio: channels inside a feed-forward layer over those outside.
        channels: channels of the picture.
        bias: whether convolutions have biases.
        norm_bias: whether layer norms have biases and take the mean off.
    """

    def __init__(
        self,
        scale: int = 1,
        blocks: tuple[int, ...] = (4, 6, 6, 8),
        refinement: int = 4,
        width: int = 48,
        heads: tuple[int, ...] = (1, 2, 4, 8),
        mlp_ratio: float = 2.66,
        channels: int = 3,
        bias: bool = False,
        norm_bias: bool = True,
    ) -> None:
        super().__init__()
        require(len(blocks) == len(heads) >= 2, "blocks and heads name the same levels, two or more")
        require(width % 2 == 0, f"width={width} is odd, and going down a level halves it")
        widths = [width * 2**i for i in range(len(blocks))]
        for channels_here, count in zip(widths, heads, strict=True):
            require(channels_here % count == 0, f"a level of {channels_here} channels cannot have {count} heads")

        def stack(level: int, count: int, channels_here: int) -> nn.Sequential:
            return nn.Sequential(
                *(TransformerBlock(channels_here, heads[level], mlp_ratio, bias, norm_bias) for _ in range(count))
            )

        *decoded, deepest = range(len(blocks))
        self.scale = scale
        self.head = conv(channels, width, bias=False)
        self.encoders = nn.ModuleList(stack(i, blocks[i], widths[i]) for i in decoded)
        self.downs = nn.ModuleList(
            nn.Sequential(conv(widths[i], widths[i] // 2, bias=False), nn.PixelUnshuffle(2)) for i in decoded
        )
        self.latent = stack(deepest, blocks[deepest], widths[deepest])
        self.ups = nn.ModuleList(
            nn.Sequential(conv(widths[i + 1], widths[i + 1] * 2, bias=False), nn.PixelShuffle(2)) for i in decoded
        )
        # The first level's decoder keeps the channels of both the skip and what comes from below.
        self.reduce = nn.ModuleList(
            nn.Identity() if i == 0 else conv(2 * widths[i], widths[i], 1, bias=bias) for i in decoded
        )
        self.decoders = nn.ModuleList(stack(i, blocks[i], 2 * width if i == 0 else widths[i]) for i in decoded)
        self.refinement = stack(0, refinement, 2 * width)
        self.tail = conv(2 * width, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        picture = bicubic(x, self.scale)
        h, w = picture.shape[2:]
        picture = pad_to_multiple(picture, 2 ** len(self.encoders))
        x = self.head(picture)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(x))
            x = down(skips[-1])
        x = self.latent(x)
        for i in reversed(range(len(skips))):
            x = torch.cat([self.ups[i](x), skips[i]], 1)
            x = self.decoders[i](self.reduce[i](x))
        x = self.tail(self.refinement(x)) + picture
        return x[:, :, :h, :w]
