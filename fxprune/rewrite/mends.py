"""Reductions over channels that stay exact after a cut: the original number still counts, and what is gone is zero.

`MENDS` is the promise that discovery relies on (`can_mend`) and the place where it is kept.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import prod
from typing import Any

from torch import fx, nn

from fxprune.rewrite import helpers
from fxprune.rewrite.sizes import Site

__all__ = ["MENDS", "can_mend"]

Mend = Callable[[Site, nn.Module | None], fx.Node]


def can_mend(op: str, kind: str) -> bool:
    """Can this kind of reduction, at a node of this name, be kept exact?"""
    return (op, kind) in MENDS


_NUMPY = {"axis": "dim", "keepdims": "keepdim"}  # the other spelling of some arguments


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    if len(node.args) > position:
        return node.args[position]
    return {_NUMPY.get(key, key): value for key, value in node.kwargs.items()}.get(name, default)


def _reduced(site: Site) -> list[int]:
    dims = site.now(_argument(site.node, 1, "dim", None))
    rank = len(site.old_in)
    if dims is None or dims == ():
        return list(range(rank))
    return [d % rank for d in (dims if isinstance(dims, (list, tuple)) else (dims,))]


def _after(node: fx.Node, function: Callable[..., Any], *args: Any) -> fx.Node:
    with node.graph.inserting_after(node):
        return node.graph.call_function(function, (node, *args))


def mean(site: Site, layer: nn.Module | None) -> fx.Node:
    """The mean over what is left, times its share of the original number."""
    dims = [d for d in _reduced(site) if site.lives_in[d] is not None]
    share = prod(site.new_in[d] for d in dims) / prod(site.old_in[d] for d in dims)
    return _after(site.node, operator.mul, share)


def mean_of_alike(site: Site, layer: nn.Module | None) -> fx.Node:
    """The mean over what is left and over as many removed coordinates as there were, all alike."""
    node = site.node
    dim = next(d for d in _reduced(site) if site.lives_in[d] is not None)
    share = site.new_in[dim] / site.old_in[dim]
    ghost = site.ghost(len(site.old_in) - dim)
    other = node.graph.node_copy(node, lambda n: ghost if n is node.args[0] else n)
    left = node.graph.call_function(operator.mul, (node, share))
    gone = node.graph.call_function(operator.mul, (other, 1 - share))
    return node.graph.call_function(operator.add, (left, gone))


def sum_of_alike(site: Site, layer: nn.Module | None) -> fx.Node:
    """The sum of what is left and of as many removed coordinates as there were, all alike."""
    node = site.node
    dim = next(d for d in _reduced(site) if site.lives_in[d] is not None)
    ghost = site.ghost(len(site.old_in) - dim)
    other = node.graph.node_copy(node, lambda n: ghost if n is node.args[0] else n)
    gone = node.graph.call_function(operator.mul, (other, site.old_in[dim] - site.new_in[dim]))
    return node.graph.call_function(operator.add, (node, gone))


def scale(site: Site, layer: nn.Module | None) -> fx.Node:
    """Attention's default scale, written down: that of the original width."""
    site.node.kwargs = {**site.node.kwargs, "scale": site.old_in[-1] ** -0.5}
    return site.node


def extreme(site: Site, layer: nn.Module | None) -> fx.Node:
    """The largest (or smallest) of what is left and of the zeros that went."""
    name = {"amax": "clamp_min", "amin": "clamp_max"}[
        str(getattr(site.node.target, "__name__", site.node.target)).partition(".")[0]
    ]
    with site.node.graph.inserting_after(site.node):
        return site.node.graph.call_method(name, (site.node, 0))


def var(site: Site, layer: nn.Module | None) -> fx.Node:
    """Variance, unbiased unless it says otherwise."""
    node = site.node
    dims = _reduced(site)
    missing = prod(site.old_in[d] for d in dims) - prod(site.new_in[d] for d in dims)
    correction = _argument(node, 9, "correction", 1)
    unbiased = _argument(node, 2, "unbiased", None)
    if unbiased is not None:
        correction = int(bool(unbiased))
    keep = _argument(node, 3, "keepdim", False)
    return _instead(node, helpers.var_counted, node.args[0], dims, bool(keep), correction, missing)


def softmax(site: Site, layer: nn.Module | None) -> fx.Node:
    """The zeros that went are still in the denominator."""
    node = site.node
    stated = layer.dim if isinstance(layer, nn.Softmax) else _argument(node, 1, "dim", -1)
    dim = -3 if isinstance(layer, nn.Softmax2d) else stated
    dim = site.now(dim) % len(site.old_in)
    return _instead(node, helpers.softmax_counted, node.args[0], dim, site.old_in[dim] - site.new_in[dim])


def layer_norm(site: Site, layer: nn.Module | None) -> fx.Node:
    """Statistics over the original number of channels."""
    node = site.node
    if isinstance(layer, nn.LayerNorm):
        weight, bias, eps = _parameters(node, layer)
    else:
        weight, bias = _argument(node, 2, "weight", None), _argument(node, 3, "bias", None)
        eps = _argument(node, 4, "eps", 1e-5)
    return _instead(node, helpers.layer_norm_counted, node.args[0], weight, bias, eps, site.old_in[-1])


def group_norm(site: Site, layer: nn.Module | None) -> fx.Node:
    """Statistics over the original number of channels of each group."""
    node = site.node
    if isinstance(layer, nn.GroupNorm):
        weight, bias, eps = _parameters(node, layer)
        groups = layer.num_groups
    else:
        weight, bias = _argument(node, 2, "weight", None), _argument(node, 3, "bias", None)
        eps, groups = _argument(node, 4, "eps", 1e-5), site.now(_argument(node, 1, "num_groups", 1))
    count = site.old_in[1] // groups
    groups = site.new_in[1] // count if groups > count else groups  # whole groups went, or the same of each
    return _instead(node, helpers.group_norm_counted, node.args[0], groups, weight, bias, eps, count)


def rms_norm(site: Site, layer: nn.Module | None) -> fx.Node:
    """The mean square is over the original number of channels."""
    node = site.node
    if layer is not None:
        weight, _, eps = _parameters(node, layer)
    else:
        weight, eps = _argument(node, 2, "weight", None), _argument(node, 3, "eps", None)
    return _instead(node, helpers.rms_norm_counted, node.args[0], weight, eps, site.old_in[-1])


def extreme_with_indices(site: Site, layer: nn.Module | None) -> fx.Node:
    """`max(dim)`: the values take the zeros that went into account; where they stood, nobody may ask."""
    node = site.node
    if site.asks(1):
        raise ValueError("its indices are used")
    name = str(getattr(node.target, "__name__", node.target))
    function = {"max": helpers.max_counted, "min": helpers.min_counted}[name]
    dim = site.now(_argument(node, 1, "dim", -1))
    return _instead(node, function, node.args[0], dim, bool(_argument(node, 2, "keepdim", False)))


def _parameters(node: fx.Node, layer: Any) -> tuple[fx.Node | None, fx.Node | None, float]:
    with node.graph.inserting_before(node):
        found = [
            None if tensor is None else node.graph.get_attr(f"{node.target}.{name}")
            for name, tensor in (("weight", layer.weight), ("bias", getattr(layer, "bias", None)))
        ]
    return found[0], found[1], layer.eps


def _instead(node: fx.Node, function: Callable[..., Any], *args: Any) -> fx.Node:
    node.op, node.target, node.args, node.kwargs = "call_function", function, args, {}
    return node


MENDS: dict[tuple[str, str], Mend] = {
    ("mean", "mean of alike"): mean_of_alike,
    ("sum", "sum of alike"): sum_of_alike,
    ("scaled_dot_product_attention", "scale"): scale,
    ("mean", "mean"): mean,
    ("amax", "max"): extreme,
    ("amin", "min"): extreme,
    ("var", "var"): var,
    ("softmax", "softmax"): softmax,
    ("Softmax", "softmax"): softmax,
    ("Softmax2d", "softmax"): softmax,
    ("max", "max with indices"): extreme_with_indices,
    ("min", "min with indices"): extreme_with_indices,
    ("RMSNorm", "mean"): rms_norm,
    ("rms_norm", "mean"): rms_norm,
    ("layer_norm", "layer_norm"): layer_norm,
    ("LayerNorm", "layer_norm"): layer_norm,
    ("group_norm", "group_norm"): group_norm,
    ("GroupNorm", "group_norm"): group_norm,
}
