"""Small networks, one for each thing that a graph may hold."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

Inputs = tuple[Any, ...]
IMAGE = (1, 3, 8, 10)


def conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class Block(nn.Module):
    """conv, relu, conv, added to the input; the width within may differ from block to block."""

    def __init__(self, width: int, within: int, scale: float = 1.0) -> None:
        super().__init__()
        self.conv1, self.conv2, self.scale = conv(width, within), conv(within, width), scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x))) * self.scale


class Residual(nn.Module):
    """EDSR: blocks, a last conv in the same list, a long skip."""

    def __init__(self, within: tuple[int, ...] = (4, 5, 4, 6)) -> None:
        super().__init__()
        self.head = conv(3, 8)
        self.body = nn.Sequential(*(Block(8, n, 0.1) for n in within), conv(8, 8))
        self.tail = nn.Sequential(conv(8, 12), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        return self.tail(self.body(x) + x)


class Group(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(8, n) for n in (3, 4, 5))
        self.last = conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        skip = x
        for block in self.blocks:
            x = block(x)
        return self.last(x) + skip


class Nested(nn.Module):
    """RCAN: groups of blocks, and an outer skip."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.groups, self.tail = conv(3, 8), nn.ModuleList(Group() for _ in range(3)), conv(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        y = x
        for group in self.groups:
            y = group(y)
        return self.tail(y + x)


class Dense(nn.Module):
    """RDN: everything made so far is joined; IMDN: what each block gave is collected."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(3 + 4 * i, 4) for i in range(4))
        self.fuse = conv(3 + 16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = [x]
        for layer in self.convs:
            made.append(torch.relu(layer(torch.cat(made, 1))))
        return self.fuse(torch.cat(made, dim=1))


class Split(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 12), conv(4, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a, b, c = torch.split(self.first(x), (2, 4, 6), dim=1)
        d, e = self.second(b).chunk(2, 1)
        return a, (c[:, 1:4] * d, e[:, None, ..., ::2])


class Shared(nn.Module):
    """One conv used twice, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.again = conv(3, 8), conv(8, 8)
        self.one, self.two = conv(8, 8), conv(8, 8)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        for _ in range(3):
            x = self.again(x).relu()
        return self.two(self.one(x))


class Tensors(nn.Module):
    """Parameters and buffers of the network's own, of several types, one not saved by the original."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, 3, 1, 1))
        self.inner = nn.Module()
        self.inner.shift = nn.Parameter(torch.rand(3, 1, 1), requires_grad=False)
        self.inner.register_buffer("index", torch.tensor([2, 0, 1]))
        self.inner.register_buffer("keep", torch.tensor([True, False, True]))
        self.register_buffer("mean", torch.rand(1, 3, 1, 1, dtype=torch.float64), persistent=False)
        self.conv = conv(3, 4)
        self.conv.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean.float()) * self.scale + self.inner.shift
        x = torch.where(self.inner.keep.view(-1, 1, 1), x, -x)
        return self.conv(x[:, self.inner.index]) + self.conv.bias.sum()


class Reshape(nn.Module):
    """Window partition: sizes taken from the input."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.view(n, c, h // 2, 2, x.size(3) // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        x = x * (c**-0.5) + math.sqrt(2)
        return x.view(n, h // 2, w // 2, 2, 2, -1).permute(0, 5, 1, 3, 2, 4).contiguous().view(n, c, h, w)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(3), nn.Linear(3, 24), nn.Linear(8, 3)
        self.heads = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=0.5)
        out = self.proj(mixed.transpose(1, 2).flatten(2))
        return out + self.heads(out, out, out, need_weights=False)[0]


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("turn", torch.tensor([0.5 + 0.25j]))

    def forward(self, x: Tensor) -> Tensor:
        bands = torch.fft.rfft2(x, norm="ortho") * (0.5 - 1.5j) * self.turn
        return torch.fft.irfft2(bands, s=x.shape[-2:], norm="ortho")


class Keywords(nn.Module):
    """Defaults, several inputs, outputs with names."""

    def forward(self, x: Tensor, k: int = 2, mode: str = "nearest", *, y: Tensor | None = None) -> dict[str, Any]:
        big = F.interpolate(x, scale_factor=k, mode="nearest")
        return {"big": big, "list": [x.mean((2, 3), keepdim=True), (x + 1.5,)], "size": x.shape[2]}


class Arithmetic(nn.Module):
    """Operators of every binding strength, constants of every kind."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a = -((x + 1) ** 2) - (x - (x - 3)) / (2 * x + 1) // 0.5 % 3
        b = 2.5**x + 2 ** (-x) + (x**2) ** 3 - x ** (2**x)
        c = ((x > 0) & (x < 0.5)) | ~(x == 0.25) ^ (x >= 0.75)
        d = x.masked_fill(c, float("-inf")).clamp(min=-1e30).to(torch.float64)
        e = torch.zeros(2, dtype=torch.int64, device=torch.device("cpu")) + (1 << 3)
        f = x.to(memory_format=torch.channels_last) @ x.transpose(-1, -2)
        g = operator.iadd(x * 2, 1)
        return a, b, c, d, e, f, g, x.shape[2] - 3, torch.add(x, x, alpha=-2)  # type: ignore[return-value]


class Groups(nn.Module):
    """Grouped, depthwise and transposed convolutions, norms, pools, pads."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6), nn.PReLU(6),
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.GroupNorm(2, 6), nn.GELU(), nn.AvgPool2d(2),
            nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1), nn.Dropout(0.5),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Gaps(nn.Module):
    """A list of which some members are not used, and names that are no identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*(conv(3, 3) for _ in range(5)))
        self.odd = nn.ModuleDict({"conv-1": conv(3, 3), "b w": conv(3, 3), "2": conv(3, 3)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.net[3](self.net[1](x))
        return self.odd["2"](self.odd["b w"](self.odd["conv-1"](x)))


class Pairs(nn.Module):
    """Two lists walked together, and one that is shifted."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.ModuleList(conv(3, 3) for _ in range(4)) for _ in range(2))
        self.scale = nn.Parameter(torch.rand(3))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for a, b in zip(self.left, self.right, strict=True):
            x, y = a(x) + y, b(y).sigmoid() * x
        z = x
        for i in range(3):
            z = self.left[i](z) + self.left[i + 1](z) * x
        return x + y * z


class Swaps(nn.Module):
    """Values that change places from turn to turn, and a first value that is needed again."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(3, 3) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x, x
        for layer in self.convs:
            a, b = layer(b) + x, a * 0.5
        first = a
        for layer in self.convs:
            kept = layer(first)
            first = torch.relu(kept) - layer(first) * a
        return first + a - b


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(3, 3) for _ in range(3))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.convs:
            y = layer(x)
            z = y * 2
            x = y.add_(1) + z + self.act(y)
        return x


def top_level() -> nn.Module:
    """A network that is a list itself."""
    return nn.Sequential(conv(3, 4), nn.ReLU(), nn.Sequential(conv(4, 4), nn.SiLU()), conv(4, 3))


def half() -> nn.Module:
    return Residual().to(torch.bfloat16)


def image(dtype: torch.dtype = torch.float32) -> Inputs:
    return (torch.rand(IMAGE, generator=torch.Generator().manual_seed(1)).to(dtype),)


NETS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    **{
        cls.__name__.lower(): (cls, image())
        for cls in (
            *(Residual, Nested, Dense, Split, Shared, Tensors, Reshape, Attention, Fourier, Arithmetic, Groups),
            *(Gaps, Pairs, Swaps, InPlace),
        )
    },
    "keywords": (Keywords, (*image(), 3)),
    "top level": (top_level, image()),
    "bfloat16": (half, image(torch.bfloat16)),
}


def traced(name: str) -> tuple[fx.GraphModule, Inputs]:
    """A network of the table as a graph, with inputs."""
    make, inputs = NETS[name]
    torch.manual_seed(0)
    model = make()
    return fx.symbolic_trace(model.eval()), inputs
