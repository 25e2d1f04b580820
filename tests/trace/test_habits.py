"""What real networks do in their forward: each compiles, cuts its first layer, and is exact at other sizes as well."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils import checkpoint

import fxprune
from fxprune.errors import TraceError
from tests.networks import fill
from tests.oracle import assert_exact

IMAGE, OTHERS = (1, 3, 16, 16), ((2, 3, 16, 24), (1, 3, 24, 8))


class Base(nn.Module):
    """Two convolutions; what is done to the eight channels between them is the subclass's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.build()

    def build(self) -> None:
        """Further layers."""

    def between(self, x: Any) -> Any:
        return x

    def forward(self, x: Any) -> Any:
        return self.last(self.between(self.first(x)))


class CachesByItself(Base):
    """Keeps a mask for the size it saw last."""

    kept: Any = None

    def between(self, x: Any) -> Any:
        h, w = x.shape[-2:]
        if self.kept is None or self.kept.shape[-2:] != (h, w):
            self.kept = torch.linspace(0, 1, h).view(1, 1, h, 1) * torch.linspace(1, 2, w).view(1, 1, 1, w)
        return x * self.kept


class CachesInADict(Base):
    """Keeps a grid for each size it ever saw."""

    def build(self) -> None:
        self.grids: dict[str, Tensor] = {}

    def between(self, x: Any) -> Any:
        key = f"{x.shape[2]}x{x.shape[3]}"
        if key not in self.grids:
            self.grids[key] = torch.ones(x.shape[2], x.shape[3], device=x.device).cumsum(0)
        return x + self.grids[key]


class WritesToItsInput(Base):
    def forward(self, x: Any) -> Any:
        x.sub_(0.5).mul_(2)
        x[:, 0] = x[:, 0] + 1
        return super().forward(x)


class SwitchesInEval(Base):
    """Merges two branches into one convolution on eval(), and goes back on train()."""

    def build(self) -> None:
        self.wide, self.narrow, self.merged = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1), None

    def train(self, mode: bool = True) -> Any:
        if not mode and self.merged is None and hasattr(self, "narrow"):
            merged = nn.Conv2d(8, 8, 3, padding=1)
            merged.weight.data = self.wide.weight.data + F.pad(self.narrow.weight.data, (1, 1, 1, 1))
            merged.bias.data = self.wide.bias.data + self.narrow.bias.data  # type: ignore[union-attr]
            self.merged = merged
        elif mode:
            self.merged = None
        return super().train(mode)

    def between(self, x: Any) -> Any:
        return torch.relu(self.merged(x) if self.merged is not None else self.wide(x) + self.narrow(x))


class WritesToABuffer(Base):
    """Counts its calls."""

    def build(self) -> None:
        self.register_buffer("calls", torch.zeros(1))

    def between(self, x: Any) -> Any:
        self.calls += 1
        return x


class HeldInDictsAndLists(Base):
    def build(self) -> None:
        self.layers = nn.ModuleDict({"a": nn.Conv2d(8, 8, 1), "b": nn.Conv2d(8, 8, 1)})
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(8, 1, 1)) for _ in self.layers])
        self.more = nn.ParameterDict({"shift": nn.Parameter(torch.rand(1, 8, 1, 1))})

    def between(self, x: Any) -> Any:
        for scale, (name, layer) in zip(self.scales, self.layers.items(), strict=True):
            x = x + scale * layer(x) if name == "a" else layer(x) * self.more["shift"]
        return x


class Decorated(Base):
    """`no_grad` and `autocast` as decorators, `enable_grad` within."""

    @torch.no_grad()
    def weights(self, x: Any) -> Any:
        with torch.enable_grad():
            return torch.sigmoid(x.mean((2, 3), keepdim=True))

    @torch.autocast("cpu", enabled=False)
    def between(self, x: Any) -> Any:
        return x * self.weights(x)


class Unfolds(Base):
    def build(self) -> None:
        self.mix = nn.Parameter(torch.rand(8, 8 * 9))

    def between(self, x: Any) -> Any:
        b, c, h, w = x.size()
        return torch.einsum("oc,bcl->bol", self.mix, F.unfold(x, 3, padding=1)).view(b, c, h, w)


class InFrequencies(Base):
    def build(self) -> None:
        self.mix = nn.Conv2d(16, 16, 1)

    def between(self, x: Any) -> Any:
        found = torch.fft.rfft2(x, norm="backward")
        y = torch.relu(self.mix(torch.cat([found.real, found.imag], dim=1)))
        real, imaginary = y.chunk(2, dim=1)
        return torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="backward")


class Attends(Base):
    """torch's own multi-head attention over the pixels, then its fused product."""

    def build(self) -> None:
        self.heads, self.qkv = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 24)

    def between(self, x: Any) -> Any:
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.heads(tokens, tokens, tokens, need_weights=False)[0]
        q, k, v = self.qkv(tokens).reshape(b, h * w, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).reshape(b, h * w, c).transpose(1, 2).view(b, c, h, w)


class Warps(Base):
    """Samples where a convolution says, as optical flow and DySample do."""

    def build(self) -> None:
        self.flow = nn.Conv2d(8, 2, 3, padding=1)

    def between(self, x: Any) -> Any:
        b, _, h, w = x.shape
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
        grid = torch.stack((xs, ys), -1).to(x).unsqueeze(0).expand(b, -1, -1, -1)
        flow = torch.tanh(self.flow(x)).permute(0, 2, 3, 1)
        return F.grid_sample(x, grid + 0.1 * flow, mode="bilinear", padding_mode="border", align_corners=True)


class Gathers(Base):
    """Takes each pixel from where an index made of the features says, by hand."""

    def build(self) -> None:
        self.where = nn.Conv2d(8, 1, 1)

    def between(self, x: Any) -> Any:
        b, c, h, w = x.shape
        index = (torch.sigmoid(self.where(x)) * (h * w - 1)).long().view(b, 1, h * w).expand(-1, c, -1)
        return x.view(b, c, h * w).gather(2, index).view(b, c, h, w) + x


class Windows(Base):
    """Shifted windows: partition, a product within each, and back."""

    def build(self) -> None:
        self.mix = nn.Linear(8, 8)

    def between(self, x: Any) -> Any:
        b, c, h, w = x.shape
        y = torch.roll(x, shifts=(-2, -2), dims=(2, 3)).permute(0, 2, 3, 1)
        y = y.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 16, c)
        y = torch.softmax(y @ y.transpose(-2, -1) / math.sqrt(8), -1) @ self.mix(y)
        y = y.view(b, h // 4, w // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)
        return torch.roll(y.permute(0, 3, 1, 2), shifts=(2, 2), dims=(2, 3))


class Checkpointed(Base):
    use = True

    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())

    def between(self, x: Any) -> Any:
        if self.use:
            x = checkpoint.checkpoint(self.body, x, use_reentrant=False)
        return checkpoint.checkpoint_sequential(self.body, 1, x, use_reentrant=False)


class DropPath(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Any) -> Any:
        if self.p == 0.0 or not self.training:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)


class Drops(Base):
    def build(self) -> None:
        self.body, self.drop = nn.Conv2d(8, 8, 1), DropPath(0.3)

    def between(self, x: Any) -> Any:
        return x + self.drop(F.dropout(self.body(x), 0.2, self.training))


class Checks(Base):
    """Asserts and messages made of sizes."""

    def between(self, x: Any) -> Any:
        b, c, h, w = x.size()
        assert x.ndim == 4, f"{c} channels of {h}x{w}"
        assert (h % 4 or w % 4) == 0, f"an image of {h:>4} x {w!s} in {x.shape}"
        if not isinstance(x, torch.Tensor) or not torch.is_tensor(x) or len(x.shape) != 4 or int(b) < 1:
            raise ValueError("{:d}".format(c))  # noqa: UP032
        return x.reshape(b, -1, int(h) // 2, 2 * int(x.shape[3])).view(b, c, h, w)


class Assigns(Base):
    def between(self, x: Any) -> Any:
        out = torch.zeros_like(x)
        out[:, :4] = x[:, 4:]
        out[:, 4:, 1:-1, 1:-1] = x[:, :4, 1:-1, 1:-1]
        out[..., 0] += 1
        return out


class _Scaled(torch.autograd.Function):
    """A function with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any) -> Any:
        mean = x.mean(1, keepdim=True)
        ctx.save_for_backward(weight)
        return weight.view(1, -1, 1, 1) * (x - mean)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (weight,) = ctx.saved_tensors
        return grads[0] * weight.view(1, -1, 1, 1), None


class OwnGradient(Base):
    def build(self) -> None:
        self.weight = nn.Parameter(torch.rand(8))

    def between(self, x: Any) -> Any:
        assert isinstance(x, torch.Tensor)
        return _Scaled.apply(x, self.weight)


class Loops(Base):
    """Goes over the picture in stripes."""

    def between(self, x: Any) -> Any:
        rows = [torch.relu(x[:, :, 8 * k : 8 * (k + 1)] - k) for k in range(x.shape[2] // 8)]
        return torch.cat(rows, 2)


class GivesSizesToFunctions(Base):
    """Functions of torch that take a number for a size, in place of methods; a kernel for each picture."""

    def build(self) -> None:
        self.kernels = nn.Linear(8, 8 * 9)

    def between(self, x: Any) -> Any:
        n, c, h, w = x.shape
        kernels = torch.reshape(self.kernels(x.mean((2, 3))), (n * c, 1, 3, 3))
        y = torch.reshape(F.conv2d(torch.reshape(x, (1, n * c, h, w)), kernels, padding=1, groups=n * c), (n, -1, h, w))
        y = (
            torch.roll(y, (h // 2, w // 2), (2, 3))
            + torch.narrow(y, 2, h // 2, 1)
            + torch.select(y, 3, w // 2)[..., None]
        )
        y = torch.fft.irfft2(torch.fft.rfft2(y), s=(h, w)) * torch.topk(y.flatten(2), h, 2)[0].mean(2)[..., None, None]
        return (
            y + F.interpolate(F.avg_pool2d(x, h // 4), (h, w)) + torch.broadcast_to(x.mean((2, 3), True), (n, c, h, w))
        )


class OnePictureAfterTheOther(Base):
    """Splits the batch; each picture is filtered by patches of its own."""

    def between(self, x: Any) -> Any:
        return torch.cat([F.conv2d(y, y[:, :, :1, :1].transpose(0, 1), groups=8) for y in torch.split(x, 1, 0)], 0)


class TakesPartOfASequence(Base):
    """Slices a sequence of layers, which makes another; one layer is made on the way."""

    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())

    def between(self, x: Any) -> Any:
        x = self.body[:2](x)
        return nn.Sequential(*[self.body[2:], nn.LeakyReLU(0.1)])(x) + nn.Upsample(scale_factor=1)(x)


class WritesToItsConstant(Base):
    """Makes tables without its input, and writes to them."""

    def build(self) -> None:
        self.scale = nn.Parameter(torch.rand(8))

    def between(self, x: Any) -> Any:
        table = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).to(x.device)
        table[:, 0] = table[:, 0] * 2 + 1
        table += 1
        table[0, 0] = x.mean()
        row = torch.zeros(1, 8, 1, 1)
        row[0, :, 0, 0] = self.scale * 2
        row += self.scale.view(1, -1, 1, 1)
        return x * table.mean() * row + table.view(1, 4)[:, :1, None, None]


class Warns(Base):
    """Looks at numbers, to warn and to refuse; computes the same whatever they are."""

    def between(self, x: Any) -> Any:
        high = x.abs().mean()
        if high > 50:
            warnings.warn(f"{high} is large", stacklevel=2)
        assert not torch.isnan(x).any(), f"not a number in {x}"
        if torch.isinf(x).any() or x.shape[1] > 100:
            raise ValueError(f"infinite: {x.max()}")
        return torch.relu(x)


class SizedByAnother(Base):
    """States a width as a multiple of one that cannot change."""

    def build(self) -> None:
        self.key = nn.Conv2d(8, 2, 1)

    def between(self, x: Any) -> Any:
        n, _, h, w = x.shape
        key = self.key(x).view(n, -1, h * w).permute(0, 2, 1) @ torch.ones(2, 2).triu()
        length, width = key.shape[-2:]
        y = torch.reshape(x.view(n, -1, h * w).permute(0, 2, 1), (n, 1, -1, 4 * width))
        return (y.squeeze(1) * key.sum(-1, keepdim=True)).permute(0, 2, 1).view(n, -1, h, length // h)


class MergesKernels(Base):
    """Two layers as one: a depthwise kernel is written along the diagonal of a whole one, channel by channel."""

    def build(self) -> None:
        self.mix, self.scale = nn.Conv2d(8, 8, 1), nn.Parameter(torch.rand(8, 1, 1, 1))
        self.mask, self.shift = nn.Parameter(torch.rand(8, 1, 3, 3)), nn.Parameter(torch.rand(8))

    def between(self, x: Any) -> Any:
        filters, wide = self.scale * self.mask, torch.zeros(8, 8, 3, 3)
        for k in range(8):
            wide[k, k, :, :] = filters[k, 0, :, :]
        kernel = F.conv2d(wide, self.mix.weight.permute(1, 0, 2, 3))
        first = torch.ones(1, 8, 3, 3) * self.mix.bias.view(1, -1, 1, 1)  # type: ignore[union-attr]
        return torch.relu(F.conv2d(x, kernel, F.conv2d(first, wide).view(-1) + self.shift, padding=1))


class TypeAs(Base):
    def build(self) -> None:
        self.mean = torch.rand(1, 8, 1, 1)
        self.range = 255.0

    def between(self, x: Any) -> Any:
        self.mean = self.mean.type_as(x)
        return (x - self.mean) * self.range / self.range + self.mean


class Rearranges(Base):
    """einops: as functions and as layers."""

    def build(self) -> None:
        from einops.layers.torch import Rearrange

        self.mix, self.tokens = nn.Linear(8, 8), Rearrange("b c h w -> b (h w) c")

    def between(self, x: Any) -> Any:
        from einops import rearrange, reduce, repeat

        y = rearrange(self.mix(self.tokens(x)), "b (h w) c -> b c h w", h=x.shape[2])
        y = rearrange(y, "b c (h p) (w q) -> (b h w) (p q) c", p=4, q=4)
        y = rearrange(y.softmax(1), "(b h w) (p q) c -> b c (h p) (w q)", h=x.shape[2] // 4, w=x.shape[3] // 4, p=4)
        return x * repeat(reduce(y, "b c h w -> b c", "mean"), "b c -> b c h w", h=1, w=1)


# habit → network; whether one size is all that its trace is for
HABITS: dict[str, tuple[Callable[[], Base], bool]] = {
    "caches by itself": (CachesByItself, False),
    "caches in a dict": (CachesInADict, False),
    "writes to its input": (WritesToItsInput, False),
    "merges kernels in eval": (SwitchesInEval, False),
    "writes to a buffer": (WritesToABuffer, False),
    "layers in dicts and lists": (HeldInDictsAndLists, False),
    "no_grad as a decorator": (Decorated, False),
    "unfold and einsum": (Unfolds, False),
    "fft": (InFrequencies, False),
    "multi-head and fused attention": (Attends, False),
    "grid_sample by a flow": (Warps, False),
    "gathers by an index of its own": (Gathers, False),
    "shifted windows": (Windows, False),
    "checkpoint": (Checkpointed, False),
    "DropPath": (Drops, False),
    "asserts and f-strings": (Checks, False),
    "item assignment": (Assigns, False),
    "a gradient of its own": (OwnGradient, False),
    "range(h // 8)": (Loops, True),
    "sizes given to functions": (GivesSizesToFunctions, False),
    "a slice of a sequence": (TakesPartOfASequence, False),
    "writes to a constant": (WritesToItsConstant, False),
    "warns by numbers": (Warns, False),
    "a width stated by another's": (SizedByAnother, False),
    "merges kernels in forward": (MergesKernels, False),
    "type_as on an attribute": (TypeAs, False),
    "einops": (Rearranges, False),
}

ASKING = ("asserts and f-strings", "multi-head and fused attention")  # those that ask for what always holds


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("habit", HABITS)
def test_habit(habit: str, training: bool) -> None:
    if habit == "einops" and importlib.util.find_spec("einops") is None:
        pytest.skip("einops is not installed")
    build, fixed = HABITS[habit]
    torch.manual_seed(0)
    net = build().train(training)
    fill(net, Random(0))
    held = {name: (p, p.detach().clone()) for name, p in (*net.named_parameters(), *net.named_buffers())}
    compiled = fxprune.compile("cut filters 50% by random(seed=2)", net, torch.rand(IMAGE))
    assert 0 in compiled.kept["first.weight"]
    assert compiled.report.rung in ("symbolic", "concrete")
    assert any("traced for" in note for note in compiled.report.notes) is (fixed or habit in ASKING)
    assert net.training is training
    assert all(dict((*net.named_parameters(), *net.named_buffers()))[name] is p for name, (p, _) in held.items())
    assert all(torch.equal(p, value) for p, value in held.values())
    kept_in_attributes = [value for part in net.modules() for value in vars(part).values()]
    assert not any(isinstance(value, fx.Proxy) for value in kept_in_attributes)
    assert_exact(net, compiled.kept, compiled.module, IMAGE, *(() if fixed else OTHERS))
    if fixed:
        with pytest.raises(AssertionError, match="traced this network for"):
            compiled.module(torch.rand(OTHERS[1]))


def test_one_picture_after_the_other() -> None:
    """What is done for each picture is traced for so many of them, of any size, and says so."""
    torch.manual_seed(0)
    net = OnePictureAfterTheOther()
    fill(net, Random(0))
    compiled = fxprune.compile("cut filters 50% by random(seed=2)", net, torch.rand(IMAGE))
    assert 0 in compiled.kept["first.weight"]
    assert_exact(net, compiled.kept, compiled.module, IMAGE, (1, 3, 24, 8))
    with pytest.raises(AssertionError, match="traced this network for 1 at"):
        compiled.module(torch.rand(2, 3, 16, 16))


class Brightens(Base):
    """What is computed depends on the picture."""

    def between(self, x: Any) -> Any:
        if x.isnan().any():
            raise ValueError("not a number")
        if x.mean() > 0.5:
            x = x * 2
        return x


def test_a_decision_that_matters() -> None:
    with pytest.raises(TraceError, match=r"if x.mean\(\) > 0.5:: a decision in Python depends on values"):
        fxprune.analyze(Brightens(), torch.rand(IMAGE))


class Waits(Base):
    """A loop that numbers end."""

    def between(self, x: Any) -> Any:
        while x.mean() > 0.5:
            x = x / 2
        return x


def test_a_loop_that_numbers_end() -> None:
    with pytest.raises(TraceError, match=r"while x.mean\(\) > 0.5:: a decision in Python depends on values"):
        fxprune.analyze(Waits(), torch.rand(IMAGE))
