"""Elementwise functions, statistics over channels, activations and norms."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.blocks.base import Block, Call, Plain, divisors

__all__ = ["LayerNorm", "LayerNorm2d", "across", "activation", "elementwise", "layer_norm", "norm"]


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
