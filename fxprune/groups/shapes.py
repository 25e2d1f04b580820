"""Rules of ops that arrange: padding, joining, indexing, resampling, new tensors, writing in place."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from fxprune.groups.labels import FIXED, Axis, Labels
from fxprune.groups.moves import move
from fxprune.groups.op import Op
from fxprune.groups.registry import bare, rule

__all__: list[str] = []

# ops over trailing dimensions (space) that leave batch and channel as they are
_SPATIAL = (
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "_upsample_bicubic2d_aa",
    "_upsample_bilinear2d_aa",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "upsample_linear1d",
    "upsample_trilinear3d",
)


@rule(*_SPATIAL)
def spatial(op: Op) -> list[Labels]:
    """Window by window in space: batch and channel pass through."""
    x = op.lookup(op.tensors()[0])
    moved = 2 if "2d" in op.name else 3 if "3d" in op.name else 1
    for axis in x.axes[-moved:]:
        op.fix(axis, f"`{op.place.op}` mixes along it")
    axes = (*x.axes[:-moved], *(None for _ in range(moved)))
    return [Labels(axes, x.weight) for _ in op.outputs]


@rule("col2im")
def fold(op: Op) -> list[Labels]:
    """Patches (N, channels·k, places) are added up into images (N, channels, H, W): a channel's taps go together."""
    x, taps = op.lookup(op.args["self"]), prod(op.args["kernel_size"])
    axes = list(x.axes)
    op.fix(axes[-1], f"`{op.place.op}` mixes along it")
    channels = axes[-2]
    if channels is not None:
        grid = channels.ids.reshape(-1, taps)
        op.tie(np.repeat(grid[:, 0], taps), channels.ids)
        channels = Axis(grid[:, 0], channels.zero)
    return [Labels((*axes[:-2], channels, None, None), x.weight)]


@rule("im2col")
def unfold(op: Op) -> list[Labels]:
    """The inverse: each channel becomes its taps, which hold nothing else but padding."""
    x, taps = op.lookup(op.args["self"]), prod(op.args["kernel_size"])
    for axis in x.axes[-2:]:
        op.fix(axis, f"`{op.place.op}` mixes along it")
    channels = x.axes[-3]
    made = None if channels is None else Axis(np.repeat(channels.ids, taps), channels.zero)
    return [Labels((*x.axes[:-3], made, None), x.weight)]


@rule("constant_pad_nd")
def constant_pad(op: Op) -> list[Labels]:
    """Moves into a larger field of constants: position -1; zeros stay zero if the constant is."""
    moved = move(op, value=0)[0]
    zero = op.args["value"] == 0
    return [Labels(tuple(None if a is None else Axis(a.ids, a.zero and zero) for a in moved.axes), moved.weight)]


@rule("cat")
def cat(op: Op) -> list[Labels]:
    """Laid end to end along one dimension, aligned along the others."""
    parts = [t for t in op.args["tensors"] if not (t.dim() == 1 and t.numel() == 0)]
    labels = [op.lookup(t) for t in parts]
    rank = parts[0].dim()
    dim = op.args["dim"] % rank
    axes: list[Axis | None] = []
    for d in range(rank):
        if d != dim:
            axes.append(
                op.join(
                    [(lab.axes[d], t.shape[d]) for lab, t in zip(labels, parts, strict=True)],
                    zero=all((a := lab.axes[d]) is not None and a.zero for lab in labels),
                )
            )
        else:
            axes.append(_end_to_end([(lab.axes[d], t.shape[d]) for lab, t in zip(labels, parts, strict=True)]))
    return [Labels(tuple(axes), all(lab.weight for lab in labels))]


def _end_to_end(parts: list[tuple[Axis | None, int]]) -> Axis | None:
    present = [axis for axis, _ in parts if axis is not None]
    if not present:
        return None
    ids = [np.full(size, FIXED) if axis is None else axis.ids for axis, size in parts]
    return Axis(np.concatenate(ids), all(axis.zero for axis in present))


@rule("stack")
def stack(op: Op) -> list[Labels]:
    """Aligned along every dimension; the new one holds the parts and must stay."""
    parts = op.args["tensors"]
    labels = [op.lookup(t) for t in parts]
    axes = [
        op.join(
            [(lab.axes[d], t.shape[d]) for lab, t in zip(labels, parts, strict=True)],
            zero=all((a := lab.axes[d]) is not None and a.zero for lab in labels),
        )
        for d in range(parts[0].dim())
    ]
    axes.insert(op.args["dim"] % (parts[0].dim() + 1), None)
    return [Labels(tuple(axes), all(lab.weight for lab in labels))]


@rule(
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "rand_like",
    "randn_like",
    "fill",
    "fill_",
    "zero_",
    "zero",
    "bernoulli",
    "dropout",
    "native_dropout",
    "bernoulli_",
)
def like(op: Op) -> list[Labels]:
    """Shaped like its input; holds zeros only if it says so."""
    x = op.lookup(op.tensors()[0])
    zeros = op.name in ("zeros_like", "zero_", "zero")
    keeps = op.name in ("dropout", "native_dropout")
    axes = tuple(axis and Axis(axis.ids, zeros or (keeps and axis.zero)) for axis in x.axes)
    return [Labels(axes, x.weight) for _ in op.outputs]


@rule("empty", "full", "new_empty", "new_full", "new_ones", "new_zeros", "ones", "zeros")
def new(op: Op) -> list[Labels]:
    """The same number everywhere, so any coordinate may go: fresh ids, zero where the number is."""
    assert op.fresh is not None
    zero = "zeros" in op.name or ("full" in op.name and op.args["fill_value"] == 0)
    return [op.fresh(tuple(out.shape), zero) for out in op.outputs]


@rule("expand", "repeat")
def spread(op: Op) -> list[Labels]:
    """A single coordinate copied many times: all copies are alike, so any may go. The others are moved."""
    moved = move(op)[0]
    assert op.fresh is not None
    out, tensor = op.outputs[0], op.args["self"]
    alike = op.fresh(tuple(out.shape), False)
    lone = [back > tensor.dim() or tensor.shape[-back] == 1 for back in range(out.dim(), 0, -1)]
    axes = (a if a is not None or not one else b for a, b, one in zip(moved.axes, alike.axes, lone, strict=True))
    return [Labels(tuple(axes), moved.weight)]


@rule("copy_", "copy")
def copy(op: Op) -> list[Labels]:
    """Overwrites `self` by `src`, broadcast: aligned coordinates live together, zero where `src` is."""
    return [op.broadcast([op.args["src"], op.args["self"]], lambda flags: flags[0])]


@rule("index", "_unsafe_index", "index_select")
def index(op: Op) -> list[Labels]:
    """Picks by tensors of indices; dimensions that are not indexed pass through."""
    tensor = op.args["self"]
    x = op.lookup(tensor)
    if op.name == "index_select":
        picked = {op.args["dim"] % tensor.dim()}
        boolean = False
    else:
        given = op.args["indices"]
        picked = {d for d, i in enumerate(given) if i is not None}
        boolean = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in given)
    for d in picked:
        op.fix(x.axes[d], f"`{op.place.op}` picks from it by indices")
    if boolean:
        op.fix_all(x, f"`{op.place.op}` picks from it by a mask")
        return [bare(out) for out in op.outputs]
    open_ = Labels(tuple(None if d in picked else axis for d, axis in enumerate(x.axes)), x.weight)
    return move(op, labels=open_)


@rule("gather")
def gather(op: Op) -> list[Labels]:
    """Picks along one dimension by an index of the output's shape, aligned with it along the others."""
    x, i = op.lookup(op.args["self"]), op.lookup(op.args["index"])
    at = op.args["dim"] % max(1, len(x.axes))
    op.fix(x.axes[at], f"`{op.place.op}` picks from it by indices")
    sizes = zip(op.args["self"].shape, op.args["index"].shape, strict=True)
    axes = [
        i.axes[d] if d == at else op.join([(x.axes[d], a), (i.axes[d], b)]) if a == b else None
        for d, (a, b) in enumerate(sizes)
    ]
    return [Labels(tuple(axes))]


@rule("embedding")
def embedding(op: Op) -> list[Labels]:
    """A table's rows picked by indices: the indices' dimensions, then the table's width."""
    table, picked = op.lookup(op.args["weight"]), op.lookup(op.args["indices"])
    op.fix(table.axes[0], f"`{op.place.op}` picks from it by indices")
    return [Labels((*picked.axes, table.axes[1]), table.weight and picked.weight)]


@rule("grid_sampler_2d", "grid_sampler_3d", "cudnn_grid_sampler")
def grid_sample(op: Op) -> list[Labels]:
    """Samples in space, each channel the same way."""
    x = op.lookup(op.args["input"])
    op.fix_all(op.lookup(op.args["grid"]), f"`{op.place.op}` uses it as coordinates")
    for axis in (x.axes[0], *x.axes[2:]):
        op.fix(axis, f"`{op.place.op}` mixes along it")
    return [Labels((None, x.axes[1], *(None for _ in x.axes[2:])))]


@rule("glu")
def glu(op: Op) -> list[Labels]:
    """a * sigmoid(b) for the two halves along one dimension: they go together."""
    x = op.lookup(op.args["self"])
    at = op.args["dim"] % len(x.axes)
    axes = list(x.axes)
    axis = axes[at]
    if axis is not None:
        half = len(axis.ids) // 2
        op.tie(axis.ids[:half], axis.ids[half:])
        axes[at] = Axis(axis.ids[:half], axis.zero)
    return [Labels(tuple(axes), x.weight)]


@rule("tril", "triu")
def triangle(op: Op) -> list[Labels]:
    """Zeroes by position in the last two dimensions: these must stay."""
    x = op.lookup(op.args["self"])
    for axis in x.axes[-2:]:
        op.fix(axis, f"`{op.place.op}` depends on the position along it")
    return [Labels((*x.axes[:-2], None, None), x.weight)]


@rule("view_as_real", "view_as_complex")
def real_pairs(op: Op) -> list[Labels]:
    """Real and imaginary parts stand in a last dimension of two."""
    x = op.lookup(op.args["self"])
    if op.name == "view_as_complex":
        op.fix(x.axes[-1], f"`{op.place.op}` pairs real and imaginary parts along it")
    return [Labels((*x.axes, None) if op.name == "view_as_real" else x.axes[:-1], x.weight)]


@rule("diag_embed")
def diagonal(op: Op) -> list[Labels]:
    """The last dimension stands along two: a row and a column go together, and hold what the diagonal does or zeros."""
    x, rank = op.lookup(op.args["self"]), op.outputs[0].dim()
    if op.args["offset"] != 0:
        op.fix(x.axes[-1], f"`{op.place.op}` depends on the position along it")
        x = Labels((*x.axes[:-1], None), x.weight)
    rest = iter(x.axes[:-1])
    both = {op.args["dim1"] % rank, op.args["dim2"] % rank}
    return [Labels(tuple(x.axes[-1] if d in both else next(rest) for d in range(rank)), x.weight)]


@rule("squeeze_", "t_", "transpose_", "unsqueeze_")
def rearranged(op: Op) -> list[Labels]:
    """Dimensions in another order, without some of size one or with one more; the tensor itself is so by now."""
    x, out = op.lookup(op.args["self"]), op.outputs[0]
    axes, rank = list(x.axes), len(x.axes)
    if op.name == "unsqueeze_":
        axes.insert(op.args["dim"] % (rank + 1), None)
    elif op.name != "squeeze_":
        one, other = (op.args["dim0"], op.args["dim1"]) if op.name == "transpose_" else (0, -1)
        axes[one], axes[other] = axes[other], axes[one]
    elif out.dim() < rank:
        dims = op.args.get("dim")
        gone = {d % rank for d in ([dims] if isinstance(dims, int) else dims or ())}
        if rank - len(gone) != out.dim():  # not all of these were of size one, or it is not said which
            op.fix_all(x, f"`{op.place.op}` lays it out anew")
            return [bare(out)]
        axes = [axis for d, axis in enumerate(axes) if d not in gone]
    return [Labels(tuple(axes), x.weight)]


@rule("as_strided_")
def restride(op: Op) -> list[Labels]:
    """What pooling to one pixel does to its result in channels-last memory: the same numbers in the same places."""
    tensor = op.args["self"]
    x = op.lookup(tensor)
    if tuple(op.args["size"]) == tuple(tensor.shape) and sum(size > 1 for size in tensor.shape[1:]) <= 1:
        return [x]
    op.fix_all(x, f"`{op.place.op}` lays it out anew")
    return [bare(tensor)]
