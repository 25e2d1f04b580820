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

__all__ = ["RESIZE", "Site", "constant"]

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
    was: Callable[[Any], Any]  # an argument's value in the original network
    floats: Callable[[Any], bool]  # does an argument follow the batch, height or width of the input?
    asks: Callable[[int], bool]  # is this part of the node's result used?
    ghost: Callable[[int], fx.Node]  # dimension from the last → a removed coordinate of the first tensor argument


def _argument(node: fx.Node, position: int, *names: str, default: Any = None) -> Any:
    """An argument by position or by one of its names."""
    if len(node.args) > position:
        return node.args[position]
    return next((node.kwargs[name] for name in names if name in node.kwargs), default)


def _put(node: fx.Node, *args: Any, drop: Sequence[str] = ()) -> None:
    """New arguments, all by position; keyword arguments in `drop` go."""
    node.args = args
    node.kwargs = {name: value for name, value in node.kwargs.items() if name not in drop}


def _stated(site: Site, sizes: Sequence[Any], wanted: Sequence[int], infer: bool) -> tuple[Any, ...]:
    """Sizes that come out as wanted: those that do already stay; torch infers one that also follows the image."""
    values = [site.now(size) for size in sizes]
    wrong = [k for k, (value, want) in enumerate(zip(values, wanted, strict=True)) if value not in (-1, want)]
    free = [k for k in wrong if site.floats(sizes[k])]
    if len(free) > 1 or (free and (not infer or -1 in values)):
        raise ValueError("several of its sizes follow the image and the width at once")
    return tuple((-1 if k in free else wanted[k]) if k in wrong else size for k, size in enumerate(sizes))


def _whole(site: Site, size: fx.Node, wanted: Sequence[int]) -> Any:
    """A whole size at once (`x.shape`): left alone if it comes out as wanted, else spelled out where it does."""
    values = tuple(site.now(size))
    if values == tuple(wanted):
        return size
    with size.graph.inserting_before(site.node):
        return tuple(
            size.graph.call_function(operator.getitem, (size, k)) if value == want else want
            for k, (value, want) in enumerate(zip(values, wanted, strict=True))
        )


def _sizes(site: Site, first: int, infer: bool) -> None:
    """The sizes from argument `first` on: `view(a, b)`, `view((a, b))`, `view(x.shape)`, `size=…`."""
    node, wanted = site.node, site.new_out[0]
    given: tuple[Any, ...] = node.args[first:] or (_argument(node, first, "size", "shape"),)
    if isinstance(given[0], (list, tuple)):
        fixed: Any = (_stated(site, tuple(given[0]), wanted, infer), *given[1:])
    elif isinstance(given[0], fx.Node) and not isinstance(site.now(given[0]), int):
        fixed = (_whole(site, given[0], wanted), *given[1:])
    else:
        fixed = _stated(site, given, wanted, infer)
    if fixed != given:
        _put(node, *node.args[:first], *fixed, drop=("size", "shape"))


def shape(site: Site) -> None:
    """`view`, `reshape`, `expand`: the sizes of the output, one by one or all at once."""
    name = _name(site.node)
    _sizes(site, 1, infer="expand" not in name and "broadcast" not in name)


def repeat(site: Site) -> None:
    """`repeat(1, 8, 1, 1)`: how often, where a single coordinate is copied as often as there are channels."""
    node = site.node
    given: tuple[Any, ...] = node.args[1:] or (_argument(node, 1, "repeats", "sizes"),)
    times = tuple(given[0]) if isinstance(given[0], (list, tuple)) else given
    sizes = (1,) * (len(times) - len(site.new_in)) + site.new_in
    fixed = _stated(site, times, [out // size for out, size in zip(site.new_out[0], sizes, strict=True)], infer=False)
    if fixed != times:
        _put(node, node.args[0], fixed, drop=("repeats", "sizes"))


def constant(site: Site) -> None:
    """`torch.zeros(a, b)`, `x.new_full((a, b), v)`: the sizes of a constant tensor."""
    _sizes(site, 1 if "new_" in _name(site.node) else 0, infer=False)


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0]


def unflatten(site: Site) -> None:
    """`unflatten(dim, sizes)`: the sizes that one dimension becomes."""
    node = site.node
    dim = _argument(node, 1, "dim")
    sizes = _argument(node, 2, "sizes", "unflattened_size")
    sizes = tuple(sizes) if isinstance(sizes, (list, tuple)) else tuple(site.now(sizes))
    at = site.now(dim) % len(site.old_in)
    fixed = _stated(site, sizes, site.new_out[0][at : at + len(sizes)], infer=True)
    if fixed != sizes:
        _put(node, node.args[0], dim, fixed, drop=("dim", "sizes", "unflattened_size"))


def split(site: Site) -> None:
    """`split`, `chunk`, `tensor_split`: written as a split into the sizes that are left, unless it comes out right."""
    node = site.node
    dim = site.now(_argument(node, 2, "dim", default=0)) % len(site.old_in)
    total, sizes = site.new_in[dim], [out[dim] for out in site.new_out]
    value = site.now(_argument(node, 1, "split_size_or_sections", "split_size", "chunks", "sections"))
    if "chunk" in _name(node):
        step = -(-total // value)
        natural = [min(step, total - at) for at in range(0, total, step)] if step else []
    elif isinstance(value, int) and "tensor_split" not in _name(node):
        natural = [min(value, total - at) for at in range(0, total, value)]
    else:
        natural = list(value) if isinstance(value, (list, tuple)) else []
    if natural != sizes:
        node.op, node.target = "call_method", "split"
        node.args, node.kwargs = (node.args[0], sizes), {"dim": dim}


def narrow(site: Site) -> None:
    """`narrow(dim, start, length)`."""
    node = site.node
    dim, start, length = (site.was(_argument(node, k + 1, name)) for k, name in enumerate(("dim", "start", "length")))
    lives = site.lives_in[dim]
    if lives is not None:
        start = start % len(lives)
        cut = int(lives[:start].sum()), int(lives[start : start + length].sum())
        _put(node, node.args[0], dim, *cut, drop=("dim", "start", "length"))


def select(site: Site) -> None:
    """`select(dim, index)`: where the chosen channel stands now."""
    node = site.node
    dim, index = (site.was(_argument(node, k + 1, name)) for k, name in enumerate(("dim", "index")))
    lives = site.lives_in[dim]
    if lives is not None:
        _put(node, node.args[0], dim, int(lives[: index % len(lives)].sum()), drop=("dim", "index"))


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
        old = range(*slice(*(site.was(bound) for bound in (item.start, item.stop, item.step))).indices(len(lives)))
        new = [int(lives[:position].sum()) for position in old if lives[position]]
        if len(old) == len(lives):
            return item
        step = new[1] - new[0] if len(new) > 1 else 1
        if step > 0 and new == list(range(new[0], new[-1] + 1, step)):
            return slice(new[0], new[-1] + 1, None if step == 1 else step)
        return new
    value = site.was(item)
    return int(lives[: value % len(lives)].sum()) if isinstance(value, int) else item


def groups(site: Site) -> None:
    """Functional convolution: `groups` follows when whole groups went."""
    node = site.node
    transposed = "transpose" in getattr(node.target, "__name__", "")
    at = 6  # its position in the signature of every one of them
    given = _argument(node, at, "groups", default=1)
    weight = site.now(_argument(node, 1, "weight"))
    channel = len(site.new_in) - len(weight) + 1
    now = (site.new_out[0] if transposed else site.new_in)[channel] // weight[1]
    if now != site.now(given):
        if len(node.args) > at:
            node.args = (*node.args[:at], now, *node.args[at + 1 :])
        else:
            node.kwargs = {**node.kwargs, "groups": now}


def group_norm(site: Site) -> None:
    """Functional group norm: `num_groups` follows when whole groups went."""
    node = site.node
    groups = site.now(_argument(node, 1, "num_groups"))
    size = site.old_in[1] // groups
    if groups > size and site.new_in[1] != site.old_in[1]:
        rest = node.args[2:]
        _put(node, node.args[0], site.new_in[1] // size, *rest, drop=("num_groups",))


def layer_norm(site: Site) -> None:
    """Functional layer norm over the last dimension: its size."""
    node = site.node
    given = site.now(_argument(node, 1, "normalized_shape"))
    if tuple(given) != site.new_in[-len(given) :]:
        _put(node, node.args[0], site.new_in[-len(given) :], *node.args[2:], drop=("normalized_shape",))


def roll(site: Site) -> None:
    """`roll(shifts, dims)`: survivors of the tail that comes to the front."""
    node = site.node
    shifts, dims = _argument(node, 1, "shifts"), _argument(node, 2, "dims")
    pairs = list(zip(*((v,) if not isinstance(v, (list, tuple)) else tuple(v) for v in (shifts, dims)), strict=True))
    moved = []
    for shift, dim in pairs:
        lives = site.lives_in[site.now(dim)]
        tail = None if lives is None else site.was(shift) % len(lives)
        moved.append(shift if tail is None or lives is None else int(lives[len(lives) - tail :].sum()))
    node.args, node.kwargs = (node.args[0], tuple(moved), tuple(dim for _, dim in pairs)), {}


def slice_(site: Site) -> None:
    """ATen's `slice(dim, start, end, step)`."""
    node = site.node
    defaults = (0, None, None, 1)
    dim, start, end, step = (site.was(a) for a in (*node.args[1:], *defaults[len(node.args) - 1 :]))
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
    "_unsafe_view": shape,
    "reshape": shape,
    "expand": shape,
    "broadcast_to": shape,
    **dict.fromkeys(("empty", "full", "new_empty", "new_full", "new_ones", "new_zeros", "ones", "zeros"), constant),
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
    "repeat": repeat,
    "roll": roll,
    "slice": slice_,
    "setitem": getitem,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "conv1d": groups,
    "conv2d": groups,
    "conv3d": groups,
    "conv_transpose1d": groups,
    "conv_transpose2d": groups,
    "conv_transpose3d": groups,
}
