"""Scales, joins, splits, shuffles: what moves and combines channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.blocks.base import Block, Call, divisors

__all__ = [
    "Constant",
    "Partial",
    "Scale",
    "cat",
    "combine",
    "constant",
    "gated",
    "partial",
    "pixel_shuffle",
    "pixel_unshuffle",
    "repeated",
    "resize",
    "scale",
    "shuffle",
    "split",
]


class Scale(Block):
    """A learned scale or shift of some broadcastable shape."""

    def __init__(self, c: int, shape: tuple[int, ...], how: str, buffer: bool) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("scale", torch.zeros(shape))
        else:
            self.scale = nn.Parameter(torch.zeros(shape))
        self.how, self.out = how, (c,)

    def forward(self, x: Any) -> Any:
        if self.how == "mul":
            return x * self.scale
        if self.how == "rmul":
            return self.scale * x
        if self.how == "add":
            return x + self.scale
        if self.how == "expand":
            return x * self.scale.expand_as(x)
        return torch.addcmul(x, x, self.scale)

    def extra_repr(self) -> str:
        return f"{self.how} {tuple(self.scale.shape)}"


def scale(r: Random, c: int) -> Block:
    shapes: list[tuple[int, ...]] = [(c, 1, 1), (1, c, 1, 1), (1,), (), (1, 1, 1, 1)]
    return Scale(c, r.choice(shapes), r.choice(["mul", "rmul", "add", "expand", "addcmul"]), r.random() < 0.2)


class Constant(Block):
    """A constant made on the way takes part."""

    def __init__(self, c: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.out = (c + 1 if how == "coordinates" else 2 * c if how == "cat zeros" else c,)

    def forward(self, x: Any) -> Any:
        if self.how == "cat zeros":
            return torch.cat([x, torch.zeros_like(x)], 1)
        if self.how == "coordinates":
            return torch.cat([x, torch.ones_like(x[:, :1])], 1)
        if self.how == "new zeros":
            return x + x.new_zeros(x.shape)
        return x + torch.ones_like(x)

    def extra_repr(self) -> str:
        return self.how


def constant(r: Random, c: int) -> Block:
    return Constant(c, r.choice(["cat zeros", "coordinates", "new zeros", "ones"]))


def combine(r: Random, c: int) -> Block:
    how: dict[str, Callable[[Any, Any], Any]] = {
        "add": lambda x, y: x + y,
        "add 0.1": lambda x, y: x + 0.1 * y,
        "torch.add": lambda x, y: torch.add(x, y, alpha=0.5),
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "gate": lambda x, y: x * torch.sigmoid(y),
        "iadd": lambda x, y: (x * 1).add_(y),
        "lerp": lambda x, y: torch.lerp(x, y, 0.3),
        "max": torch.maximum,
        "stack sum": lambda x, y: torch.stack([x, y], 1).sum(1),
        "stack mean": lambda x, y: torch.stack([x, y], dim=0).mean(0),
        "stack channels": lambda x, y: torch.stack([x, y], 2).flatten(1, 2)[:, ::2],
        "select": lambda x, y: (lambda w: w[0] * x + w[1] * y)(
            torch.softmax(torch.stack([x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)]), 0)
        ),
        "correlate": lambda x, y: x * (x * y).sum(1, keepdim=True),
        "pixel gate": lambda x, y: x * y.mean(1, keepdim=True),
        "one channel": lambda x, y: x * y[:, :1],
        "sum of three": lambda x, y: sum([x, y, x]),
    }
    name = r.choice(list(how))
    return Call(name, [c], how[name])


def split(r: Random, c: int) -> Block | None:
    if c < 2:
        return None
    a = r.randint(1, c - 1)
    half, third = -(-c // 2), -(-c // 3)
    made: list[tuple[str, Sequence[int], Callable[[Any], Any]]] = [
        (f"split {a}", (a, c - a), lambda x: torch.split(x, [a, c - a], dim=1)),
        ("method split", (a, c - a), lambda x: x.split((a, c - a), 1)),
        ("chunk 2", (half, c - half), lambda x: x.chunk(2, 1)),
        ("slices", (a, c - a), lambda x: (x[:, :a], x[:, a:])),
        ("narrow", (a, c - a), lambda x: (x.narrow(1, 0, a), x.narrow(1, a, c - a))),
        ("steps", (half, c - half), lambda x: (x[:, ::2], x[:, 1::2, ...])),
        ("overlapping", (a, c), lambda x: (x[:, -a:], x)),
        ("one", (1, c), lambda x: (x[:, 0:1], x)),
        ("select", (1, c - 1), lambda x: (x[:, 0].unsqueeze(1), x[:, 1:])),
        ("list", (2, c), lambda x: (x[:, [c - 1, 0]], x)),
        ("tensor_split", (a, c - a), lambda x: torch.tensor_split(x, [a], 1)),
        ("unbound", (1, 1), lambda x: (x.unbind(1)[0][:, None], x.unbind(1)[-1].unsqueeze(1))),
    ]
    if c % 3 == 0:
        made.append(("chunk 3", (third,) * 3, lambda x: torch.chunk(x, 3, dim=1)))
        made.append(("split int", (third,) * 3, lambda x: torch.split(x, third, dim=1)))
    if c % 2 == 0:
        made.append(("folded", (half, half), lambda x: x.view(x.shape[0], 2, half, *x.shape[2:]).unbind(1)))
        made.append(("unflatten", (half, half), lambda x: x.unflatten(1, (half, 2)).unbind(2)))
    name, out, function = r.choice(made)
    return Call(name, out, function)


def gated(r: Random, c: int) -> Block | None:
    if c % 2:
        return None
    how: dict[str, Callable[[Any], Any]] = {
        "simple gate": lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1],
        "glu": lambda x: F.glu(x, 1),
        "gelu gate": lambda x: F.gelu(x[:, : c // 2]) * x[:, c // 2 :],
        "maxout": lambda x: x.view(x.shape[0], 2, c // 2, x.shape[2], x.shape[3]).max(1)[0],
        "pair sum": lambda x: x.reshape(x.shape[0], c // 2, 2, x.shape[2], x.shape[3]).sum(2),
    }
    name = r.choice(list(how))
    return Call(name, [c // 2], how[name])


def _shuffle(x: Any, g: int) -> Any:
    b, c, h, w = x.shape
    return x.view(b, g, c // g, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


def shuffle(r: Random, c: int) -> Block | None:
    if not divisors(c):
        return None
    g = r.choice(divisors(c))
    how: list[tuple[str, Callable[[Any], Any]]] = [
        (f"shuffle {g}", lambda x: _shuffle(x, g)),
        (f"ChannelShuffle {g}", lambda x: F.channel_shuffle(x, g)),
        ("index", lambda x: x[:, list(range(c - 1, -1, -1))]),
        (
            "flatten shuffle",
            lambda x: x.reshape(x.size(0), g, c // g, x.size(2), x.size(3)).permute(0, 2, 1, 3, 4).flatten(1, 2),
        ),
    ]
    name, function = r.choice(how)
    return Call(name, [c], function)


def pixel_shuffle(r: Random, c: int) -> Block | None:
    if c % 4:
        return None
    by_hand: Callable[[Any], Any] = lambda x: (  # noqa: E731
        x.view(x.shape[0], c // 4, 2, 2, x.shape[2], x.shape[3])
        .permute(0, 1, 4, 2, 5, 3)
        .reshape(x.shape[0], c // 4, 2 * x.shape[2], 2 * x.shape[3])
    )
    name, function = r.choice([("pixel shuffle", lambda x: F.pixel_shuffle(x, 2)), ("by hand", by_hand)])
    return Call(name, [c // 4], function, 2)


def pixel_unshuffle(r: Random, c: int) -> Block:
    def parts(x: Any) -> Any:
        return torch.cat([x[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)], 1)

    name, function = r.choice([("unshuffle", lambda x: F.pixel_unshuffle(x, 2)), ("focus", parts)])
    return Call(name, [4 * c], function, Fraction(1, 2))


def resize(r: Random, c: int) -> Block:
    made: list[tuple[str, Callable[[Any], Any], Fraction]] = [
        ("nearest", lambda x: F.interpolate(x, scale_factor=2), Fraction(2)),
        (
            "bilinear",
            lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
            Fraction(2),
        ),
        ("bicubic", lambda x: F.interpolate(x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="bicubic"), Fraction(2)),
        ("average", lambda x: F.avg_pool2d(x, 2), Fraction(1, 2)),
        ("max", lambda x: F.max_pool2d(x, 2), Fraction(1, 2)),
    ]
    name, function, zoom = r.choice(made)
    return Call(name, [c], function, zoom)


def repeated(r: Random, c: int) -> Block:
    made: list[tuple[str, int, Callable[[Any], Any]]] = [
        ("repeat", 2 * c, lambda x: x.repeat(1, 2, 1, 1)),
        ("interleave", 2 * c, lambda x: x.repeat_interleave(2, dim=1)),
        ("cat with itself", 2 * c, lambda x: torch.cat([x, x], 1)),
        ("expanded", 2 * c, lambda x: x[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2)),
        ("padded", c + 2, lambda x: F.pad(x, (0, 0, 0, 0, 1, 1))),
    ]
    name, out, function = r.choice(made)
    return Call(name, [out], function)


class Partial(Block):
    """Only some channels are convolved (FasterNet), by cat or in place."""

    def __init__(self, c: int, a: int, in_place: bool) -> None:
        super().__init__()
        self.a, self.in_place, self.out = a, in_place, (c,)
        self.conv = nn.Conv2d(a, a, 3, padding=1)

    def forward(self, x: Any) -> Any:
        if self.in_place:
            x = x.clone()
            x[:, : self.a] = self.conv(x[:, : self.a])
            return x
        return torch.cat([self.conv(x[:, : self.a]), x[:, self.a :]], 1)


def partial(r: Random, c: int) -> Block | None:
    return Partial(c, r.randint(1, c - 1), r.random() < 0.4) if c > 1 else None


def cat(r: Random, *c: int) -> Block:
    return Call("cat", [sum(c)], lambda *x: torch.cat(x, 1))
