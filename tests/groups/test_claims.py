"""Every rule's claim, tested by experiment: silence or change a coordinate, and see which outputs change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fxprune.groups import rules
from fxprune.groups.products import CONTRACTIONS
from fxprune.groups.registry import RULES
from tests.groups.experiment import perform

A = torch.ops.aten
Line = tuple[Callable[..., Any], tuple[tuple[int, ...], ...], int]  # function, shapes of operands, units that are free


def conv(stride: int = 1, transposed: bool = False, groups: int = 1, bias: bool = True) -> Callable[..., Any]:
    def call(x: Any, w: Any, b: Any = None) -> Any:
        return A.convolution(x, w, b if bias else None, [stride], [0], [1], transposed, [0], groups)

    return call


# name → one call; every dimension of more than one coordinate of every operand is labelled
LINES: dict[str, Line] = {
    # -- products: rows and columns are free, what is summed over is one unit for both factors
    "mm": (lambda a, b: A.mm(a, b), ((4, 5), (5, 3)), 12),
    "addmm": (lambda c, a, b: A.addmm(c, a, b), ((3,), (4, 5), (5, 3)), 12),
    "bmm": (lambda a, b: A.bmm(a, b), ((2, 4, 5), (2, 5, 3)), 14),
    "baddbmm": (lambda c, a, b: A.baddbmm(c, a, b), ((2, 4, 3), (2, 4, 5), (2, 5, 3)), 14),
    "mv": (lambda a, b: A.mv(a, b), ((4, 5), (5,)), 9),
    "dot": (lambda a, b: A.dot(a, b), ((5,), (5,)), 5),
    "convolution": (conv(), ((1, 4, 1), (3, 4, 1), (3,)), 7),
    "convolution of a batch, in space": (conv(), ((2, 4, 6), (3, 4, 3), (3,)), 9),
    "convolution without bias": (conv(bias=False), ((1, 4, 1), (3, 4, 1)), 7),
    "convolution, transposed": (conv(transposed=True), ((1, 4, 1), (4, 3, 1), (3,)), 7),
    "convolution, depthwise": (conv(groups=4), ((1, 4, 1), (4, 1, 1), (4,)), 4),
    "convolution, depthwise multiplier": (conv(groups=4), ((1, 4, 1), (8, 1, 1), (8,)), 4),
    "convolution, one output each": (conv(groups=3), ((1, 6, 1), (3, 2, 1), (3,)), 3),
    "convolution, few large groups": (conv(groups=2), ((1, 8, 1), (6, 4, 1), (6,)), 7),
    "convolution, many small groups": (conv(groups=4), ((1, 8, 1), (12, 2, 1), (12,)), 4),
    "convolution, grouped, no bias": (conv(groups=2, bias=False), ((1, 8, 1), (6, 4, 1)), 7),
    "convolution, grouped transposed": (conv(groups=2, transposed=True), ((1, 8, 1), (8, 3, 1), (6,)), 7),
    "convolution, depthwise transposed": (conv(groups=4, transposed=True), ((1, 4, 1), (4, 2, 1), (8,)), 4),
    "convolution, grouped transposed, many": (conv(groups=4, transposed=True), ((1, 8, 1), (8, 3, 1), (12,)), 4),
    "_scaled_dot_product_flash_attention_for_cpu": (
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.5),
        ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
        13,
    ),
    # -- norms and reductions: over channels only where zeros do not count
    "native_batch_norm": (
        lambda x, w, b, m, v: A.native_batch_norm(x, w, b, m, v.abs() + 1, False, 0.1, 1e-5)[0],
        ((1, 4, 3, 1), (4,), (4,), (4,), (4,)),
        4,
    ),
    "_native_batch_norm_legit_no_training": (
        lambda x, w, b, m, v: A._native_batch_norm_legit_no_training(x, w, b, m, v.abs() + 1, 0.1, 1e-5)[0],
        ((1, 4, 3, 1), (4,), (4,), (4,), (4,)),
        4,
    ),
    "_native_batch_norm_legit": (
        lambda x, w, b: A._native_batch_norm_legit.no_stats(x, w, b, True, 0.1, 1e-5)[0],
        ((1, 4, 3, 2), (4,), (4,)),
        4,
    ),
    "native_batch_norm without affine": (
        lambda x, m, v: A.native_batch_norm(x, None, None, m, v.abs() + 1, False, 0.1, 1e-5)[0],
        ((1, 4, 3, 1), (4,), (4,)),
        4,
    ),
    "native_layer_norm": (
        lambda x, w, b: A.native_layer_norm(x, [4], w, b, 1e-5)[0],
        ((5, 3, 4), (4,), (4,)),
        8,
    ),
    "native_group_norm": (
        lambda x, w, b: A.native_group_norm(x, w, b, 1, 4, 6, 2, 1e-5)[0],
        ((1, 4, 6), (4,), (4,)),
        0,
    ),
    "native_group_norm, instance": (
        lambda x, w, b: A.native_group_norm(x, w, b, 1, 4, 6, 4, 1e-5)[0],
        ((1, 4, 6), (4,), (4,)),
        4,
    ),
    "_softmax": (lambda x: A._softmax(x, 1, False), ((3, 4, 5),), 8),
    "_log_softmax": (lambda x: A._log_softmax(x, -1, False), ((3, 4),), 3),
    "_safe_softmax": (lambda x: A._safe_softmax(x, 0), ((3, 4),), 4),
    "sum": (lambda x: A.sum.dim_IntList(x, [1], True), ((3, 4, 5),), 12),
    "sum of everything": (lambda x: A.sum(x), ((3, 4),), 7),
    "mean": (lambda x: A.mean.dim(x, [1]), ((3, 4, 5),), 8),
    "amax": (lambda x: A.amax(x, [0]), ((3, 4),), 4),
    "amin": (lambda x: A.amin(x, [1], True), ((3, 4),), 3),
    "max": (lambda x: A.max.dim(x, 1), ((3, 4),), 3),
    "min": (lambda x: A.min.dim(x, 1, True), ((3, 4),), 3),
    "max of everything": (lambda x: A.max(x), ((3, 4),), 0),
    "max of two": (lambda x, y: A.max.other(x, y), ((3, 4), (3, 4)), 7),
    "linalg_vector_norm": (lambda x: A.linalg_vector_norm(x, 2, [1], True), ((3, 4),), 7),
    "linalg_vector_norm, infinite": (lambda x: A.linalg_vector_norm(x, math.inf, [1]), ((3, 4),), 7),
    "linalg_vector_norm, smallest": (lambda x: A.linalg_vector_norm(x, -math.inf, [1]), ((3, 4),), 3),
    "linalg_vector_norm, count": (lambda x: A.linalg_vector_norm(x, 0, [1]), ((3, 4),), 7),
    "linalg_vector_norm, inverse": (lambda x: A.linalg_vector_norm(x, -1, [1]), ((3, 4),), 3),
    "norm": (lambda x: A.norm.ScalarOpt_dim(x, 2, [0]), ((3, 4),), 7),
    "norm, inverse": (lambda x: A.norm.ScalarOpt_dim(x, -2, [0]), ((3, 4),), 4),
    "var": (lambda x: A.var.correction(x, [1], correction=0), ((3, 4),), 3),
    "std": (lambda x: A.std.correction(x, [1], correction=1), ((3, 4),), 3),
    "var_mean": (lambda x: A.var_mean.correction(x, [1], correction=0), ((3, 4),), 3),
    "std_mean": (lambda x: A.std_mean.correction(x, [1], correction=0), ((3, 4),), 3),
    "logsumexp": (lambda x: A.logsumexp(x, [1]), ((3, 4),), 3),
    "prod": (lambda x: A.prod.dim_int(x, 1), ((3, 4),), 3),
    "any": (lambda x: A.any.dim(x > 0, 1), ((3, 4),), 3),
    "all": (lambda x: A.all.dim(x > 0, 1), ((3, 4),), 3),
    "argmax": (lambda x: A.argmax(x, 1), ((3, 4),), 3),
    "argmin": (lambda x: A.argmin(x, 1, True), ((3, 4),), 3),
    "cumsum": (lambda x: A.cumsum(x, 1), ((3, 4),), 3),
    "cumprod": (lambda x: A.cumprod(x, 1), ((3, 4),), 3),
    "logcumsumexp": (lambda x: A.logcumsumexp(x, 1), ((3, 4),), 3),
    "cummax": (lambda x: A.cummax(x, 1), ((3, 4),), 3),
    "cummin": (lambda x: A.cummin(x, 1), ((3, 4),), 3),
    "sort": (lambda x: A.sort(x, 1), ((3, 4),), 3),
    "topk": (lambda x: A.topk(x, 2, 1), ((3, 4),), 3),
    "_fft_r2c": (lambda x: torch.fft.rfft(x).abs(), ((3, 4),), 3),
    "_fft_c2c": (lambda x: torch.fft.fft(torch.view_as_complex(x), dim=0).abs(), ((3, 4, 2),), 4),
    "_fft_c2r": (lambda x: torch.fft.irfft(x, n=4), ((3, 4),), 4),
    "view_as_real": (lambda x: A.view_as_real(torch.fft.rfft(x)), ((3, 4),), 3),
    # -- in space
    "avg_pool2d": (lambda x: A.avg_pool2d(x, [2]), ((2, 3, 4, 4),), 5),
    "avg_pool3d": (lambda x: A.avg_pool3d(x, [2]), ((2, 3, 4, 4, 4),), 5),
    "_adaptive_avg_pool2d": (lambda x: A._adaptive_avg_pool2d(x, [2, 2]), ((2, 3, 4, 4),), 5),
    "_adaptive_avg_pool3d": (lambda x: A._adaptive_avg_pool3d(x, [2, 2, 2]), ((2, 3, 4, 4, 4),), 5),
    "adaptive_max_pool2d": (lambda x: A.adaptive_max_pool2d(x, [2, 2])[0], ((2, 3, 4, 4),), 5),
    "adaptive_max_pool3d": (lambda x: A.adaptive_max_pool3d(x, [2, 2, 2])[0], ((2, 3, 4, 4, 4),), 5),
    "max_pool2d_with_indices": (lambda x: A.max_pool2d_with_indices(x, [2])[0], ((2, 3, 4, 4),), 5),
    "max_pool3d_with_indices": (lambda x: A.max_pool3d_with_indices(x, [2])[0], ((2, 3, 4, 4, 4),), 5),
    "upsample_linear1d": (lambda x: A.upsample_linear1d(x, [8], False), ((2, 3, 4),), 5),
    "upsample_bilinear2d": (lambda x: A.upsample_bilinear2d(x, [8, 8], False), ((2, 3, 4, 4),), 5),
    "upsample_trilinear3d": (lambda x: A.upsample_trilinear3d(x, [4, 4, 4], True), ((2, 3, 2, 2, 2),), 5),
    "upsample_bicubic2d": (lambda x: A.upsample_bicubic2d(x, [8, 8], False), ((2, 3, 4, 4),), 5),
    "_upsample_bilinear2d_aa": (lambda x: A._upsample_bilinear2d_aa(x, [2, 2], False), ((2, 3, 4, 4),), 5),
    "_upsample_bicubic2d_aa": (lambda x: A._upsample_bicubic2d_aa(x, [2, 2], False), ((2, 3, 4, 4),), 5),
    "upsample_nearest1d": (lambda x: A.upsample_nearest1d(x, [8]), ((2, 3, 4),), 9),
    "upsample_nearest2d": (lambda x: A.upsample_nearest2d(x, [8, 8]), ((2, 3, 4, 4),), 13),
    "upsample_nearest3d": (lambda x: A.upsample_nearest3d(x, [4, 4, 4]), ((2, 3, 2, 2, 2),), 11),
    "_upsample_nearest_exact1d": (lambda x: A._upsample_nearest_exact1d(x, [8]), ((2, 3, 4),), 9),
    "_upsample_nearest_exact2d": (lambda x: A._upsample_nearest_exact2d(x, [8, 8]), ((2, 3, 4, 4),), 13),
    "_upsample_nearest_exact3d": (lambda x: A._upsample_nearest_exact3d(x, [4, 4, 4]), ((2, 3, 2, 2, 2),), 11),
    # -- moves
    "view": (lambda x: A.view(x, [2, 12]), ((2, 3, 4),), 6),
    "_unsafe_view": (lambda x: A._unsafe_view(x, [6, 4]), ((6, 4),), 10),
    "_reshape_copy": (lambda x: A._reshape_copy(x, [6, 4]), ((6, 4),), 10),
    "_reshape_alias": (lambda x: A._reshape_alias(x, [6, 4], [4, 1]), ((6, 4),), 10),
    "permute": (lambda x: A.permute(x, [2, 0, 1]), ((2, 3, 4),), 9),
    "transpose": (lambda x: A.transpose(x, 0, 1), ((3, 4),), 7),
    "t": (lambda x: A.t(x), ((3, 4),), 7),
    "squeeze": (lambda x: A.squeeze.dim(x, 1), ((3, 1, 4),), 7),
    "unsqueeze": (lambda x: A.unsqueeze(x, 1), ((3, 4),), 7),
    "diag_embed": (lambda x: A.diag_embed(x, 0, 0, -1), ((3, 4),), 7),
    "transpose_": (lambda x: A.transpose_(A.clone(x), 0, -1), ((3, 2, 4),), 9),
    "t_": (lambda x: A.t_(A.clone(x)), ((3, 4),), 7),
    "squeeze_": (lambda x: A.squeeze_.dim(A.clone(x), -2), ((3, 1, 4),), 7),
    "unsqueeze_": (lambda x: A.unsqueeze_(A.clone(x), 1), ((3, 4),), 7),
    "expand": (lambda x: A.expand(x, [3, 5, 4]), ((3, 1, 4),), 7),
    "expand_copy": (lambda x: A.expand_copy(x, [3, 5, 4]), ((3, 1, 4),), 7),
    "repeat": (lambda x: A.repeat(x, [1, 2]), ((3, 4),), 7),
    "flip": (lambda x: A.flip(x, [1]), ((3, 4),), 7),
    "roll": (lambda x: A.roll(x, [1], [1]), ((3, 4),), 7),
    "rot90": (lambda x: A.rot90(x, 1, [0, 1]), ((3, 4),), 7),
    "select": (lambda x: A.select.int(x, 1, 2), ((3, 4),), 6),
    "slice": (lambda x: A.slice.Tensor(x, 1, 0, 4, 2), ((3, 4),), 7),
    "split": (lambda x: A.split.Tensor(x, 2, 1), ((3, 4),), 7),
    "split_with_sizes": (lambda x: A.split_with_sizes(x, [1, 3], 1), ((3, 4),), 6),
    "unbind": (lambda x: A.unbind.int(x, 1), ((3, 4),), 3),
    "unfold": (lambda x: A.unfold(x, 1, 2, 2), ((3, 4),), 5),
    "im2col": (lambda x: A.im2col(x, [1, 1], [1, 1], [0, 0], [1, 1]), ((1, 3, 1, 1),), 3),
    "col2im": (lambda x: A.col2im(x, [4, 4], [2, 2], [1, 1], [0, 0], [2, 2]), ((1, 12, 4),), 3),
    "diagonal": (lambda x: A.diagonal(x, 0, 0, 1), ((4, 4, 3),), 0),
    "pixel_shuffle": (lambda x: A.pixel_shuffle(x, 2), ((1, 8, 1, 1),), 2),
    "pixel_unshuffle": (lambda x: A.pixel_unshuffle(x, 2), ((1, 3, 2, 2),), 3),
    "channel_shuffle": (lambda x: A.channel_shuffle(x, 2), ((1, 6, 1, 1),), 3),
    "native_channel_shuffle": (lambda x: A.native_channel_shuffle(x, 3), ((1, 6, 1, 1),), 2),
    "reflection_pad1d": (lambda x: A.reflection_pad1d(x, [1, 1]), ((2, 3, 4),), 9),
    "reflection_pad2d": (lambda x: A.reflection_pad2d(x, [1, 1, 1, 1]), ((2, 3, 4, 4),), 13),
    "reflection_pad3d": (lambda x: A.reflection_pad3d(x, [1, 0, 1, 0, 1, 0]), ((2, 3, 2, 2, 2),), 11),
    "replication_pad1d": (lambda x: A.replication_pad1d(x, [1, 1]), ((2, 3, 4),), 9),
    "replication_pad2d": (lambda x: A.replication_pad2d(x, [1, 1, 1, 1]), ((2, 3, 4, 4),), 13),
    "replication_pad3d": (lambda x: A.replication_pad3d(x, [1, 0, 1, 0, 1, 0]), ((2, 3, 2, 2, 2),), 11),
    "constant_pad_nd": (lambda x: A.constant_pad_nd(x, [1, 1], 0.0), ((3, 4),), 7),
    "constant_pad_nd, of ones": (lambda x: A.constant_pad_nd(x, [1, 1], 1.0), ((3, 4),), 7),
    "cat": (lambda x, y: A.cat([x, y], 1), ((3, 4), (3, 2)), 9),
    "stack": (lambda x, y: A.stack([x, y], 1), ((3, 4), (3, 4)), 7),
    "index": (lambda x: A.index.Tensor(x, [None, torch.tensor([3, 0])]), ((3, 4),), 3),
    "index_select": (lambda x: A.index_select(x, 1, torch.tensor([3, 0])), ((3, 4),), 3),
    "embedding": (lambda x: A.embedding(x, torch.tensor([2, 0])), ((3, 4),), 4),
    "gather": (lambda x: A.gather(x, 1, torch.tensor([[3, 0], [1, 1], [0, 0]])), ((3, 4),), 3),
    "grid_sampler_2d": (lambda x, y: A.grid_sampler_2d(x, y, 0, 0, False), ((2, 3, 4, 4), (2, 2, 2, 2)), 3),
    "grid_sampler_3d": (lambda x, y: A.grid_sampler_3d(x, y, 0, 0, False), ((1, 3, 2, 2, 2), (1, 2, 2, 2, 3)), 3),
    "view_as_complex": (lambda x: A.view_as_complex(x).abs(), ((3, 4, 2),), 7),
    # -- the same, number by number
    "clone": (lambda x: A.clone(x), ((3, 4),), 7),
    "alias": (lambda x: A.alias(x), ((3, 4),), 7),
    "detach": (lambda x: A.detach(x), ((3, 4),), 7),
    "_to_copy": (lambda x: A._to_copy(x, dtype=torch.float64), ((3, 4),), 7),
    "lift_fresh": (lambda x: A.lift_fresh(x), ((3, 4),), 7),
    "lift_fresh_copy": (lambda x: A.lift_fresh_copy(x), ((3, 4),), 7),
    "tril": (lambda x: A.tril(x), ((2, 3, 4),), 2),
    "triu": (lambda x: A.triu(x, 1), ((2, 3, 4),), 2),
    # -- elementwise
    "relu": (lambda x: A.relu(x), ((3, 4),), 7),
    "sigmoid": (lambda x: A.sigmoid(x), ((3, 4),), 7),
    "add": (lambda x, y: A.add.Tensor(x, y, alpha=2), ((3, 4), (3, 4)), 7),
    "add, broadcast": (lambda x, y: A.add.Tensor(x, y), ((3, 4), (4,)), 7),
    "mul by one coordinate": (lambda x, y: A.mul.Tensor(x, y), ((3, 4), (3, 1)), 7),
    "where": (lambda x, y: A.where.self(x > 0, x, y), ((3, 4), (3, 4)), 7),
    "clamp from above zero": (lambda x: A.clamp(x, 0.5), ((3, 4),), 7),
    "addcmul": (lambda x, y, z: A.addcmul(x, y, z), ((3, 4), (4,), (3, 1)), 7),
    "gelu": (lambda x: A.gelu(x), ((3, 4),), 7),
    "pow": (lambda x: A.pow.Tensor_Scalar(x, 2), ((3, 4),), 7),
    "exp": (lambda x: A.exp(x), ((3, 4),), 7),
    "lerp": (lambda x, y: A.lerp.Scalar(x, y, 0.25), ((3, 4), (3, 4)), 7),
    "div": (lambda x, y: A.div.Tensor(x, y.abs() + 1), ((3, 4), (3, 4)), 7),
    "_prelu_kernel": (lambda x, y: A._prelu_kernel(x, y), ((3, 4), (1, 4)), 7),
    "glu": (lambda x: A.glu(x, 1), ((3, 4),), 5),
    # -- new tensors and writing in place
    "zeros_like": (lambda x: A.zeros_like(x), ((3, 4),), 7),
    "ones_like": (lambda x: A.ones_like(x), ((3, 4),), 7),
    "full_like": (lambda x: A.full_like(x, 2.0), ((3, 4),), 7),
    "fill": (lambda x: A.fill.Scalar(x, 3.0), ((3, 4),), 7),
    "fill_": (lambda x: A.fill_.Scalar(A.clone(x), 3.0), ((3, 4),), 7),
    "zero": (lambda x: A.zero(x), ((3, 4),), 7),
    "zero_": (lambda x: A.zero_(A.clone(x)), ((3, 4),), 7),
    "new_zeros": (lambda x: x + A.new_zeros(x, [3, 1]), ((3, 4),), 7),
    "new_ones": (lambda x: x + A.new_ones(x, [4]), ((3, 4),), 7),
    "new_full": (lambda x: x * A.new_full(x, [3, 4], 2.0), ((3, 4),), 7),
    "as_strided_": (lambda x: A.as_strided_(A.clone(x), [3, 4], [4, 1]), ((3, 4),), 7),
    "copy": (lambda x, y: A.copy(x, y), ((3, 4), (3, 4)), 7),
    "copy_": (lambda x, y: A.copy_(A.clone(x), y), ((3, 4), (4,)), 7),
    "add_": (lambda x, y: A.add_.Tensor(A.clone(x), y), ((3, 4), (4,)), 7),
}

APART = "torch takes it apart before it gets here"

# rules that cannot be reached with an experiment here, and why
UNREACHED = {
    **dict.fromkeys(("full", "ones", "zeros"), "sizes come from the input, which takes no part here; see test_ops.py"),
    "adaptive_avg_pool1d": APART,
    "adaptive_max_pool1d": APART,
    "avg_pool1d": APART,
    "chunk": APART,
    "contiguous": APART,
    "flip_indices": APART,
    "max_pool1d_with_indices": APART,
    "movedim": APART,
    "narrow": APART,
    "reshape": APART,
    "scaled_dot_product_attention": APART,
    "_unsafe_index": "made by compilers only",
    "cudnn_grid_sampler": "needs a GPU",
    "cudnn_batch_norm": "needs a GPU",
    "_scaled_dot_product_flash_attention": "needs a GPU",
    "_scaled_dot_product_efficient_attention": "needs a GPU",
    "_scaled_dot_product_fused_attention_overrideable": "needs an accelerator",
    "_native_batch_norm_legit_functional": "made by compilers only",
    "_batch_norm_with_update": "made by compilers only",
    "empty": "its numbers are of no account",
    "empty_like": "its numbers are of no account",
    "new_empty": "its numbers are of no account",
    "new_empty_strided": "its numbers are of no account",
    "rand_like": "random",
    "randn_like": "random",
    "bernoulli": "random",
    "bernoulli_": "random",
    "dropout": "random, or in eval mode the same",
    "native_dropout": "random",
}


def operands(shapes: tuple[tuple[int, ...], ...]) -> list[torch.Tensor]:
    """Random numbers, none near zero."""
    generator = torch.Generator().manual_seed(3)
    noise = [torch.randn(shape, generator=generator) for shape in shapes]
    return [x + 0.2 * x.sign() for x in noise]


@pytest.mark.parametrize("name", LINES)
def test_the_numbers_agree(name: str) -> None:
    function, shapes, free = LINES[name]
    found = perform(function, operands(shapes))
    assert found.broken == ()
    assert name in found.ops or name not in rules_by_name()
    assert found.free == free


def rules_by_name() -> set[str]:
    """Every name in a table of rules."""
    return set(RULES) | set(CONTRACTIONS) | set(rules.MOVES) | set(rules.SAME)


def test_every_rule_has_an_experiment() -> None:
    tried: set[str] = set()
    for function, shapes, _ in LINES.values():
        tried |= perform(function, operands(shapes)).ops
    assert sorted(rules_by_name() - tried - set(UNREACHED)) == []
    assert sorted(set(UNREACHED) & tried) == []


# what a mistaken table would claim: the rule, the op it is wrong for
WRONG: dict[str, tuple[Callable[..., Any], str, Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "softmax does not keep zeros": (rules.same, "_softmax", lambda x: A._softmax(x, 1, False), ((3, 4),)),
    "a cumulated sum is not elementwise": (rules.same, "cumsum", lambda x: A.cumsum(x, 1), ((3, 4),)),
    "sigmoid does not keep zeros": (rules.same, "sigmoid", lambda x: A.sigmoid(x), ((3, 4),)),
    "a roll moves": (rules.same, "roll", lambda x: A.roll(x, [1], [1]), ((3, 4),)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_claim_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed, op_name, function, shapes = WRONG[name]
    find = rules.find

    def mistaken(func: Any) -> Any:
        return claimed if func.overloadpacket.__name__ == op_name else find(func)

    assert perform(function, operands(shapes)).broken == ()
    monkeypatch.setattr(rules, "find", mistaken)
    assert perform(function, operands(shapes)).broken
