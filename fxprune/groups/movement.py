"""Data movement, read off: run the very op on integer positions and see where each coordinate went.

Laws:
- An op of this kind copies numbers, it never mixes them; so positions can stand for any numbers.
- Where one input dimension lands on several output dimensions (channels split into heads × head_dim), the result stays
  rectangular only if one of them stays prunable and coordinates are tied along the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["Landing", "Prefer", "Route", "Spread", "routes"]

Positions = NDArray[np.int64]
Prefer = Literal["most", "heads", "few heads", "head_dim", "first", "last"]


@dataclass(frozen=True, slots=True, eq=False)
class Landing:
    """Where one input dimension went in one output."""

    source: int  # the input dimension
    axes: tuple[int, ...]  # the output dimensions it varies along; empty: a single coordinate was selected
    positions: Positions  # source position over those axes; -1 where a constant was written


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What becomes of a dimension that landed on several: one stays prunable, along the others it is tied."""

    axis: int  # the output dimension that stays prunable
    lead: Positions  # a source position for each of its coordinates; -1 where all are constants
    a: Positions  # source positions tied pairwise, each pair once, none with itself
    b: Positions


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where the input dimensions that are followed went in one output."""

    rank: int
    landings: tuple[Landing, ...]
    known: dict[tuple[int, Prefer], Spread | None] = field(default_factory=dict, repr=False)  # what `spread` found

    def spread(self, landing: Landing, prefer: Prefer) -> Spread | None:
        """What becomes of a dimension that landed on several; None if each of these is shared with another."""
        key = landing.source, prefer
        if key not in self.known:
            keep = self.keeper(landing, prefer)
            self.known[key] = None if keep is None else _spread(landing, keep)
        return self.known[key]

    def keeper(self, landing: Landing, prefer: Prefer = "most") -> int | None:
        """Of several axes, the one to keep prunable; None if all are shared.

        Most units left, then the first; or, where the spec says so for channels split into heads × head_dim, the
        second last ("heads") or the last ("head_dim") of the free ones. An axis of at most three may be that of q, k
        and v, or of k and v; "few heads" takes it for heads all the same. "first" and "last" are the first and the last
        of all free ones.

        An axis on which another input dimension lands too cannot lose coordinates on behalf of this one.
        """
        taken = {axis for other in self.landings if other is not landing for axis in other.axes}
        free = [k for k, axis in enumerate(landing.axes) if axis not in taken]
        if not free:
            return None
        if prefer in ("first", "last"):
            return free[0] if prefer == "first" else free[-1]
        few = 1 if prefer == "few heads" else 3
        if prefer != "most" and len(free) > 1 and landing.positions.shape[free[-2]] > few:
            return free[-1] if prefer == "head_dim" else free[-2]
        if _distinct(landing.positions):  # each coordinate is tied along the others, none to another
            return max(free, key=lambda k: (landing.positions.shape[k], -k))
        return max(free, key=lambda k: (_units(landing.positions, k), -k))


def _spread(landing: Landing, keep: int) -> Spread:
    lead = np.moveaxis(landing.positions, keep, 0).reshape(landing.positions.shape[keep], -1).max(axis=1)
    row, position = _pairs(landing.positions, keep)
    apart = (position >= 0) & (position != lead[row])
    return Spread(landing.axes[keep], lead, lead[row[apart]], position[apart])


def _distinct(positions: Positions) -> bool:
    """Is every position of the source found once at most, and no constant?"""
    if positions.size == 0 or positions.min() < 0:
        return False
    met = np.zeros(int(positions.max()) + 1, bool)
    met[positions] = True
    return int(met.sum()) == positions.size


def _units(positions: Positions, keep: int) -> int:
    """How many units are left when everything is tied along all axes but `keep`."""
    row, position = _pairs(positions, keep)
    count = positions.shape[keep]
    size = count + int(position.max()) + 2
    graph = coo_matrix((np.ones(row.size, np.int8), (row, position + 1 + count)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return len(np.unique(component[:count]))


def _pairs(positions: Positions, keep: int) -> tuple[Positions, Positions]:
    """(coordinate along axis `keep`, source position) wherever the two meet, each pair once, in order."""
    count, size = positions.shape[keep], int(positions.max()) + 2
    rows = np.moveaxis(positions, keep, 0).reshape(count, -1) + 1
    if count * size <= 4 * positions.size + SMALL:
        table = np.zeros((count, size), bool)
        table[np.arange(count)[:, None], rows] = True
        row, column = np.nonzero(table)
        return row, column - 1
    both = (np.arange(count)[:, None] * size + rows).ravel()
    both.sort()
    both = both[np.diff(both, prepend=-1) != 0]
    return both // size, both % size - 1


SMALL = 1_000_000  # bytes of a table that are no matter


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
        dtype = torch.float32 if size < 1 << 24 else torch.float64
        outputs = _moved(run, torch.arange(1, size + 1, dtype=dtype), dim, shape)
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

    Positions are counted from 1 and carried as floats that hold them exactly; zero is left for constants. The field of
    them is held as its one line, repeated in all other dimensions with stride 0; most moves keep it so.
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
    found = [_narrow(out).numpy().astype(np.int64) for out in lines]
    for positions in found:
        positions -= 1
    return found


def _narrow(out: torch.Tensor) -> torch.Tensor:
    """The same without dimensions along which nothing varies, the longest first."""
    for axis in sorted(range(out.dim()), key=lambda axis: -out.shape[axis]):
        if out.shape[axis] > 1:
            first, last = out.narrow(axis, 0, 1), out.narrow(axis, out.shape[axis] - 1, 1)
            if torch.equal(first, last) and bool((out == first).all()):
                out = first
    return out


def _land(dim: int, out: Positions) -> Landing:
    if out.size == 0:
        return Landing(dim, (), np.asarray(-1))
    constants = bool(out.min() < 0)  # or what does not vary has been narrowed
    axes = tuple(k for k in range(out.ndim) if out.shape[k] > 1 and not (constants and _alike(out, k)))
    rest = tuple(axis for axis in range(out.ndim) if axis not in axes)
    # constants (-1) hide nothing: the largest along the other axes is the position itself
    return Landing(dim, axes, np.asarray(out.max(axis=rest) if rest else out))


def _alike(out: Positions, axis: int) -> bool:
    """Is the position the same all along this axis, constants aside?"""
    high = out.max(axis=axis, keepdims=True)
    return bool(((out < 0) | (out == high)).all())
