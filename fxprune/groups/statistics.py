"""Rules of norms, reductions and softmax: what is averaged over channels must still count those that went."""

from __future__ import annotations

from fxprune.groups.labels import Axis, Labels
from fxprune.groups.op import Op
from fxprune.groups.products import per_group
from fxprune.groups.registry import bare, rule

__all__: list[str] = []

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
        per_group(op, channel, groups, whole=groups > size // groups)
    axes = (None, channel, *(None for _ in x.axes[2:]))
    return [Labels(axes, x.weight), *(bare(out) for out in op.outputs[1:])]


@rule("_softmax", "_log_softmax", "_safe_softmax")
def softmax(op: Op) -> list[Labels]:
    """Normalised along one dimension; nothing stays zero, along any."""
    x = op.lookup(op.args["self"])
    dim = op.args["dim"] % max(1, len(x.axes))
    op.vanish(x.axes[dim], "softmax")
    return [Labels(tuple(None if axis is None else Axis(axis.ids, False) for axis in x.axes), x.weight)]


@rule(*_REDUCTIONS)
def reduce(op: Op) -> list[Labels]:
    """Some dimensions vanish; zero along the others stays zero for every reduction of zeros but these."""
    tensor = op.tensors()[0]
    x, rank = op.lookup(tensor), tensor.dim()
    dims = op.args.get("dim")
    dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {d % max(1, rank) for d in dims}
    kind = _REDUCTIONS[op.name]
    order = op.args.get("ord", op.args.get("p"))
    if order is not None and float(order) < 0:
        kind = "norm of negative order"  # where a zero would be the smallest
    for d in sorted(gone) if rank else ():
        op.vanish(x.axes[d], kind)
    stays = op.name in ("sum", "mean", "amax", "amin", "linalg_vector_norm", "norm", "var", "std", "any")
    keep = op.args.get("keepdim", False)
    axes = [
        None if d in gone or axis is None else Axis(axis.ids, axis.zero and stays)
        for d, axis in enumerate(x.axes)
        if keep or d not in gone
    ]
    return [Labels(tuple(axes), x.weight) for _ in op.outputs]


@rule("max", "min")
def extreme(op: Op) -> list[Labels]:
    """`max()`, `max(dim)` with its indices, or elementwise `max(other)`."""
    if "other" in op.args:
        return [op.broadcast(op.tensors(), op.keeps_zero)]
    x, tensor = op.lookup(op.args["self"]), op.args["self"]
    if "dim" not in op.args:
        for axis in x.axes:
            op.vanish(axis, op.name)
        return [Labels((), x.weight)]
    at = op.args["dim"] % max(1, tensor.dim())
    op.vanish(x.axes[at], f"{op.name} with indices")
    axes = [None if d == at else axis for d, axis in enumerate(x.axes) if op.args["keepdim"] or d != at]
    indices = tuple(axis and Axis(axis.ids, False) for axis in axes)
    return [Labels(tuple(axes), x.weight), Labels(indices)]


@rule("cumsum", "cumprod", "sort", "topk", "logcumsumexp", "cummax", "cummin")
def along(op: Op) -> list[Labels]:
    """Works along one dimension, in order; the others pass through. What is zero all along stays so."""
    x = op.lookup(op.args["self"])
    at = op.args["dim"] % max(1, len(x.axes))
    op.fix(x.axes[at], f"`{op.place.op}` depends on the order along it")
    rest = (*x.axes[:at], None, *x.axes[at + 1 :])

    def labels(zero: bool) -> Labels:
        return Labels(tuple(axis and Axis(axis.ids, axis.zero and zero) for axis in rest), x.weight)

    return [labels(k == 0 and op.name != "logcumsumexp") for k in range(len(op.outputs))]


@rule("_fft_r2c", "_fft_c2r", "_fft_c2c")
def fourier(op: Op) -> list[Labels]:
    """A linear map along some dimensions; the others pass through."""
    x = op.lookup(op.args["self"])
    mixed = {d % len(x.axes) for d in op.args["dim"]}
    for d in mixed:
        op.fix(x.axes[d], f"`{op.place.op}` mixes along it")
    return [Labels(tuple(None if d in mixed else axis for d, axis in enumerate(x.axes)), x.weight)]
