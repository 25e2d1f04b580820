"""Building blocks of random networks: each takes images (batch, channels, height, width) and gives images back.

`out` is the number of channels of each output, `zoom` what the block does to height and width. All that a network in
the wild does to channels should be here at least once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["BLOCKS", "Block", "divisors"]


class Block(nn.Module):
    """One step of a network."""

    out: tuple[int, ...]
    zoom = Fraction(1)


def divisors(n: int, least: int = 2) -> list[int]:
    """Divisors of `n`, from `least` on, `n` aside."""
    return [d for d in range(least, n) if n % d == 0]


def width(r: Random) -> int:
    """How many channels to make."""
    return r.choice([2, 4, 6, 8, 8, 12, 16])


class Plain(Block):
    """A layer, or several in a row, that keep what they are told."""

    def __init__(self, out: int, *layers: nn.Module, zoom: Fraction | int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.out, self.zoom = (out,), Fraction(zoom)

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Call(Block):
    """A function without parameters."""

    def __init__(self, name: str, out: Sequence[int], function: Callable[..., Any], zoom: Fraction | int = 1) -> None:
        super().__init__()
        self.name, self.function = name, function
        self.out, self.zoom = tuple(out), Fraction(zoom)

    def forward(self, *x: Any) -> Any:
        return self.function(*x)

    def extra_repr(self) -> str:
        return f"{self.name} -> {self.out}"


# -- convolutions ------------------------------------------------------------------------------------------------------


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


# -- elementwise -------------------------------------------------------------------------------------------------------

ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x * 1, inplace=True),
    "leaky in place": lambda x: (x * 2).mul_(0.5).add_(0.1).relu_(),
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "hardswish": F.hardswish,
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp above zero": lambda x: x.clamp(0.25, 1),
    "square": lambda x: x**2,
    "shifted": lambda x: x + 0.5,
    "scaled": lambda x: x * 0.25,
    "reversed": lambda x: 1 - x,
    "divided": lambda x: 1 / (1 + x.abs()),
    "x * sigmoid(x)": lambda x: x * torch.sigmoid(x),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "cos": torch.cos,
    "dropout": lambda x: F.dropout(x, 0.5, False),
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: torch.roll(x, (1, -1), (2, 3)),
    "shift and crop": lambda x: F.pad(x, (1, 1, 1, 1))[:, :, 2:, :-2],
    "reflect": lambda x: F.pad(x, (1, 0, 0, 1), mode="reflect")[:, :, :-1, 1:],
    "max pool": lambda x: F.max_pool2d(x, 3, 1, 1),
    "avg pool": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "clone": lambda x: x.clone().contiguous(),
    "transposed twice": lambda x: x.transpose(2, 3).relu().transpose(-1, -2),
    "maximum": lambda x: torch.maximum(x, -x),
    "softmax in space": lambda x: x.flatten(2).softmax(-1).unflatten(2, x.shape[2:]),
    "centred in space": lambda x: x - x.mean((2, 3), keepdim=True),
    "global pool": lambda x: x * F.adaptive_avg_pool2d(x, 1),
    "squeezed": lambda x: x.unsqueeze(2).squeeze(2),
    "float": lambda x: x.float().type_as(x),
    "to tokens and back": lambda x: x.flatten(2).transpose(1, 2).tanh().transpose(1, 2).reshape(x.shape),
}

# statistics over channels: the removed must still count
ACROSS: dict[str, Callable[[Any], Any]] = {
    "mean over channels": lambda x: x - x.mean(1, keepdim=True),
    "mean over all": lambda x: x - x.mean((1, 2, 3), keepdim=True),
    "mean of everything": lambda x: x * x.mean(),
    "sum over channels": lambda x: x * x.sum(1, keepdim=True),
    "max over channels": lambda x: x * x.amax(1, keepdim=True),
    "max with places": lambda x: x * torch.max(x, 1, keepdim=True)[0],
    "min over channels": lambda x: x - x.amin(dim=1, keepdim=True),
    "std over channels": lambda x: x / (1 + x.std(1, keepdim=True)),
    "var by hand": lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-3).sqrt(),
    "l2 normalised": lambda x: F.normalize(x, dim=1),
    "rms": lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-4),
    "softmax over channels": lambda x: x.softmax(1),
    "softmax of relu": lambda x: F.softmax(F.relu(x), dim=1),
    "log softmax": lambda x: F.log_softmax(x, 1),
    "norm over channels": lambda x: x / (1 + torch.linalg.vector_norm(x, dim=1, keepdim=True)),
    "cumsum": lambda x: torch.cumsum(x, 1),
    "sorted": lambda x: torch.sort(x, 1)[0],
    "local response": lambda x: F.local_response_norm(x, 3),
    "flipped channels": lambda x: x.flip(1),
    "rolled channels": lambda x: torch.roll(x, 1, 1),
    "gram": lambda x: (torch.softmax(x.flatten(2) @ x.flatten(2).transpose(1, 2) / 64, -1) @ x.flatten(2)).view_as(x),
    "logsumexp": lambda x: x - torch.logsumexp(x, 1, keepdim=True),
}


def elementwise(r: Random, c: int) -> Block:
    name = r.choice(list(ELEMENTWISE))
    return Call(name, [c], ELEMENTWISE[name])


def across(r: Random, c: int) -> Block:
    name = r.choice(list(ACROSS))
    return Call(name, [c], ACROSS[name])


def activation(r: Random, c: int) -> Block:
    made = [nn.ReLU(), nn.LeakyReLU(0.2, True), nn.PReLU(), nn.PReLU(c), nn.GELU(), nn.Sigmoid(), nn.ELU(), nn.Mish()]
    return Plain(c, nn.Identity(), r.choice(made))


# -- norms -------------------------------------------------------------------------------------------------------------


def norm(r: Random, c: int) -> Block:
    affine = r.random() < 0.8
    made: list[nn.Module] = [
        nn.BatchNorm2d(c, affine=affine),
        nn.BatchNorm2d(c, track_running_stats=False),
        nn.InstanceNorm2d(c, affine=affine),
        nn.InstanceNorm2d(c, affine=affine, track_running_stats=True),
        nn.GroupNorm(1, c, affine=affine),
        *(nn.GroupNorm(g, c, affine=affine) for g in [*divisors(c), c]),
    ]
    return Plain(c, r.choice(made))


class LayerNorm(Block):
    """Over channels, brought to the end and back; with `tail`, something that is not zero in between."""

    def __init__(self, c: int, affine: bool, functional: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c, elementwise_affine=affine)
        self.functional, self.out = functional, (c,)

    def forward(self, x: Any) -> Any:
        x = x.permute(0, 2, 3, 1)
        if self.functional:
            x = F.layer_norm(x, (x.shape[-1],), self.norm.weight, self.norm.bias, 1e-5)
        else:
            x = self.norm(x)
        return x.permute(0, 3, 1, 2)


class LayerNorm2d(Block):
    """Over channels, where they are (NAFNet)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))
        self.out = (c,)

    def forward(self, x: Any) -> Any:
        mu = x.mean(1, keepdim=True)
        var = (x - mu).pow(2).mean(1, keepdim=True)
        y = (x - mu) / (var + 1e-6).sqrt()
        return self.weight[:, None, None] * y + self.bias.view(1, -1, 1, 1)


def layer_norm(r: Random, c: int) -> Block:
    return r.choice([LayerNorm(c, r.random() < 0.8, r.random() < 0.3), LayerNorm2d(c)])


# -- structure ---------------------------------------------------------------------------------------------------------


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
    parts: Callable[[Any], Any] = lambda x: torch.cat(
        [x[:, :, ::2, ::2], x[:, :, 1::2, ::2], x[:, :, ::2, 1::2], x[:, :, 1::2, 1::2]], 1
    )
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


# -- attention ---------------------------------------------------------------------------------------------------------


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
        b, c, h, w = x.shape
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


def cat(r: Random, *c: int) -> Block:
    return Call("cat", [sum(c)], lambda *x: torch.cat(x, 1))


# kind → (how to draw one, how many inputs, whether these have equally many channels, how often)
BLOCKS: dict[str, tuple[Callable[..., Block | None], int, bool, int]] = {
    "activation": (activation, 1, False, 6),
    "across": (across, 1, False, 4),
    "cat": (cat, 2, False, 6),
    "cat of three": (cat, 3, False, 2),
    "channel_attention": (channel_attention, 1, False, 3),
    "combine": (combine, 2, True, 10),
    "constant": (constant, 1, False, 2),
    "conv": (conv, 1, False, 14),
    "depthwise": (depthwise, 1, False, 3),
    "efficient": (efficient, 1, False, 1),
    "elementwise": (elementwise, 1, False, 6),
    "functional": (functional, 1, False, 3),
    "gated": (gated, 1, False, 3),
    "grouped": (grouped, 1, False, 4),
    "grouped_transposed": (grouped_transposed, 1, False, 2),
    "layer_norm": (layer_norm, 1, False, 3),
    "mixed": (mixed, 1, False, 2),
    "mlp": (mlp, 1, False, 2),
    "multi_head": (multi_head, 1, False, 1),
    "norm": (norm, 1, False, 5),
    "partial": (partial, 1, False, 2),
    "pixel_shuffle": (pixel_shuffle, 1, False, 3),
    "pixel_unshuffle": (pixel_unshuffle, 1, False, 2),
    "repeated": (repeated, 1, False, 2),
    "resize": (resize, 1, False, 2),
    "scale": (scale, 1, False, 4),
    "shuffle": (shuffle, 1, False, 3),
    "spatial_attention": (spatial_attention, 1, False, 2),
    "split": (split, 1, False, 6),
    "strided": (strided, 1, False, 2),
    "token_attention": (token_attention, 1, False, 2),
    "transposed": (transposed, 1, False, 2),
    "transposed_attention": (transposed_attention, 1, False, 2),
    "unfolded": (unfolded, 1, False, 1),
    "weight_normed": (weight_normed, 1, False, 1),
    "weight_normed_old": (weight_normed_old, 1, False, 1),
}
