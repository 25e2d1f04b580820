"""Rules of products: convolution, matrix products, attention. They read like einsum."""

from __future__ import annotations

import numpy as np

from fxprune.groups.blocks import goes_whole
from fxprune.groups.labels import Axis, Labels
from fxprune.groups.op import Op
from fxprune.groups.registry import bare, rule

__all__ = ["CONTRACTIONS", "contraction", "per_group"]

# einsum, argument names: the products
CONTRACTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mm": ("ik,kj->ij", ("self", "mat2")),
    "addmm": ("+ij,ik,kj->ij", ("self", "mat1", "mat2")),
    "bmm": ("bik,bkj->bij", ("self", "mat2")),
    "baddbmm": ("+bij,bik,bkj->bij", ("self", "batch1", "batch2")),
    "mv": ("ik,k->i", ("self", "vec")),
    "dot": ("k,k->", ("self", "tensor")),
}


def contraction(op: Op) -> list[Labels]:
    """An op of `CONTRACTIONS`."""
    spec, names = CONTRACTIONS[op.name.removesuffix("_")]
    if op.name.startswith("addmm") and op.args["self"].dim() == 1:
        spec = spec.replace("+ij", "+j")
    return [op.contract(spec, *(op.args[name] for name in names))]


@rule("convolution")
def convolution(op: Op) -> list[Labels]:
    """out[b, o] = Σ_i in[b, i] * weight[o, i] + bias[o]; transposed: weight[i, o]; grouped: by groups.

    Of a few large groups each keeps its own channels; of many small ones, whole groups go.
    """
    a = op.args
    if a["groups"] > 1:
        return [_grouped(op)]
    spec = "bi...,io...,+o->bo..." if a["transposed"] else "bi...,oi...,+o->bo..."
    return [op.contract(spec, a["input"], a["weight"], a["bias"])]


def _grouped(op: Op) -> Labels:
    """A grouped convolution: channels (g, m) in, (g, n) out, weight (g·n, m) or, transposed, (g·m, n).

    Each group keeps channels of its own, where its weight is held in blocks (`blocks_of`) and those removed go in as
    zeros. Otherwise the result must stay rectangular: the same channels of every group go, or whole groups.
    """
    a, groups = op.args, int(op.args["groups"])
    x, w, bias = op.lookup(a["input"]), op.lookup(a["weight"]), op.labels(a["bias"])
    for axis in (x.axes[0], *x.axes[2:]):
        op.fix(axis, f"`{op.place.op}` mixes along it")
    for axis in w.axes[2:]:
        op.fix(axis, None)
    made = _rectangular(op, x, w, bias, groups) if w.narrow is None else _in_blocks(op, x, w, w.narrow, bias, groups)
    axes: list[Axis | None] = [None] * op.outputs[0].dim()
    axes[1] = None if made is None else Axis(made.ids, zero=bias is None or bias.axes[0] is not None)
    return Labels(tuple(axes), weight=x.weight and w.weight)


def _in_blocks(op: Op, x: Labels, w: Labels, narrow: Axis, bias: Labels | None, groups: int) -> Axis | None:
    """Each group keeps its own; the output channels."""
    width_in, width_out = op.args["input"].shape[1], op.outputs[0].shape[1]
    wide = w.axes[0]
    assert wide is not None
    if x.axes[1] is not None and not x.axes[1].zero:
        per_group(op, x.axes[1], groups, whole=False)
    op.join([(x.axes[1], width_in), (narrow, width_in)])
    op.ties.produced.append((wide.ids, op.place))
    op.ties.consumed.append((narrow.ids, op.place))
    op.count([Axis(axis.ids.reshape(groups, -1), axis.zero) for axis in (wide, narrow)])
    return wide if bias is None else op.join([(wide, width_out), (bias.axes[0], width_out)])


def _rectangular(op: Op, x: Labels, w: Labels, bias: Labels | None, groups: int) -> Axis | None:
    """All groups keep the same channels, or whole groups go; the output channels."""
    wide, narrow = w.axes[0], w.axes[1]  # the dimension over all groups, the dimension within one
    width_in, width_out = op.args["input"].shape[1], op.outputs[0].shape[1]
    m, n = width_in // groups, width_out // groups
    whole = goes_whole(groups, n, m)
    added = None if bias is None else bias.axes[0]
    if op.args["transposed"]:
        channels_in = op.join([(x.axes[1], width_in), (wide, width_in)])
        units_in = per_group(op, channels_in, groups, whole)
        made = _spread_out(units_in if whole else narrow, groups, n, whole)
        channels_out = op.join([(made, width_out), (added, width_out)]) if bias is not None else made
    else:
        units_in = per_group(op, x.axes[1], groups, whole)
        channels_out = op.join([(wide, width_out), (added, width_out)]) if bias is not None else wide
        units_out = per_group(op, channels_out, groups, whole)
        if whole:
            op.join([(units_in, groups), (units_out, groups)])
        else:
            op.join([(units_in, m), (narrow, m)])
    if whole:
        op.fix(narrow, None)
    if m > 1:  # a depthwise filter carries its channel along, as a norm's scale does: it neither makes nor takes
        first, second = (narrow, wide) if op.args["transposed"] else (wide, narrow)
        for axis, book in ((first, op.ties.produced), (second, op.ties.consumed)):
            if axis is not None:
                book.append((axis.ids, op.place))
    op.count([axis for axis in ([wide] if whole else [wide, narrow]) if axis is not None])
    return channels_out


def per_group(op: Op, axis: Axis | None, groups: int, whole: bool) -> Axis | None:
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


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(op: Op) -> list[Labels]:
    """(groups, n) channels become (n, groups); the same channels of every group go, so that `groups` stays true."""
    x, groups = op.lookup(op.args["self"]), int(op.args["groups"])
    axes = list(x.axes)
    if axes[1] is not None:
        per_group(op, axes[1], groups, whole=False)
        axes[1] = Axis(axes[1].ids.reshape(groups, -1).T.ravel(), axes[1].zero)
    return [Labels(tuple(axes), x.weight)]


@rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def attention(op: Op) -> list[Labels]:
    """out[b, h, n, e] = Σ_m softmax_m(Σ_d q[b, h, n, d] k[b, h, m, d]) v[b, h, m, e].

    The default scale is 1/√d: a cut along d keeps the original's only if the rewrite writes it down.
    """
    q, k, v = (op.lookup(op.args[name]) for name in ("query", "key", "value"))
    sizes = op.args["query"].shape, op.args["key"].shape, op.args["value"].shape
    mask = op.args.get("attn_mask", op.args.get("attn_bias"))
    op.fix_all(op.labels(mask), f"`{op.place.op}` uses it as a mask")
    lead = [
        op.join([(x.axes[d], size[d]) for x, size in zip((q, k, v), sizes, strict=True)])
        for d in range(len(sizes[0]) - 2)
    ]
    for x in (q, k, v):
        op.fix(x.axes[-2], f"`{op.place.op}` mixes along it")
    inner = op.join([(q.axes[-1], sizes[0][-1]), (k.axes[-1], sizes[1][-1])])
    if inner is not None:
        zero = any(axis is not None and axis.zero for axis in (q.axes[-1], k.axes[-1]))
        op.vanish(Axis(inner.ids, zero), "sum")
        if op.args.get("scale") is None and not op.mends("scale"):
            op.fix(inner, f"`{op.place.op}` scales by its width")
    whole = [axis for axis in lead if axis is not None]
    op.count([*whole, *([inner] if inner else [])], [*whole, *([v.axes[-1]] if v.axes[-1] else [])])
    heads = tuple(axis and Axis(axis.ids, x is not None and x.zero) for axis, x in zip(lead, v.axes, strict=False))
    out = Labels((*heads, None, v.axes[-1]))
    return [out, *(bare(extra) for extra in op.outputs[1:])]
