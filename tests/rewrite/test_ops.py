"""One op between two convolutions: what is cut stays exact, as much as can be is cut, and the rest has its reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fxprune
from fxprune.errors import PlanError
from tests.networks import fill
from tests.oracle import assert_exact

Function = Callable[[Any, Any], Any]  # the network, what the first convolution gives → what the second one takes
IMAGE, OTHER = (1, 3, 12, 8), (2, 3, 8, 12)


class Between(nn.Module):
    """A convolution to eight channels, the op, a convolution to three."""

    def __init__(self, function: Function, **layers: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.function = function
        with torch.no_grad():
            width = function(copy.deepcopy(self).eval(), torch.rand(1, 8, 12, 8)).shape[1]
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return self.last(self.function(self, self.first(x)))


def parts(x: Any) -> tuple[Any, Any, Any, Any]:
    return x.size(0), x.size(1), x.size(2), x.size(3)


def by_hand(x: Any) -> Any:
    """Channel shuffle as most networks write it."""
    b, c, h, w = parts(x)
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


def written(x: Any, width: int) -> Any:
    """`x[:, :width]` replaced in place."""
    x = x.clone()
    x[:, :width] = torch.relu(x[:, :width]) + 1
    return x


# op → function, how many units of the first convolution may go
EXACT: dict[str, tuple[Function, int]] = {
    # sizes written down
    "view with a literal": (lambda n, x: x.view(x.size(0), 8, -1).view(x.size(0), 8, x.size(2), x.size(3)), 8),
    "view with arithmetic": (lambda n, x: x.reshape(x.shape[0] * 8, 1, *x.shape[2:]).view(-1, 8, *x.shape[2:]), 8),
    "view of batch and channels": (lambda n, x: x.view(x.size(0) * x.size(1), 1, *x.shape[2:]).view(x.shape), 8),
    "view with minus one": (lambda n, x: x.view(-1, 8, x.size(2), x.size(3)), 8),
    "view into pairs": (lambda n, x: x.view(x.size(0), -1, 2, x.size(2), x.size(3)).mean(2), 4),
    "view into halves": (lambda n, x: x.view(x.size(0), 2, 4, x.size(2), x.size(3)).sum(1), 4),
    "unflatten": (lambda n, x: x.unflatten(1, (2, 4)).sum(1), 4),
    "unflatten by keywords": (lambda n, x: x.unflatten(dim=1, sizes=(2, 4)).sum(1), 4),
    "unflatten in space": (lambda n, x: x.flatten(2).softmax(-1).unflatten(2, x.shape[2:]), 8),
    "expand with a literal": (lambda n, x: x.mean((2, 3), keepdim=True).expand(-1, 8, x.size(2), x.size(3)) * x, 8),
    "repeat": (lambda n, x: x.repeat(1, 2, 1, 1), 8),
    "interleave": (lambda n, x: x.repeat_interleave(2, dim=1), 8),
    "ones of a literal size": (lambda n, x: x * torch.ones(1, 8, 1, 1), 8),
    "a row of numbers": (lambda n, x: x * torch.arange(8).view(1, 8, 1, 1), 8),
    # numbers made of sizes keep their value
    "scaled by the width": (lambda n, x: x * x.shape[1] ** -0.5, 8),
    "sum over the width": (lambda n, x: x - x.sum(1, keepdim=True) / x.shape[1], 8),
    "sum over a literal": (lambda n, x: x - x.sum(1, keepdim=True) / 8, 8),
    # parts
    "split": (lambda n, x: torch.cat(x.split([3, 5], dim=1)[::-1], 1), 8),
    "split of equal sizes": (lambda n, x: torch.relu(torch.split(x, 4, 1)[1]), 8),
    "chunk": (lambda n, x: x.chunk(2, dim=1)[0] * x.chunk(2, dim=1)[1], 4),
    "tensor_split": (lambda n, x: torch.tensor_split(x, 3, 1)[1], 8),
    "hsplit": (lambda n, x: torch.hsplit(x, 2)[0], 8),
    "narrow by keywords": (lambda n, x: x.narrow(dim=1, start=2, length=4), 8),
    "slice with a step": (lambda n, x: x[:, 1::3], 8),
    "slice from the end": (lambda n, x: x[:, -3:], 8),
    "ellipsis": (lambda n, x: x.permute(0, 2, 3, 1)[..., 2:6].permute(0, 3, 1, 2), 8),
    "one channel": (lambda n, x: x * x[:, 2:3], 7),
    "select by keywords": (lambda n, x: x.select(dim=1, index=2).unsqueeze(1), 7),
    "cropped by a negative pad": (lambda n, x: F.pad(x, (0, 0, 0, 0, -2, 0)), 8),
    "joined along an axis": (lambda n, x: torch.cat((x, x[:, :2]), axis=1), 8),
    "set in place": (lambda n, x: written(x, 3), 8),
    "glu": (lambda n, x: F.glu(x, dim=1), 4),
    "maxout": (lambda n, x: x.view(x.size(0), 2, 4, x.size(2), x.size(3)).max(1)[0], 4),
    # places
    "flip": (lambda n, x: x.flip((1, 2)), 8),
    "roll": (lambda n, x: x.roll(3, 1), 8),
    "roll backwards": (lambda n, x: torch.roll(x, shifts=(1, -2), dims=(2, 1)), 8),
    "channel shuffle": (lambda n, x: F.channel_shuffle(x, 2), 4),
    "channel shuffle by hand": (lambda n, x: by_hand(x), 4),
    "pixel shuffle": (lambda n, x: F.pixel_shuffle(x, 2), 2),
    "pixel unshuffle": (lambda n, x: F.pixel_unshuffle(x, 2), 8),
    "swapped axes": (lambda n, x: x.swapaxes(1, 2).swapdims(1, 2), 8),
    "shifted windows": (lambda n, x: x.roll((2, 2), (2, 3)).roll((-2, -2), (2, 3)), 8),
    "triu in space": (lambda n, x: x.triu(), 8),
    # statistics over channels: what went still counts
    "mean": (lambda n, x: x - x.mean(1, keepdim=True), 8),
    "mean by another name": (lambda n, x: x - x.mean(axis=1, keepdims=True), 8),
    "mean by keywords": (lambda n, x: x - torch.mean(input=x, dim=1, keepdim=True), 8),
    "mean of all": (lambda n, x: x * x.mean(), 8),
    "mean over several": (lambda n, x: x - x.mean((1, 2, 3), keepdim=True), 8),
    "variance": (lambda n, x: x / (1 + x.var(1, keepdim=True, unbiased=False)), 8),
    "variance by another name": (lambda n, x: x / (1 + x.var(axis=1, keepdims=True)), 8),
    "largest": (lambda n, x: x - x.amax(1, keepdim=True), 8),
    "largest with its place": (lambda n, x: x - x.max(1, keepdim=True).values, 8),
    "smallest": (lambda n, x: x - torch.amin(x, dim=(1, 2, 3), keepdim=True), 8),
    "length": (lambda n, x: x / (1 + torch.linalg.vector_norm(x, dim=1, keepdim=True)), 8),
    "largest of lengths": (lambda n, x: x * torch.linalg.vector_norm(x, ord=float("inf"), dim=1, keepdim=True), 8),
    "normalised": (lambda n, x: F.normalize(x, dim=1), 8),
    "cumulated in space, in place": (
        lambda n, x: torch.softmax(x.cumsum(-1).cumsum_(-2)[..., -1:, :] * x.mean((2, 3), True), 2) * x,
        8,
    ),
    "a sum over channels that were cumulated": (lambda n, x: x * x.cumsum(2).sum(1, True), 8),
    "squeezed in place": (lambda n, x: (x + 1).unsqueeze_(2).transpose_(-1, -2).squeeze_(2).transpose_(2, 3), 8),
    "not squeezed in place": (
        lambda n, x: (x + 1).squeeze_(2) * x.mean((0, 2, 3)).unsqueeze_(0).t_().view(-1, 1, 1),
        8,
    ),
    "cosine": (lambda n, x: x * F.cosine_similarity(x, x.roll(1, 2), dim=1).unsqueeze(1), 8),
    "root mean square": (lambda n, x: F.rms_norm(x.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2), 8),
    "softmax": (lambda n, x: x.softmax(dim=1), 8),
    "softmax in double": (lambda n, x: F.softmax(x, dim=1, dtype=torch.float64).float(), 8),
    "softmax between halves": (lambda n, x: x.unflatten(1, (2, 4)).softmax(1).flatten(1, 2), 4),
    "layer norm": (lambda n, x: F.layer_norm(x.permute(0, 2, 3, 1), [8]).permute(0, 3, 1, 2), 8),
    "group norm": (lambda n, x: F.group_norm(x, 2), 4),
    "group norm with a scale": (lambda n, x: F.group_norm(x, 4, n.first.bias), 4),
    "group norm of single channels": (lambda n, x: F.group_norm(x, 8), 8),
    "instance norm": (lambda n, x: F.instance_norm(x), 8),
    "batch norm": (lambda n, x: F.batch_norm(x, n.first.bias, n.first.bias.abs()), 8),
    "gram": (lambda n, x: torch.einsum("bchw,bdhw->bcd", x, x).sum(-1).view(-1, 8, 1, 1) * x, 8),
    "mean of what is not zero": (lambda n, x: x * torch.sigmoid(x).mean(1, keepdim=True), 8),
    "sum of what is not zero": (lambda n, x: x * torch.sum(input=torch.sigmoid(x), dim=1, keepdim=True), 8),
    "mean of a shifted gate": (lambda n, x: x * torch.sigmoid(x + x.amax(1, keepdim=True)).mean(1, keepdim=True), 8),
    # elementwise
    "where": (lambda n, x: torch.where(x > 0, x, 0.1 * x), 8),
    "masked": (lambda n, x: x.masked_fill(x < 0, -1.0), 8),
    "clamped by a parameter": (lambda n, x: torch.clamp(x, n.first.bias.view(1, -1, 1, 1)), 8),
    "in place": (lambda n, x: x.mul_(2).add_(1).relu_(), 8),
    "zeros of its shape": (lambda n, x: torch.cat([x, torch.zeros_like(x)], 1), 8),
    "zeros of its width": (lambda n, x: x + torch.zeros(1, x.shape[1], 1, 1), 8),
    "ones of its shape": (lambda n, x: x * torch.ones(x.shape[1], x.shape[2], 1), 8),
    "sevens of its width": (lambda n, x: x * torch.full((1, x.size(1), 1, 1), 7.0), 8),
    # products
    "unfold": (lambda n, x: F.unfold(x, 3, padding=1).view(x.size(0), -1, x.size(2), x.size(3)), 8),
    "unfold and fold": (
        lambda n, x: F.fold(F.unfold(x, 2, stride=2).relu(), (x.size(2), x.size(3)), 2, stride=2),
        8,
    ),
    "fourier": (lambda n, x: torch.fft.irfft2(torch.fft.rfft2(x)), 8),
    "real and imaginary": (lambda n, x: (lambda f: torch.cat([f.real, f.imag], 1))(torch.fft.rfft2(x)), 8),
    "sampled": (lambda n, x: F.grid_sample(x, torch.zeros(1, 12, 12, 2).expand(x.size(0), -1, -1, -1)), 8),
    "gathered in space": (lambda n, x: torch.gather(x, 2, torch.argsort(x, 2)), 8),
}

LAYERS: dict[str, tuple[nn.Module, int]] = {
    "layer norm": (nn.Sequential(nn.Flatten(2), nn.LayerNorm(96), nn.Unflatten(2, (12, 8))), 8),
    "group norm": (nn.GroupNorm(2, 8), 4),
    "group norm of pairs": (nn.GroupNorm(4, 8), 4),
    "one group": (nn.GroupNorm(1, 8), 8),
    "single channels": (nn.GroupNorm(8, 8), 8),
    "batch norm": (nn.BatchNorm2d(8), 8),
    "batch norm, not affine": (nn.BatchNorm2d(8, affine=False), 8),
    "instance norm": (nn.InstanceNorm2d(8, affine=True, track_running_stats=True), 8),
    "softmax": (nn.Softmax2d(), 8),
    "softmax along a dimension": (nn.Softmax(dim=1), 8),
    "shuffle": (nn.ChannelShuffle(4), 2),
    "unflatten": (nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten(1, 2)), 4),
    "depthwise": (nn.Conv2d(8, 16, 3, padding=1, groups=8), 8),
    "grouped": (nn.Conv2d(8, 12, 3, padding=1, groups=2), 8),
    "grouped transposed": (nn.ConvTranspose2d(8, 12, 3, padding=1, groups=4), 4),
    "reflected": (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), 8),
    "circular": (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), 8),
    "prelu": (nn.PReLU(8), 8),
    "pixel shuffle": (nn.PixelShuffle(2), 2),
    "upsampled": (nn.Upsample(scale_factor=2, mode="bilinear"), 8),
    "dropped out": (nn.Dropout2d(0.5), 8),
    "three-dimensional": (
        nn.Sequential(nn.Unflatten(1, (8, 1)), nn.Conv3d(8, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Flatten(1, 2)),
        8,
    ),
}

# what is refused, and in which words
REFUSED: dict[str, tuple[Function, str]] = {
    "cumulated": (lambda n, x: x.cumsum(1), "depends on the order"),
    "sorted": (lambda n, x: x.sort(1)[0], "depends on the order"),
    "largest few": (lambda n, x: x.topk(2, 1)[0], "depends on the order"),
    "place of the largest": (lambda n, x: x * x.argmax(1, keepdim=True), "reduces over it"),
    "product": (lambda n, x: x * x.prod(1, keepdim=True), "reduces over it"),
    "softmin": (lambda n, x: F.softmin(x, dim=1), "reduces over it"),
    "pooled over channels": (lambda n, x: F.avg_pool3d(x.unsqueeze(1), (2, 1, 1)).squeeze(1), "mixes along it"),
    "convolved along channels": (
        lambda n, x: (
            F.conv1d(x.mean((2, 3)).unsqueeze(1), torch.ones(1, 1, 3), padding=1).squeeze(1)[..., None, None] * x
        ),
        "mixes along it",
    ),
    "lower triangle": (lambda n, x: x.flatten(2).tril().view_as(x), "tril"),
    "median": (lambda n, x: x - x.median(1, keepdim=True)[0], "no rule for"),
}


def cut(net: nn.Module) -> tuple[fxprune.Compiled, int]:
    """Half of what can be cut is; and how much can be of the first convolution."""
    fill(net, Random(1))
    compiled = fxprune.compile("cut filters 50% in first by random(seed=3)", net, torch.rand(IMAGE))
    rows = [row for row in compiled.report.groups if "first" in row.producers and row.kind != "protected"]
    return compiled, sum(row.before for row in rows)


@pytest.mark.filterwarnings("ignore:.*GridSample.*", "ignore:.*grid_sample.*")
@pytest.mark.parametrize("name", EXACT)
def test_an_op_stays_exact(name: str) -> None:
    function, free = EXACT[name]
    net = Between(function)
    compiled, found = cut(net)
    assert found == free
    assert_exact(net, compiled.kept, compiled.module, IMAGE, OTHER)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_stays_exact(name: str) -> None:
    layer, free = LAYERS[name]
    net = Between(lambda n, x: n.layer(x), layer=copy.deepcopy(layer))
    compiled, found = cut(net)
    assert found == free
    assert_exact(net, compiled.kept, compiled.module, IMAGE)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cut_says_why(name: str) -> None:
    function, why = REFUSED[name]
    net = fill(Between(function), Random(1))
    groups = fxprune.analyze(net, torch.rand(IMAGE))
    group = next(g for g in groups if "first.weight" in g.producers)
    assert group.kind == "protected"
    assert why in (group.reason or "")
    with pytest.raises(PlanError, match="nothing is left to cut"):
        fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
