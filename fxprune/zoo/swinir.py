"""SwinIR: image restoration using Swin transformer (Liang et al., ICCVW 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fxprune.zoo.parts import DIV2K_MEAN, conv, pixel_shuffle_once, pixel_shuffle_stages, require
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

__all__ = ["SwinIR"]

Size = tuple[int, int]  # height, width


class WindowAttention(nn.Module):
    """Multi-head attention within windows: (windows, window^2, C) -> the same, with relative position biases."""

    relative_position_index: Tensor

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        self.window = window
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(window, window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * self.scale) @ k.transpose(-2, -1)

        area = self.window * self.window
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(area, area, -1)
        scores = scores + bias.permute(2, 0, 1).contiguous().unsqueeze(0)

        if mask is not None:
            windows = mask.shape[0]
            scores = scores.view(b // windows, windows, self.heads, n, n) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, self.heads, n, n)
        mixed = (self.softmax(scores) @ v).transpose(1, 2).reshape(b, n, c)
        y: Tensor = self.proj(mixed)
        return y


class SwinBlock(nn.Module):
    """STL: window attention, shifted or not, then an MLP, each behind a layer norm and with a residual: (N, HW, C)."""

    attn_mask: Tensor | None

    def __init__(
        self, width: int, size: Size, heads: int, window: int, shift: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.size = size
        self.window = window
        self.shift = shift
        if min(size) <= window:
            self.shift = 0
            self.window = min(size)
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, self.window, heads)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.register_buffer("attn_mask", self.mask(size) if self.shift > 0 else None)

    def mask(self, size: Size) -> Tensor:
        """The mask of shifted windows for a picture of this size."""
        return shifted_mask(size[0], size[1], self.window, self.shift)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        h, w = size
        n, _, c = x.shape
        shortcut = x
        x = self.norm1(x).view(n, h, w, c)
        if self.shift > 0:
            x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
        windows = window_partition(x, self.window).view(-1, self.window * self.window, c)

        if self.shift == 0 or self.size == size:
            windows = self.attn(windows, mask=self.attn_mask)
        else:
            windows = self.attn(windows, mask=self.mask(size).to(x.device))

        x = window_merge(windows.view(-1, self.window, self.window, c), self.window, h, w)
        if self.shift > 0:
            x = torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))
        x = shortcut + self.drop_path(x.view(n, h * w, c))
        y: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return y


class ResidualGroup(nn.Module):
    """RSTB: Swin blocks, every other one shifted, and a 3x3 convolution, plus the input: (N, HW, C)."""

    def __init__(
        self, width: int, size: Size, heads: int, window: int, mlp_ratio: float, drop_path: list[float]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, size, heads, window, 0 if i % 2 == 0 else window // 2, mlp_ratio, p)
            for i, p in enumerate(drop_path)
        )
        self.conv = conv(width, width)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        n, _, c = x.shape
        shortcut = x
        for block in self.blocks:
            x = block(x, size)
        x = self.conv(x.transpose(1, 2).view(n, c, size[0], size[1]))
        return x.flatten(2).transpose(1, 2) + shortcut


class SwinIR(nn.Module):
    """SwinIR: (N, channels, H, W) -> (N, channels, scale H, scale W), H and W larger than half a window.

    The defaults are the classical network, 11,900,199 parameters for x4. SwinIR-light is groups=4, width=60,
    final_conv=no (`swinir_light`): 929,628, and 897,228 without the tables of position biases, which is what the paper
    prints.

    Args:
        scale: magnification: 2, 3, 4 or 8.
        groups: residual Swin transformer blocks (RSTB).
        blocks: Swin transformer layers of each of them, every other one with shifted windows.
        width: channels of the tokens.
        heads: attention heads.
        window: height and width of an attention window, pixels.
        mlp_ratio: channels inside an MLP over those of the tokens.
        tail_width: channels of the upsampler when there is a final convolution.
        channels: channels of the picture.
        final_conv: whether the upsampler works in stages and a convolution ends the network. Without it the tail is one
            convolution width -> channels * scale^2 straight into the pixel shuffle.
        drop_path: probability with which the deepest residual is dropped while training; it grows linearly with depth.
        rgb_range: factor on the picture once the mean colour of DIV2K is taken off.
        image_size: height and width for which the masks of shifted windows are kept; others are made when needed.
    """

    def __init__(
        self,
        scale: int = 4,
        groups: int = 6,
        blocks: int = 6,
        width: int = 180,
        heads: int = 6,
        window: int = 8,
        mlp_ratio: float = 2.0,
        tail_width: int = 64,
        channels: int = 3,
        final_conv: bool = True,
        drop_path: float = 0.1,
        rgb_range: float = 1.0,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        require(width % heads == 0, f"width={width} is not a multiple of heads={heads}")
        require(image_size % window == 0, f"image_size={image_size} is not a multiple of window={window}")
        require(0 <= drop_path < 1, f"drop_path={drop_path} is not a probability below 1")
        self.scale = scale
        self.window = window
        self.rgb_range = rgb_range
        self.mean = torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1) if channels == 3 else torch.zeros(1, 1, 1, 1)
        self.head = conv(channels, width)
        self.patch_norm = nn.LayerNorm(width)
        depth = max(1, groups * blocks - 1)
        dropped = [drop_path * i / depth for i in range(groups * blocks)]
        self.body = nn.ModuleList(
            ResidualGroup(
                width, (image_size, image_size), heads, window, mlp_ratio, dropped[i * blocks : (i + 1) * blocks]
            )
            for i in range(groups)
        )
        self.norm = nn.LayerNorm(width)
        self.body_end = conv(width, width)
        if final_conv:
            enter = [conv(width, tail_width), nn.LeakyReLU(inplace=True)]
            tail = [*enter, *pixel_shuffle_stages(tail_width, scale), conv(tail_width, channels)]
        else:
            tail = pixel_shuffle_once(width, channels, scale)
        self.tail = nn.Sequential(*tail)
        self.apply(init_transformer)

    def features(self, x: Tensor) -> Tensor:
        """The transformer: (N, width, H, W) -> the same."""
        n, c, h, w = x.shape
        x = self.patch_norm(x.flatten(2).transpose(1, 2))
        for group in self.body:
            x = group(x, (h, w))
        x = self.norm(x)
        return x.transpose(1, 2).view(n, c, h, w)

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
