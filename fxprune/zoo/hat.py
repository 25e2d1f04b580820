"""HAT: activating more pixels in image super-resolution transformer (Chen et al., CVPR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import DIV2K_MEAN, ChannelAttention, conv, pixel_shuffle_stages, require
from fxprune.zoo.windows import (
    DropPath,
    Mlp,
    init_transformer,
    pad_to_multiple,
    relative_positions,
    shifted_mask,
    window_merge,
    window_partition,
)

__all__ = ["HAT"]

Size = tuple[int, int]  # height, width


class WindowAttention(nn.Module):
    """Multi-head attention within windows: (windows, window^2, C) -> the same."""

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        self.window = window
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * self.scale) @ k.transpose(-2, -1)
        area = self.window * self.window
        bias = self.relative_position_bias_table[positions.view(-1)].view(area, area, -1)
        scores = scores + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            scores = scores.view(b // windows, windows, self.heads, n, n) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, self.heads, n, n)
        mixed = (self.softmax(scores) @ v).transpose(1, 2).reshape(b, n, c)
        y: Tensor = self.proj(mixed)
        return y


class HybridBlock(nn.Module):
    """HAB: window attention and, beside it, convolutions with channel attention; then an MLP: (N, HW, C)."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        shift: int,
        compress: int,
        reduction: int,
        conv_scale: float,
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.conv_scale = conv_scale
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, window, heads)
        self.conv_block = nn.Sequential(
            conv(width, width // compress),
            nn.GELU(),
            conv(width // compress, width),
            ChannelAttention(width, reduction),
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, size: Size, positions: Tensor, mask: Tensor) -> Tensor:
        h, w = size
        n, _, c = x.shape
        shortcut = x
        x = self.norm1(x).view(n, h, w, c)
        convolved = self.conv_block(x.permute(0, 3, 1, 2))
        convolved = convolved.permute(0, 2, 3, 1).contiguous().view(n, h * w, c)
        if self.shift > 0:
            x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
        windows = window_partition(x, self.window).view(-1, self.window * self.window, c)
        windows = self.attn(windows, positions, mask if self.shift > 0 else None)
        x = window_merge(windows.view(-1, self.window, self.window, c), self.window, h, w)
        if self.shift > 0:
            x = torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))
        x = shortcut + self.drop_path(x.view(n, h * w, c)) + convolved * self.conv_scale
        y: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return y


class OverlappingBlock(nn.Module):
    """OCAB: each window's queries attend to keys and values of a larger window around it, then an MLP: (N, HW, C)."""

    def __init__(self, width: int, heads: int, window: int, outer: int, mlp_ratio: float) -> None:
        super().__init__()
        self.width = width
        self.window = window
        self.outer = outer
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.unfold = nn.Unfold(kernel_size=(outer, outer), stride=window, padding=(outer - window) // 2)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((window + outer - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.softmax = nn.Softmax(dim=-1)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def split_heads(self, x: Tensor) -> Tensor:
        """(windows, pixels, C) -> (windows, heads, pixels, C / heads)."""
        b, n, _ = x.shape
        return x.reshape(b, n, self.heads, self.width // self.heads).permute(0, 2, 1, 3)

    def outer_windows(self, x: Tensor) -> Tensor:
        """Keys and values (N, 2C, H, W) -> (2, windows, outer^2, C)."""
        n = x.shape[0]
        patches: Tensor = self.unfold(x)
        patches = patches.view(n, 2, self.width, self.outer * self.outer, -1).permute(1, 0, 4, 3, 2)
        return patches.reshape(2, -1, self.outer * self.outer, self.width).contiguous()

    def forward(self, x: Tensor, size: Size, positions: Tensor) -> Tensor:
        h, w = size
        n, _, c = x.shape
        shortcut = x
        x = self.norm1(x).view(n, h, w, c)
        qkv = self.qkv(x).reshape(n, h, w, 3, c).permute(3, 0, 4, 1, 2)
        windows = window_partition(qkv[0].permute(0, 2, 3, 1), self.window).view(-1, self.window**2, c)
        around = self.outer_windows(torch.cat((qkv[1], qkv[2]), dim=1))

        q, k, v = self.split_heads(windows), self.split_heads(around[0]), self.split_heads(around[1])
        scores = (q * self.scale) @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[positions.view(-1)].view(self.window**2, self.outer**2, -1)
        scores = scores + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        mixed = (self.softmax(scores) @ v).transpose(1, 2).reshape(-1, self.window, self.window, c)

        x = self.proj(window_merge(mixed, self.window, h, w).view(n, h * w, c)) + shortcut
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ResidualGroup(nn.Module):
    """RHAG: hybrid blocks, every other one shifted, an overlapping block, a 3x3 convolution, plus the input."""

    def __init__(self, blocks: list[nn.Module], overlap: nn.Module, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.overlap = overlap
        self.conv = conv(width, width)

    def forward(self, x: Tensor, size: Size, shared: dict[str, Tensor]) -> Tensor:
        n, _, c = x.shape
        shortcut = x
        for block in self.blocks:
            x = block(x, size, shared["window_positions"], shared["mask"])
        x = self.overlap(x, size, shared["overlap_positions"])
        x = self.conv(x.transpose(1, 2).contiguous().view(n, c, size[0], size[1]))
        return x.flatten(2).transpose(1, 2) + shortcut


class HAT(nn.Module):
    """HAT: (N, channels, H, W) -> (N, channels, scale H, scale W), H and W larger than half a window.

    The defaults are HAT, 20.8M parameters for x4. HAT-S is width=144, compress=24, reduction=24 (`hat_small`).

    Args:
        scale: magnification: 2, 3, 4 or 8.
        groups: residual hybrid attention groups (RHAG).
        blocks: hybrid attention blocks of each of them, every other one with shifted windows.
        width: channels of the tokens.
        heads: attention heads.
        window: height and width of an attention window, pixels; even.
        overlap: share of a window by which the overlapping ones are wider.
        compress: how many times fewer channels the convolutions beside the attention have inside.
        reduction: how many times fewer channels the channel attention's bottleneck has.
        conv_scale: factor on what those convolutions give.
        mlp_ratio: channels inside an MLP over those of the tokens.
        tail_width: channels of the upsampler.
        channels: channels of the picture.
        drop_path: probability with which the deepest residual is dropped while training; it grows linearly with depth.
        rgb_range: factor on the picture once the mean colour of DIV2K is taken off.
    """

    window_positions: Tensor
    overlap_positions: Tensor

    def __init__(
        self,
        scale: int = 4,
        groups: int = 6,
        blocks: int = 6,
        width: int = 180,
        heads: int = 6,
        window: int = 16,
        overlap: float = 0.5,
        compress: int = 3,
        reduction: int = 30,
        conv_scale: float = 0.01,
        mlp_ratio: float = 2.0,
        tail_width: int = 64,
        channels: int = 3,
        drop_path: float = 0.1,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        require(width % heads == 0, f"width={width} is not a multiple of heads={heads}")
        require(overlap >= 0, f"overlap={overlap} is negative")
        require(width >= compress, f"compress={compress} leaves no channel of width={width}")
        outer = window + int(overlap * window)
        require((outer - window) % 2 == 0, f"a window of {window} cannot reach {outer - window} pixels over its edges")
        require(0 <= drop_path < 1, f"drop_path={drop_path} is not a probability below 1")
        self.scale = scale
        self.window = window
        self.rgb_range = rgb_range
        self.mean = torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1) if channels == 3 else torch.zeros(1, 1, 1, 1)
        self.register_buffer("window_positions", relative_positions(window, window))
        self.register_buffer("overlap_positions", relative_positions(window, outer))
        self.head = conv(channels, width)
        self.patch_norm = nn.LayerNorm(width)
        depth = max(1, groups * blocks - 1)

        def block(i: int) -> HybridBlock:
            shift = 0 if i % blocks % 2 == 0 else window // 2
            dropped = drop_path * i / depth
            return HybridBlock(width, heads, window, shift, compress, reduction, conv_scale, mlp_ratio, dropped)

        self.body = nn.ModuleList(
            ResidualGroup(
                [block(g * blocks + i) for i in range(blocks)],
                OverlappingBlock(width, heads, window, outer, mlp_ratio),
                width,
            )
            for g in range(groups)
        )
        self.norm = nn.LayerNorm(width)
        self.body_end = conv(width, width)
        enter = [conv(width, tail_width), nn.LeakyReLU(inplace=True)]
        self.tail = nn.Sequential(*enter, *pixel_shuffle_stages(tail_width, scale), conv(tail_width, channels))
        self.apply(init_transformer)

    def features(self, x: Tensor) -> Tensor:
        """The transformer: (N, width, H, W) -> the same."""
        n, c, h, w = x.shape
        shared = {
            "mask": shifted_mask(h, w, self.window, self.window // 2).to(x.device),
            "window_positions": self.window_positions,
            "overlap_positions": self.overlap_positions,
        }
        x = self.patch_norm(x.flatten(2).transpose(1, 2))
        for group in self.body:
            x = group(x, (h, w), shared)
        x = self.norm(x)
        return x.transpose(1, 2).contiguous().view(n, c, h, w)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x = pad_to_multiple(x, self.window)
        self.mean = self.mean.type_as(x)
        x = (x - self.mean) * self.rgb_range
        x = self.head(x)
        x = self.body_end(self.features(x)) + x
        x = self.tail(x)
        x = x / self.rgb_range + self.mean
        return x[:, :, : h * self.scale, : w * self.scale]
