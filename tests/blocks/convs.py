"""Convolutions of every kind, as layers, as functions, and written as other things."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.blocks.base import Block, Plain, divisors, width

__all__ = [
    "Einsum",
    "Functional",
    "Unfolded",
    "WeightNormed",
    "conv",
    "depthwise",
    "functional",
    "grouped",
    "grouped_transposed",
    "mixed",
    "strided",
    "transposed",
    "unfolded",
    "weight_normed",
    "weight_normed_old",
]


def conv(r: Random, c: int) -> Block:
    k, d = r.choice([(1, 1), (3, 1), (3, 2)])
    out, mode = width(r), r.choice(["zeros"] * 4 + ["replicate", "circular"])
    return Plain(out, nn.Conv2d(c, out, k, padding=d * (k // 2), dilation=d, bias=r.random() < 0.8, padding_mode=mode))


def strided(r: Random, c: int) -> Block:
    out = width(r)
    return Plain(out, nn.Conv2d(c, out, 2, 2), zoom=Fraction(1, 2))


def transposed(r: Random, c: int) -> Block:
    out = width(r)
    return Plain(out, nn.ConvTranspose2d(c, out, 4, 2, 1, bias=r.random() < 0.8), zoom=2)


def grouped(r: Random, c: int) -> Block | None:
    if not divisors(c):
        return None
    g = r.choice(divisors(c))
    out = g * r.choice([1, 2, 3, 4])
    return Plain(out, nn.Conv2d(c, out, 3, padding=1, groups=g, bias=r.random() < 0.8))


def grouped_transposed(r: Random, c: int) -> Block | None:
    if not divisors(c):
        return None
    g = r.choice([*divisors(c), c])
    out = g * r.choice([1, 2, 3])
    return Plain(out, nn.ConvTranspose2d(c, out, 3, padding=1, groups=g, bias=r.random() < 0.8))


def depthwise(r: Random, c: int) -> Block:
    out = c * r.choice([1, 1, 1, 2])
    return Plain(out, nn.Conv2d(c, out, 3, padding=1, groups=c, bias=r.random() < 0.8))


class Functional(Block):
    """A convolution by `F.conv2d`, perhaps with a kernel put together from two (re-parameterised blocks)."""

    def __init__(self, c: int, out: int, groups: int, merged: bool, stride: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(c, out, 3, groups=groups)
        self.b = nn.Conv2d(c, out, 1, groups=groups) if merged else None
        self.groups, self.stride = groups, stride
        self.out, self.zoom = (out,), Fraction(1, stride)

    def forward(self, x: Any) -> Any:
        weight, bias = self.a.weight, self.a.bias
        if self.b is not None:
            weight, bias = weight + F.pad(self.b.weight, (1, 1, 1, 1)), bias + self.b.bias
        return F.conv2d(x, weight, bias, self.stride, 1, 1, self.groups)


def functional(r: Random, c: int) -> Block:
    g = r.choice([1, 1, 1, *divisors(c), c])
    return Functional(c, g * r.choice([1, 2, 3]) if g > 1 else width(r), g, r.random() < 0.6, r.choice([1, 1, 2]))


class Einsum(Block):
    """Channels mixed by a learned matrix, without a layer."""

    def __init__(self, c: int, out: int, how: str) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(out, c))
        self.how, self.out = how, (out,)

    def forward(self, x: Any) -> Any:
        if self.how == "einsum":
            return torch.einsum("bchw,oc->bohw", x, self.mix)
        if self.how == "linear":
            return F.linear(x.permute(0, 2, 3, 1), self.mix).permute(0, 3, 1, 2)
        if self.how == "tensordot":
            return torch.tensordot(x, self.mix, dims=([1], [1])).permute(0, 3, 1, 2)
        b, c, h, w = x.shape
        return (self.mix @ x.view(b, c, h * w)).view(b, -1, h, w)


def mixed(r: Random, c: int) -> Block:
    return Einsum(c, width(r), r.choice(["einsum", "linear", "matmul", "tensordot"]))


class Unfolded(Block):
    """A convolution written with `unfold` and a product, or neighbourhood features."""

    def __init__(self, c: int, out: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(out, 9 * c))
        self.out = (out,)

    def forward(self, x: Any) -> Any:
        b, _, h, w = x.shape
        return torch.matmul(self.mix, F.unfold(x, 3, padding=1)).view(b, -1, h, w)


def unfolded(r: Random, c: int) -> Block:
    return Unfolded(c, width(r))


class WeightNormed(Plain):
    """Weight norm, by either of torch's two ways."""


def weight_normed(r: Random, c: int) -> Block:
    out = width(r)
    layer = nn.Conv2d(c, out, 3, padding=1)
    return WeightNormed(out, torch.nn.utils.parametrizations.weight_norm(layer))


def weight_normed_old(r: Random, c: int) -> Block:
    import warnings

    out = width(r)
    layer = nn.Conv2d(c, out, 3, padding=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WeightNormed(out, torch.nn.utils.weight_norm(layer))
