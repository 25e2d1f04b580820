"""What window transformers share: cutting a picture into windows, masks of shifted ones, relative positions, MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "DropPath",
    "Mlp",
    "init_transformer",
    "pad_to_multiple",
    "relative_positions",
    "shifted_mask",
    "window_merge",
    "window_partition",
]


def window_partition(x: Tensor, window: int) -> Tensor:
    """(N, H, W, C) -> (N * windows, window, window, C); H and W are multiples of the window."""
    n, h, w, c = x.shape
    x = x.view(n, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window, window, c)


def window_merge(windows: Tensor, window: int, h: int, w: int) -> Tensor:
    """(N * windows, window, window, C) -> (N, H, W, C): undoes `window_partition`."""
    n = int(windows.shape[0] / (h * w / window / window))
    x = windows.view(n, h // window, w // window, window, window, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, -1)


def shifted_mask(h: int, w: int, window: int, shift: int) -> Tensor:
    """(windows, window^2, window^2): 0 for two pixels that the cyclic shift did not bring together, else -100."""
    regions = torch.zeros((1, h, w, 1))
    slices = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for i, rows in enumerate(slices):
        for j, columns in enumerate(slices):
            regions[:, rows, columns, :] = 3 * i + j
    region = window_partition(regions, window).view(-1, window * window)
    difference = region.unsqueeze(1) - region.unsqueeze(2)
    return difference.masked_fill(difference != 0, -100.0).masked_fill(difference == 0, 0.0)


def relative_positions(window: int, outer: int) -> Tensor:
    """(window^2, outer^2): for each pixel of a window and of one around it, the row of the table of position biases.

    The table has (window + outer - 1)^2 rows, one for each offset; int64.
    """
    inner_grid = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    outer_grid = torch.stack(torch.meshgrid(torch.arange(outer), torch.arange(outer), indexing="ij")).flatten(1)
    offset = inner_grid[:, :, None] - outer_grid[:, None, :] + outer - 1
    return offset[0] * (window + outer - 1) + offset[1]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Mirrors the picture at its lower and right edge until both sizes are multiples; each must exceed the padding."""
    _, _, h, w = x.size()
    below = (multiple - h % multiple) % multiple
    right = (multiple - w % multiple) % multiple
    return F.pad(x, (0, right, 0, below), "reflect")


class Mlp(nn.Module):
    """Linear, GELU, Linear on the last dimension."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


class DropPath(nn.Module):
    """Stochastic depth: while training, a residual is dropped for a whole sample with this probability."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if self.probability == 0.0 or not self.training:
            return x
        keep = 1 - self.probability
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        alive = (keep + torch.rand(shape, dtype=x.dtype, device=x.device)).floor_()
        return x.div(keep) * alive


def init_transformer(module: nn.Module) -> None:
    """For `Module.apply`: linear layers start from a narrow truncated normal and no bias, layer norms as identity."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
