"""Attention over channels, over space, over tokens."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.blocks.base import Block, divisors, width

__all__ = [
    "ChannelAttention",
    "Efficient",
    "Mlp",
    "MultiHead",
    "SpatialAttention",
    "TokenAttention",
    "TransposedAttention",
    "channel_attention",
    "efficient",
    "mlp",
    "multi_head",
    "spatial_attention",
    "token_attention",
    "transposed_attention",
]


class ChannelAttention(Block):
    """Squeeze and excite, with linear layers or 1×1 convolutions, by mean or with contrast (IMDN)."""

    def __init__(self, c: int, inner: int, how: str) -> None:
        super().__init__()
        self.how, self.out = how, (c,)
        kind: Any = nn.Linear if how == "linear" else lambda a, b: nn.Conv2d(a, b, 1)
        self.down, self.up = kind(c, inner), kind(inner, c)

    def forward(self, x: Any) -> Any:
        if self.how == "linear":
            y = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
            return x * y.view(y.shape[0], -1, 1, 1)
        y = F.adaptive_avg_pool2d(x, 1)
        if self.how == "contrast":
            y = y + ((x - y).pow(2).sum((2, 3), keepdim=True) / (x.size(2) * x.size(3))).sqrt()
        return x * torch.sigmoid(self.up(F.relu(self.down(y))))


def channel_attention(r: Random, c: int) -> Block:
    return ChannelAttention(c, r.choice([1, 2, 4, 6]), r.choice(["conv", "linear", "contrast"]))


class SpatialAttention(Block):
    """A map over the picture, from statistics over channels (CBAM) or from a convolution."""

    def __init__(self, c: int, how: str) -> None:
        super().__init__()
        self.how, self.out = how, (c,)
        self.conv = nn.Conv2d(2 if how == "cbam" else c, c if how == "pixel" else 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        if self.how == "cbam":
            y = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], dim=1)
            return x * torch.sigmoid(self.conv(y))
        return x * torch.sigmoid(self.conv(x))


def spatial_attention(r: Random, c: int) -> Block:
    return SpatialAttention(c, r.choice(["cbam", "map", "pixel"]))


class Efficient(Block):
    """ECA: a 1-d convolution along the channels."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(1, 1, 3, padding=1), (c,)

    def forward(self, x: Any) -> Any:
        y = self.conv(x.mean((2, 3)).unsqueeze(1)).transpose(1, 2).unsqueeze(-1)
        return x * torch.sigmoid(y)


def efficient(r: Random, c: int) -> Block:
    return Efficient(c)


class TokenAttention(Block):
    """Multi-head self attention over pixels, or over the pixels of windows of 2 × 2."""

    def __init__(self, c: int, heads: int, how: str, window: bool) -> None:
        super().__init__()
        self.heads, self.how, self.window, self.out = heads, how, window, (c,)
        self.qkv, self.proj = nn.Linear(c, 3 * c, bias=heads > 1), nn.Linear(c, c)
        self.table = nn.Parameter(torch.zeros(heads, 4, 4)) if window else None
        self.scale = (c // heads) ** -0.5

    def forward(self, x: Any) -> Any:
        b, c, h, w = x.shape
        if self.window:
            t = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        else:
            t = x.flatten(2).transpose(1, 2)
        t = t + self.proj(self.attend(self.qkv(t)))
        if self.window:
            return t.view(b, h // 2, w // 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        return t.transpose(1, 2).view(b, c, h, w)

    def attend(self, qkv: Any) -> Any:
        n, t, c3 = qkv.shape
        c = c3 // 3
        if self.how == "chunk":
            q, k, v = (y.reshape(n, t, self.heads, c // self.heads).transpose(1, 2) for y in qkv.chunk(3, dim=-1))
        else:
            q, k, v = qkv.reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.how == "sdpa" and self.table is None:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            a = (q * self.scale) @ k.transpose(-2, -1)
            if self.table is not None:
                a = a + self.table.unsqueeze(0)
            y = a.softmax(-1) @ v
        return y.transpose(1, 2).reshape(n, t, c)


def token_attention(r: Random, c: int) -> Block:
    return TokenAttention(c, r.choice([1, *divisors(c)]), r.choice(["permute", "chunk", "sdpa"]), r.random() < 0.5)


class TransposedAttention(Block):
    """Attention between channels (Restormer)."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.heads, self.out = heads, (c,)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.local = nn.Conv2d(3 * c, 3 * c, 3, padding=1, groups=3 * c)
        self.proj = nn.Conv2d(c, c, 1)

    def forward(self, x: Any) -> Any:
        b, _, h, w = x.shape
        q, k, v = (y.view(b, self.heads, -1, h * w) for y in self.local(self.qkv(x)).chunk(3, dim=1))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        y = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(-1) @ v
        return x + self.proj(y.reshape(b, -1, h, w))


def transposed_attention(r: Random, c: int) -> Block:
    return TransposedAttention(c, r.choice([1, *divisors(c)]))


class Mlp(Block):
    """Channels last, two linear layers, perhaps gated."""

    def __init__(self, c: int, inner: int, gate: bool) -> None:
        super().__init__()
        self.gate, self.out = gate, (c,)
        self.norm = nn.LayerNorm(c)
        self.up, self.down = nn.Linear(c, 2 * inner if gate else inner), nn.Linear(inner, c)

    def forward(self, x: Any) -> Any:
        y = self.up(self.norm(x.permute(0, 2, 3, 1)))
        if self.gate:
            a, b = y.chunk(2, dim=-1)
            y = F.gelu(a) * b
        else:
            y = F.gelu(y)
        return x + self.down(y).permute(0, 3, 1, 2)


def mlp(r: Random, c: int) -> Block:
    return Mlp(c, width(r), r.random() < 0.5)


class MultiHead(Block):
    """torch's own multi-head attention."""

    def __init__(self, c: int, heads: int) -> None:
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(c, heads, batch_first=True), (c,)

    def forward(self, x: Any) -> Any:
        b, c, h, w = x.shape
        t = x.flatten(2).transpose(1, 2)
        return (t + self.attend(t, t, t, need_weights=False)[0]).transpose(1, 2).reshape(b, c, h, w)


def multi_head(r: Random, c: int) -> Block:
    return MultiHead(c, r.choice([1, *divisors(c)]))
