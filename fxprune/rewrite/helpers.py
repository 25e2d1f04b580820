"""Reductions over channels of which some are gone but still count. Emitted models carry these as source.

Each function is self-contained: it may use torch, F, nn and math, nothing else.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = [
    "blocks_emptied",
    "blocks_filled",
    "group_norm_counted",
    "layer_norm_counted",
    "max_counted",
    "min_counted",
    "rms_norm_counted",
    "softmax_counted",
    "var_counted",
]


def layer_norm_counted(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, count: int
) -> torch.Tensor:
    """Layer norm over the last dimension of `count` channels; those not present are zero and still counted."""
    mean = x.sum(-1, keepdim=True) / count
    centred = x - mean
    missing = count - x.shape[-1]
    var = (centred.square().sum(-1, keepdim=True) + missing * mean.square()) / count
    out = centred * torch.rsqrt(var + eps)
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


def group_norm_counted(
    x: torch.Tensor, groups: int, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, count: int
) -> torch.Tensor:
    """Group norm with `count` channels in each group; those not present are zero and still counted."""
    parts = x.reshape(x.shape[0], groups, -1)
    per_channel = parts.shape[-1] * groups // x.shape[1]
    total = count * per_channel
    mean = parts.sum(-1, keepdim=True) / total
    centred = parts - mean
    missing = total - parts.shape[-1]
    var = (centred.square().sum(-1, keepdim=True) + missing * mean.square()) / total
    out = (centred * torch.rsqrt(var + eps)).reshape(x.shape)
    shape = (1, x.shape[1]) + (1,) * (x.dim() - 2)
    if weight is not None:
        out = out * weight.reshape(shape)
    return out if bias is None else out + bias.reshape(shape)


def softmax_counted(x: torch.Tensor, dim: int, missing: int) -> torch.Tensor:
    """Softmax along `dim`, where `missing` more entries of zero belong to the sum."""
    high = x.amax(dim, keepdim=True).clamp(min=0)
    e = torch.exp(x - high)
    return e / (e.sum(dim, keepdim=True) + missing * torch.exp(-high))


def var_counted(x: torch.Tensor, dim: list[int], keepdim: bool, correction: float, missing: int) -> torch.Tensor:
    """Variance over `dim`, where `missing` more entries of zero belong to it."""
    seen = 1
    for d in dim:
        seen = seen * x.shape[d]
    count = seen + missing
    mean = x.sum(dim, keepdim=True) / count
    square = (x - mean).square().sum(dim, keepdim=True) + missing * mean.square()
    var = square / (count - correction)
    return var if keepdim else var.squeeze(dim)


def rms_norm_counted(x: torch.Tensor, weight: torch.Tensor | None, eps: float | None, count: int) -> torch.Tensor:
    """Root-mean-square norm over the last dimension of `count` channels; those not present are zero."""
    small = torch.finfo(x.dtype).eps if eps is None else eps
    out = x * torch.rsqrt(x.square().sum(-1, keepdim=True) / count + small)
    return out if weight is None else out * weight


def max_counted(x: torch.Tensor, dim: int, keepdim: bool) -> torch.return_types.max:
    """Largest values along `dim`, to which at least one more entry of zero belongs; indices are of no use."""
    values, indices = x.max(dim, keepdim=keepdim)
    return torch.return_types.max((values.clamp(min=0), indices))


def min_counted(x: torch.Tensor, dim: int, keepdim: bool) -> torch.return_types.min:
    """Smallest values along `dim`, to which at least one more entry of zero belongs; indices are of no use."""
    values, indices = x.min(dim, keepdim=keepdim)
    return torch.return_types.min((values.clamp(max=0), indices))


def blocks_filled(x: torch.Tensor, sizes: list[int], dim: int) -> torch.Tensor:
    """Blocks of channels along `dim`, counted from the last, each filled up with zeros to the size of the largest."""
    most = max(sizes)
    parts = torch.split(x, sizes, dim)
    return torch.cat(
        [F.pad(part, [0, 0] * (-1 - dim) + [0, most - size]) for part, size in zip(parts, sizes, strict=True)], dim
    )


def blocks_emptied(x: torch.Tensor, sizes: list[int], dim: int) -> torch.Tensor:
    """Equal blocks of channels along `dim`, counted from the last, each cut off at its size: the inverse."""
    parts = torch.split(x, [max(sizes)] * len(sizes), dim)
    return torch.cat([part.narrow(dim, 0, size) for part, size in zip(parts, sizes, strict=True)], dim)
