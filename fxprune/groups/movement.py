"""Data movement, read off: run the very op on integer positions and see where each coordinate went.

Laws:
- An op of this kind copies numbers, it never mixes them; so positions can stand for any numbers.
- Where one input dimension lands on several output dimensions (channels split into heads × head_dim), the result stays
  rectangular only if one of them stays prunable and coordinates are tied along the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["Landing", "Prefer", "Route", "routes"]

Positions = NDArray[np.int64]
Prefer = Literal["most", "heads", "head_dim", "first", "last"]


@dataclass(frozen=True, slots=True, eq=False)
class Landing:
    """Where one input dimension went in one output."""

    source: int  # the input dimension
    axes: tuple[int, ...]  # the output dimensions it varies along; empty: a single coordinate was selected
    positions: Positions  # source position over those axes; -1 where a constant was written


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where the input dimensions that are followed went in one output."""

    rank: int
    landings: tuple[Landing, ...]

    def keeper(self, landing: Landing, prefer: Prefer = "most") -> int | None:
        """Of several axes, the one to keep prunable; None if all are shared.

        Most units left, then the first; or, where the spec says so for channels split into heads × head_dim, the
        second last ("heads") or the last ("head_dim") of the free ones. "first" and "last" are the first and the last
        of all free ones.

        An axis on which another input dimension lands too cannot lose coordinates on behalf of this one.
        """
        taken = {axis for other in self.landings if other is not landing for axis in other.axes}
        free = [k for k, axis in enumerate(landing.axes) if axis not in taken]
        if not free:
            return None
        if prefer in ("first", "last"):
            return free[0] if prefer == "first" else free[-1]
        if prefer != "most" and len(free) > 1 and landing.positions.shape[free[-2]] > 3:  # not (3, channels) of q, k, v
            return free[-2] if prefer == "heads" else free[-1]
        return max(free, key=lambda k: (_units(landing.positions, k), -k))


def _units(positions: Positions, keep: int) -> int:
    """How many units are left when everything is tied along all axes but `keep`."""
    rows = np.moveaxis(positions, keep, 0).reshape(positions.shape[keep], -1)
    row = np.repeat(np.arange(rows.shape[0]), rows.shape[1])
    col = rows.ravel() + 1
    size = rows.shape[0] + int(col.max()) + 1
    graph = coo_matrix((np.ones(row.size, np.int8), (row, col + rows.shape[0])), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return len(np.unique(component[: rows.shape[0]]))


def routes(
    run: Callable[[torch.Tensor], Sequence[torch.Tensor]], shape: tuple[int, ...], wanted: Collection[int]
) -> tuple[Route, ...]:
    """One route per output of `run`, found by running it on positions.

    Args:
        run: the op with everything but the moved tensor filled in; returns its outputs.
        shape: shape of the moved tensor.
        wanted: the dimensions to follow; the others only if one of these is spread over several.
    """
    found = _routes(run, shape, wanted)
    spread = any(len(landing.axes) > 1 for route in found for landing in route.landings)
    return _routes(run, shape, range(len(shape))) if spread else found


def _routes(
    run: Callable[[torch.Tensor], Sequence[torch.Tensor]], shape: tuple[int, ...], wanted: Collection[int]
) -> tuple[Route, ...]:
    found: list[list[Landing]] = []
    ranks: list[int] = []
    for dim, size in enumerate(shape):
        if size <= 1 or dim not in wanted:
            continue
        outputs = _moved(run, torch.arange(1, size + 1, dtype=torch.float64), dim, shape)
        if not found:
            found = [[] for _ in outputs]
            ranks = [out.ndim for out in outputs]
        for landings, out in zip(found, outputs, strict=True):
            landings.append(_land(dim, out))
    if not found:
        outputs = _moved(run, torch.zeros(1, dtype=torch.float64), 0, shape)
        found, ranks = [[] for _ in outputs], [out.ndim for out in outputs]
    return tuple(Route(rank, tuple(landings)) for rank, landings in zip(ranks, found, strict=True))


def _moved(
    run: Callable[[torch.Tensor], Sequence[torch.Tensor]], line: torch.Tensor, dim: int, shape: tuple[int, ...]
) -> list[Positions]:
    """Where the positions along one dimension went. Dimensions along which nothing varies come out with size 1.

    Positions are counted from 1 and carried as float64: exact, and zero is left for constants. The field of them is
    held as its one line, repeated in all other dimensions with stride 0; most moves keep it so.
    """
    view = [1] * len(shape)
    if shape:
        view[dim] = len(line)
    field = line.reshape(view).expand(shape)
    try:
        outputs = run(field)
    except RuntimeError:  # a view that needs the whole field in memory
        outputs = run(field.contiguous())
    lines = [out[tuple(slice(0, 1) if step == 0 else slice(None) for step in out.stride())] for out in outputs]
    return [out.numpy().astype(np.int64) - 1 for out in lines]


def _land(dim: int, out: Positions) -> Landing:
    if out.size == 0:
        return Landing(dim, (), np.asarray(-1))
    axes = tuple(axis for axis in range(out.ndim) if out.shape[axis] > 1 and _varies(out, axis))
    rest = tuple(axis for axis in range(out.ndim) if axis not in axes)
    # constants (-1) hide nothing: the largest along the other axes is the position itself
    return Landing(dim, axes, np.asarray(out.max(axis=rest) if rest else out))


def _varies(out: Positions, axis: int) -> bool:
    """Does the position depend on this axis, constants aside?"""
    high = out.max(axis=axis, keepdims=True)
    low = np.where(out < 0, high, out).min(axis=axis, keepdims=True)
    return bool((low != high).any())
