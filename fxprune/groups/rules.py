"""The rule table: ATen op → what it ties. What is not listed is refused: it protects what it touches.

Contractions read like einsum: same letter, same coordinate; a letter that vanishes is summed over. Elementwise ops are
recognised by their tag, data movement is read off by running the op (`movement`). A rule gets an `Op` and returns the
labels of each output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fxprune.groups.labels import FIXED, Axis, Labels
from fxprune.groups.moves import move
from fxprune.groups.op import Op

__all__ = ["CONTRACTIONS", "MOVES", "RULES", "SAME", "Rule", "bare", "find", "rule"]

Rule = Callable[[Op], list[Labels]]

RULES: dict[str, Rule] = {}

# einsum, argument names: the products
CONTRACTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mm": ("ik,kj->ij", ("self", "mat2")),
    "addmm": ("+j,ik,kj->ij", ("self", "mat1", "mat2")),
    "bmm": ("bik,bkj->bij", ("self", "mat2")),
    "baddbmm": ("+bij,bik,bkj->bij", ("self", "batch1", "batch2")),
    "mv": ("ik,k->i", ("self", "vec")),
    "dot": ("k,k->", ("self", "tensor")),
}

# ops that copy numbers without mixing them; the argument that is moved is called `self`
MOVES = frozenset(
    [
        "_reshape_alias",
        "_reshape_copy",
        "_unsafe_view",
        "channel_shuffle",
        "diagonal",
        "expand",
        "expand_copy",
        "flip",
        "movedim",
        "narrow",
        "permute",
        "pixel_shuffle",
        "pixel_unshuffle",
        "reflection_pad1d",
        "reflection_pad2d",
        "reflection_pad3d",
        "repeat",
        "replication_pad1d",
        "replication_pad2d",
        "replication_pad3d",
        "reshape",
        "roll",
        "rot90",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unfold",
        "unsqueeze",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d",
        "_upsample_nearest_exact3d",
        "view",
        "im2col",
        "native_channel_shuffle",
        "chunk",
    ]
)

# ops that give back what they got, number by number, in the same places
SAME = frozenset(
    ["_to_copy", "alias", "clone", "contiguous", "detach", "lift_fresh", "lift_fresh_copy", "tril", "triu"]
)

# ops over trailing dimensions (space) that leave batch and channel as they are
_SPATIAL = (
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa"
)

# reduction → what makes up for coordinates that were left out; "sum" needs nothing
_REDUCTIONS = {
    "sum": "sum",
    "mean": "mean",
    "amax": "max",
    "amin": "min",
    "linalg_vector_norm": "sum",
    "norm": "sum",
    "var": "var",
    "std": "std",
    "var_mean": "var_mean",
    "std_mean": "std_mean",
    "logsumexp": "logsumexp",
    "prod": "prod",
    "any": "any",
    "all": "all",
    "argmax": "argmax",
    "argmin": "argmin",
}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen ops by name (`"softmax"` covers all its overloads)."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


@rule("convolution")
def convolution(op: Op) -> list[Labels]:
    """out[b, o] = Σ_i in[b, i] * weight[o, i] + bias[o]; transposed: weight[i, o]; grouped: see `_grouped`."""
    a = op.args
    if a["groups"] > 1:
        return [_grouped(op)]
    spec = "bi...,io...,+o->bo..." if a["transposed"] else "bi...,oi...,+o->bo..."
    return [op.contract(spec, a["input"], a["weight"], a["bias"])]


def _grouped(op: Op) -> Labels:
    """A grouped convolution: channels (g, m) in, (g, n) out, weight (g·n, m) or, transposed, (g·m, n).

    The result must stay rectangular: whole groups go (always so for depthwise, m = 1), or the same channels of every
    group. Whichever leaves more units.
    """
    a, groups = op.args, int(op.args["groups"])
    x, w, bias = op.lookup(a["input"]), op.lookup(a["weight"]), op.labels(a["bias"])
    for axis in (x.axes[0], *x.axes[2:]):
        op.fix(axis, f"`{op.place.op}` mixes along it")
    for axis in w.axes[2:]:
        op.fix(axis, None)
    wide, narrow = w.axes[0], w.axes[1]  # the dimension over all groups, the dimension within one
    width_in, width_out = a["input"].shape[1], op.outputs[0].shape[1]
    m, n = width_in // groups, width_out // groups
    whole = m == 1 or n == 1 or groups > max(m, n)
    added = None if bias is None else bias.axes[0]
    if a["transposed"]:
        channels_in = op.join([(x.axes[1], width_in), (wide, width_in)])
        units_in = _per_group(op, channels_in, groups, whole)
        made = _spread_out(units_in if whole else narrow, groups, n, whole)
        channels_out = op.join([(made, width_out), (added, width_out)]) if bias is not None else made
    else:
        units_in = _per_group(op, x.axes[1], groups, whole)
        channels_out = op.join([(wide, width_out), (added, width_out)]) if bias is not None else wide
        units_out = _per_group(op, channels_out, groups, whole)
        if whole:
            op.join([(units_in, groups), (units_out, groups)])
        else:
            op.join([(units_in, m), (narrow, m)])
    if whole:
        op.fix(narrow, None)
    _grouped_roles(op, wide, narrow, channels_out, whole, m)
    axes: list[Axis | None] = [None] * op.outputs[0].dim()
    axes[1] = None if channels_out is None else Axis(channels_out.ids, zero=bias is None or added is not None)
    return Labels(tuple(axes), weight=x.weight and w.weight)


def _per_group(op: Op, axis: Axis | None, groups: int, whole: bool) -> Axis | None:
    """Tie channels (groups, size) along one of the two; the axis of what is left."""
    if axis is None:
        return None
    grid = axis.ids.reshape(groups, -1)
    lead = grid[:, :1] if whole else grid[:1]
    op.tie(np.broadcast_to(lead, grid.shape).ravel(), grid.ravel())
    return Axis(lead.ravel(), axis.zero)


def _spread_out(axis: Axis | None, groups: int, n: int, whole: bool) -> Axis | None:
    """Output channels (groups, n) of a transposed grouped convolution, from one axis of the two."""
    if axis is None:
        return None
    return Axis(np.repeat(axis.ids, n) if whole else np.tile(axis.ids, groups), axis.zero)


def _grouped_roles(op: Op, wide: Axis | None, narrow: Axis | None, out: Axis | None, whole: bool, m: int) -> None:
    """Who produces and consumes. A depthwise filter carries its channel along, as a norm's scale does: neither."""
    if m > 1:
        first, second = (narrow, wide) if op.args["transposed"] else (wide, narrow)
        for axis, book in ((first, op.ties.produced), (second, op.ties.consumed)):
            if axis is not None:
                book.append((axis.ids, op.place))
    letters = [wide] if whole else [wide, narrow]
    op.count([axis for axis in letters if axis is not None])


@rule(
    "native_batch_norm",
    "_native_batch_norm_legit_no_training",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    "cudnn_batch_norm",
    "_batch_norm_with_update",
)
def batch_norm(op: Op) -> list[Labels]:
    """Each channel by itself. A removed channel is zero after it if scale and shift are there to be zeroed."""
    x = op.lookup(op.args["input"])
    size = op.args["input"].shape[1]
    per_channel = [op.labels(op.args.get(name)) for name in ("weight", "bias", "running_mean", "running_var")]
    present = [(labels.axes[0], size) for labels in per_channel if labels is not None]
    channel = op.join([(x.axes[1], size), *present], zero=per_channel[0] is not None and per_channel[1] is not None)
    axes = (x.axes[0], channel, *x.axes[2:])
    for axis in (x.axes[0], *x.axes[2:]):
        op.fix(axis, f"`{op.place.op}` takes statistics over it")
    return [Labels(axes, x.weight), *(bare(out) for out in op.outputs[1:])]


@rule("native_layer_norm")
def layer_norm(op: Op) -> list[Labels]:
    """Statistics over the trailing dimensions: exact only if removed coordinates are zero and are still counted."""
    x = op.lookup(op.args["input"])
    rank = len(op.args["normalized_shape"])
    affine = [op.labels(op.args[name]) for name in ("weight", "bias")]
    axes = list(x.axes)
    for back in range(1, rank + 1):
        size = op.args["input"].shape[-back]
        op.vanish(x.axes[-back], "layer_norm" if rank == 1 else "layer_norm over several dimensions")
        present = [(labels.axes[-back], size) for labels in affine if labels is not None]
        axes[-back] = op.join([(x.axes[-back], size), *present], zero=all(labels is not None for labels in affine))
    kept = [
        None if axis is None else Axis(axis.ids, axis.zero and k >= len(axes) - rank) for k, axis in enumerate(axes)
    ]
    return [Labels(tuple(kept), x.weight), *(bare(out) for out in op.outputs[1:])]


@rule("native_group_norm")
def group_norm(op: Op) -> list[Labels]:
    """Statistics over the channels of each group and space."""
    x = op.lookup(op.args["input"])
    groups, size = int(op.args["group"]), op.args["input"].shape[1]
    affine = [op.labels(op.args[name]) for name in ("weight", "bias")]
    present = [(labels.axes[0], size) for labels in affine if labels is not None]
    channel = op.join([(x.axes[1], size), *present], zero=len(present) == 2)
    for axis in (x.axes[0], *x.axes[2:]):
        op.fix(axis, f"`{op.place.op}` takes statistics over it")
    if size != groups:
        op.vanish(x.axes[1], "group_norm")
        _per_group(op, channel, groups, whole=groups > size // groups)
    axes = (None, channel, *(None for _ in x.axes[2:]))
    return [Labels(axes, x.weight), *(bare(out) for out in op.outputs[1:])]


@rule(*_SPATIAL.split())
def spatial(op: Op) -> list[Labels]:
    """Window by window in space: batch and channel pass through."""
    x = op.lookup(_first(op))
    moved = 2 if "2d" in op.name else 3 if "3d" in op.name else 1
    for axis in x.axes[-moved:]:
        op.fix(axis, f"`{op.place.op}` mixes along it")
    axes = (*x.axes[:-moved], *(None for _ in range(moved)))
    return [Labels(axes, x.weight) for _ in op.outputs]


@rule("_softmax", "_log_softmax", "_safe_softmax")
def softmax(op: Op) -> list[Labels]:
    """Normalised along one dimension; nothing stays zero, along any."""
    x = op.lookup(op.args["self"])
    dim = op.args["dim"] % max(1, len(x.axes))
    op.vanish(x.axes[dim], "softmax")
    return [Labels(tuple(None if axis is None else Axis(axis.ids, False) for axis in x.axes), x.weight)]


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


@rule(*_REDUCTIONS)
def reduce(op: Op) -> list[Labels]:
    """Some dimensions vanish; zero along the others stays zero for every reduction of zeros but these."""
    tensor = _first(op)
    x, rank = op.lookup(tensor), tensor.dim()
    dims = op.args.get("dim")
    dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {d % max(1, rank) for d in dims}
    for d in sorted(gone) if rank else ():
        op.vanish(x.axes[d], _REDUCTIONS[op.name])
    stays = op.name in ("sum", "mean", "amax", "amin", "linalg_vector_norm", "norm", "var", "std", "any")
    keep = op.args.get("keepdim", False)
    axes = [
        None if d in gone or axis is None else Axis(axis.ids, axis.zero and stays)
        for d, axis in enumerate(x.axes)
        if keep or d not in gone
    ]
    return [Labels(tuple(axes), x.weight) for _ in op.outputs]


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
    x = op.lookup(_first(op))
    zero = op.name in ("zeros_like", "zero_", "zero", "dropout", "native_dropout")
    axes = tuple(None if axis is None else Axis(axis.ids, zero and (axis.zero or "zero" in op.name)) for axis in x.axes)
    return [Labels(axes, x.weight) for _ in op.outputs]


@rule("copy_", "copy")
def copy(op: Op) -> list[Labels]:
    """Overwrites `self` by `src`, broadcast: aligned coordinates live together, zero where `src` is."""
    target, source = op.args["self"], op.args["src"]
    return [op.broadcast([source, target], lambda flags: flags[0])]


def pointwise(op: Op) -> list[Labels]:
    """Elementwise: broadcast dimensions are aligned from the right and tied."""
    return [op.broadcast(op.tensors(), op.keeps_zero)]


@rule("_prelu_kernel")
def prelu(op: Op) -> list[Labels]:
    """Elementwise, with a slope for each channel; zero stays zero whatever the slope."""
    return [op.broadcast([op.args["self"], op.args["weight"]], lambda flags: flags[0])]


def same(op: Op) -> list[Labels]:
    """The labels of the input."""
    return [op.lookup(_first(op))]


def find(func: Any) -> Rule:
    """The rule for an ATen overload. Law: what is not in a table and not elementwise is refused."""
    name = func.overloadpacket.__name__
    found = RULES.get(name)
    if found is not None:
        return found
    if name in CONTRACTIONS:
        return contraction
    if name in SAME:
        return same
    if name in MOVES:
        return move
    if torch.Tag.pointwise in func.tags:
        return pointwise
    return unknown


def contraction(op: Op) -> list[Labels]:
    """An op of `CONTRACTIONS`."""
    spec, names = CONTRACTIONS[op.name]
    return [op.contract(spec, *(op.args[name] for name in names))]


def bare(tensor: Any) -> Labels:
    """No ids: nothing about this tensor can be removed."""
    return Labels((None,) * tensor.dim() if isinstance(tensor, torch.Tensor) else ())


def unknown(op: Op) -> list[Labels]:
    """An op without a rule protects what it touches, and says so."""
    for tensor in op.tensors():
        op.fix_all(op.lookup(tensor), f"no rule for `{op.func}`")
    return [bare(out) for out in op.outputs]


def _first(op: Op) -> torch.Tensor:
    return op.tensors()[0]
