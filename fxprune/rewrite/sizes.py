"""Integer arguments that state a size, a position or a range → what they must be once channels are gone.

Law: an argument that already comes out right is left alone, so what was free (height, width, batch) stays free.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

__all__ = ["RESIZE", "Site"]

Lives = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One fx node that is being copied into the compact graph."""

    node: fx.Node  # the new node; its arguments are changed in place
    old_in: tuple[int, ...]  # shape of the first tensor argument, before
    new_in: tuple[int, ...]  # and after
    lives_in: tuple[Lives | None, ...]  # along each of its dimensions, who lives; None: everybody
    new_out: tuple[tuple[int, ...], ...]  # shape of each output after
    now: Callable[[Any], Any]  # an argument's value in the compact network; for a tensor, its shape
    ghost: Callable[[int], fx.Node]  # dimension from the last → a removed coordinate of the first tensor argument


def _flat_sizes(args: Sequence[Any]) -> tuple[Any, ...]:
    """Sizes given as `view(a, b)` or `view((a, b))`."""
    if len(args) == 1 and isinstance(args[0], (list, tuple)):
        return tuple(args[0])
    return tuple(args)


def _stated(site: Site, sizes: Sequence[Any], wanted: Sequence[int]) -> tuple[Any, ...]:
    fixed = []
    for stated, want in zip(sizes, wanted, strict=True):
        value = site.now(stated)
        fixed.append(stated if value == -1 or value == want else want)
    return tuple(fixed)


def shape(site: Site) -> None:
    """`view`, `reshape`, `expand`: the sizes of the output."""
    node = site.node
    whole = node.args[1:] or (node.kwargs.get("size", node.kwargs.get("shape")),)
    sizes = _flat_sizes(whole)
    if len(sizes) == 1 and isinstance(site.now(sizes[0]), tuple):  # view(x.shape): a whole size at once
        wanted = _stated(site, site.now(sizes[0]), site.new_out[0])
        fixed: tuple[Any, ...] = sizes if wanted == tuple(site.now(sizes[0])) else wanted
    else:
        fixed = _stated(site, sizes, site.new_out[0])
    node.args = (node.args[0], fixed) if fixed is not sizes else node.args
    node.kwargs = (
        {k: v for k, v in node.kwargs.items() if k not in ("size", "shape")} if fixed is not sizes else node.kwargs
    )


def unflatten(site: Site) -> None:
    """`unflatten(dim, sizes)`: the sizes that one dimension becomes."""
    dim = site.now(site.node.args[1]) % len(site.old_in)
    sizes = tuple(site.node.args[2])  # type: ignore[arg-type]
    site.node.args = (*site.node.args[:2], _stated(site, sizes, site.new_out[0][dim : dim + len(sizes)]))


def split(site: Site) -> None:
    """`split`, `chunk`, `tensor_split`: written as a split into the sizes that are left, unless it comes out right."""
    node = site.node
    dim = site.now(node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else 0)) % len(site.old_in)
    total, sizes = site.new_in[dim], [out[dim] for out in site.new_out]
    name = node.target if node.op == "call_method" else node.target.__name__  # type: ignore[union-attr]
    given = (
        node.args[1]
        if len(node.args) > 1
        else next(
            node.kwargs[k] for k in ("split_size_or_sections", "split_size", "chunks", "sections") if k in node.kwargs
        )
    )
    value = site.now(given)
    if name == "chunk":
        step = -(-total // value)
        natural = [min(step, total - at) for at in range(0, total, step)] if step else []
    elif isinstance(value, int) and name in ("split", "unsafe_split"):
        natural = [min(value, total - at) for at in range(0, total, value)]
    else:
        natural = list(value) if isinstance(value, (list, tuple)) else []
    if natural == sizes:
        return
    node.op, node.target = "call_method", "split"
    node.args, node.kwargs = (node.args[0], sizes), {"dim": dim}


def narrow(site: Site) -> None:
    """`narrow(dim, start, length)`."""
    node = site.node
    dim, start, length = (site.now(a) for a in node.args[1:4])
    lives = site.lives_in[dim]
    if lives is None:
        return
    start = start % len(lives)
    node.args = (node.args[0], dim, int(lives[:start].sum()), int(lives[start : start + length].sum()))


def select(site: Site) -> None:
    """`select(dim, index)`: where the chosen channel stands now."""
    node = site.node
    dim, index = (site.now(a) for a in node.args[1:3])
    lives = site.lives_in[dim]
    if lives is not None:
        node.args = (node.args[0], dim, int(lives[: index % len(lives)].sum()))


def getitem(site: Site) -> None:
    """`x[:, a:b]`, `x[:, 3]`, read or written: the same channels at their new places.

    A list of places stands where a range won't do.
    """
    node = site.node
    index = node.args[1]
    items = list(index) if isinstance(index, tuple) else [index]
    spent = sum(item is not None and item is not Ellipsis for item in items)
    dim = 0
    for k, item in enumerate(items):
        if item is Ellipsis:
            dim = len(site.old_in) - (spent - sum(i is not None for i in items[:k]))
            continue
        if item is None:
            continue
        lives = site.lives_in[dim]
        if lives is not None:
            items[k] = _index(site, item, lives)
        dim += 1
    node.args = (node.args[0], tuple(items) if isinstance(index, tuple) else items[0], *node.args[2:])


def _index(site: Site, item: Any, lives: Lives) -> Any:
    if isinstance(item, slice):
        old = range(*slice(*(site.now(bound) for bound in (item.start, item.stop, item.step))).indices(len(lives)))
        new = [int(lives[:position].sum()) for position in old if lives[position]]
        if len(old) == len(lives):
            return item
        step = new[1] - new[0] if len(new) > 1 else 1
        if step > 0 and new == list(range(new[0], new[-1] + 1, step)):
            return slice(new[0], new[-1] + 1, None if step == 1 else step)
        return new
    value = site.now(item)
    return int(lives[: value % len(lives)].sum()) if isinstance(value, int) else item


def groups(site: Site) -> None:
    """Functional convolution: `groups` follows when whole groups went."""
    node = site.node
    transposed = "transpose" in getattr(node.target, "__name__", "")
    at = 6  # its position in the signature of every one of them
    given = node.kwargs.get("groups", node.args[at] if len(node.args) > at else 1)
    weight = site.now(node.args[1] if len(node.args) > 1 else node.kwargs["weight"])
    channel = len(site.new_in) - len(weight) + 1
    now = (site.new_out[0] if transposed else site.new_in)[channel] // weight[1]
    if now != site.now(given):
        if len(node.args) > at:
            node.args = (*node.args[:at], now, *node.args[at + 1 :])
        else:
            node.kwargs = {**node.kwargs, "groups": now}


def layer_norm(site: Site) -> None:
    """Functional layer norm over the last dimension: its size."""
    node = site.node
    given = node.args[1] if len(node.args) > 1 else node.kwargs["normalized_shape"]
    if tuple(site.now(given)) != site.new_in[-len(site.now(given)) :]:
        node.args = (node.args[0], (site.new_in[-1],), *node.args[2:])
        node.kwargs = {k: v for k, v in node.kwargs.items() if k != "normalized_shape"}


def roll(site: Site) -> None:
    """`roll(shifts, dims)`: survivors of the tail that comes to the front."""
    node = site.node
    shifts = node.args[1] if len(node.args) > 1 else node.kwargs["shifts"]
    dims = node.args[2] if len(node.args) > 2 else node.kwargs["dims"]
    pairs = list(zip(*((v,) if not isinstance(v, (list, tuple)) else tuple(v) for v in (shifts, dims)), strict=True))
    moved = []
    for shift, dim in pairs:
        lives = site.lives_in[site.now(dim)]
        tail = None if lives is None else site.now(shift) % len(lives)
        moved.append(shift if tail is None or lives is None else int(lives[len(lives) - tail :].sum()))
    node.args, node.kwargs = (node.args[0], tuple(moved), tuple(dim for _, dim in pairs)), {}


def slice_(site: Site) -> None:
    """ATen's `slice(dim, start, end, step)`."""
    node = site.node
    defaults = (0, None, None, 1)
    dim, start, end, step = (site.now(a) for a in (*node.args[1:], *defaults[len(node.args) - 1 :]))
    lives = site.lives_in[dim]
    if lives is None:
        return
    new = _index(site, slice(start, end, step), lives)
    if isinstance(new, slice):
        node.args = (node.args[0], dim, new.start, new.stop, new.step or 1)
    else:
        node.target, node.op = operator.getitem, "call_function"
        node.args = (node.args[0], (*(slice(None) for _ in range(dim % len(site.old_in))), new))


RESIZE: dict[str, Callable[[Site], None]] = {
    "view": shape,
    "reshape": shape,
    "expand": shape,
    "broadcast_to": shape,
    "unflatten": unflatten,
    "split": split,
    "chunk": split,
    "unsafe_chunk": split,
    "unsafe_split": split,
    "split_with_sizes": split,
    "tensor_split": split,
    "narrow": narrow,
    "select": select,
    "getitem": getitem,
    "roll": roll,
    "slice": slice_,
    "setitem": getitem,
    "layer_norm": layer_norm,
    "conv1d": groups,
    "conv2d": groups,
    "conv3d": groups,
    "conv_transpose1d": groups,
    "conv_transpose2d": groups,
    "conv_transpose3d": groups,
}
