"""The rule table: ATen op → what it ties. What is not listed is refused: it protects what it touches.

Products read like einsum (`products`); norms and reductions keep count of what went (`statistics`); joins, padding and
indexing arrange (`shapes`); elementwise ops are recognised by their tag; data movement is read off by running the op
(`movement`).
"""

from __future__ import annotations

from typing import Any

import torch

from fxprune.groups import shapes, statistics
from fxprune.groups.labels import Labels
from fxprune.groups.moves import move
from fxprune.groups.op import Op
from fxprune.groups.products import CONTRACTIONS, contraction
from fxprune.groups.registry import RULES, Rule, bare, rule

__all__ = [
    "CONTRACTIONS",
    "ELEMENTWISE",
    "MOVES",
    "RULES",
    "SAME",
    "Rule",
    "bare",
    "find",
    "rule",
    "shapes",
    "statistics",
]

# ops that copy numbers without mixing them; the first tensor is moved
MOVES = frozenset(
    [
        *("_reshape_alias", "_reshape_copy", "_unsafe_view", "expand", "expand_copy", "squeeze", "unsqueeze", "view"),
        *("flip", "permute", "roll", "rot90", "t", "transpose"),
        *("select", "slice", "split", "split_with_sizes", "unbind"),
        *("pixel_shuffle", "pixel_unshuffle", "repeat", "unfold"),
        *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
        *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
        *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
        *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    ]
)

# ops that give back what they got, number by number, in the same places
SAME = frozenset(["_to_copy", "alias", "clone", "detach", "lift_fresh", "lift_fresh_copy"])

# elementwise ops that do not carry the tag
ELEMENTWISE = frozenset(["complex", "hardswish", "hardswish_", "imag", "polar", "real", "rsub", "special_xlogy"])


def find(func: Any) -> Rule:
    """The rule for an overload. Law: what is not in a table and not elementwise is refused.

    An op in place (`cumsum_`) has the rule of the one that gives something new, unless it has one of its own. An op of
    another library has none of ours, whatever it is called.
    """
    name = func.overloadpacket.__name__
    if func.namespace != "aten":
        foreign = RULES.get(f"{func.namespace}.{name}", RULES.get(name, unknown))
        if not foreign.__module__.startswith(f"{__package__}."):
            return foreign
        return pointwise if torch.Tag.pointwise in func.tags else unknown
    for known in (name, name.removesuffix("_")):
        found = RULES.get(known)
        if found is not None:
            return found
        if known in CONTRACTIONS:
            return contraction
        if known in SAME:
            return same
        if known in MOVES:
            return move
    if torch.Tag.pointwise in func.tags or name in ELEMENTWISE:
        return pointwise
    return unknown


def pointwise(op: Op) -> list[Labels]:
    """Elementwise: broadcast dimensions are aligned from the right and tied."""
    return [op.broadcast(op.tensors(), op.keeps_zero)]


@rule("_prelu_kernel")
def prelu(op: Op) -> list[Labels]:
    """Elementwise, with a slope for each channel; zero stays zero whatever the slope."""
    return [op.broadcast([op.args["self"], op.args["weight"]], lambda flags: flags[0])]


def same(op: Op) -> list[Labels]:
    """The labels of the input."""
    return [op.lookup(op.tensors()[0])]


def unknown(op: Op) -> list[Labels]:
    """An op without a rule protects what it touches, and says so."""
    for tensor in op.tensors():
        op.fix_all(op.lookup(tensor), f"no rule for `{op.func}`")
    return [bare(out) for out in op.outputs]
