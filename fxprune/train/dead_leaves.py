"""A seed → pictures of overlapping leaves, with the statistics of natural images; the data that needs no download.

The dead leaves model (Lee, Mumford & Huang, "Occlusion models for natural images", 2001): shapes fall on a plane, each
hiding what lies below; with radii distributed as r⁻³ the result looks the same at every scale and its power
spectrum falls as 1/f², as a photograph's does. Here the leaves are ellipses and polygons of natural colours, shaded
and textured, on a plane whose edges meet (so no place in it is special), drawn at twice the size and averaged.

The same on every machine: random numbers are raw Philox words, and all arithmetic is +, −, ×, ÷ and √ in float64,
which IEEE 754 rounds exactly; no sums whose order a library may choose.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from fxprune.errors import InputError
from fxprune.train.draws import Stream, philox
from fxprune.train.metrics import Floats
from fxprune.train.resize import Pixels

__all__ = ["Leaves", "dead_leaves"]

Singles = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

SUPERSAMPLE = 2  # pixels drawn per pixel kept, in each direction
SMALLEST = 3.0  # r_min, in pixels of the finished picture
COVER = 4.0  # leaves' total area over the plane's: e⁻⁴ = 2% is left to the ground, which the lowest leaf colours
CORNERS = 6  # half-planes per leaf; an ellipse has none, a triangle three of them distinct
ANGLES = 256  # directions, of which sine and cosine are kept to 20 bits, the same on all machines
TILE = 256  # width of the texture tiles, in drawn pixels


@dataclass(frozen=True, slots=True)
class Leaves:
    """One picture, named rather than drawn."""

    seed: int
    index: int  # which picture of that seed
    height: int  # pixels
    width: int

    def draw(self) -> Pixels:
        """The picture: uint8, height × width × 3."""
        rows, columns = self.height * SUPERSAMPLE, self.width * SUPERSAMPLE
        random = _Random(self.seed, self.index)
        leaves = _scatter(random, rows, columns)
        return _paint(random, leaves, _visible(leaves, rows, columns))


def dead_leaves(count: int, size: int | tuple[int, int], seed: int = 0) -> list[Pixels]:
    """`count` pictures of size×size (or height×width) pixels, uint8 H×W×3. Picture i depends on seed and i alone.

    Raises:
        InputError: a size under 16 pixels, a negative count or seed.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 16:
        raise InputError(f"dead leaves of {width}x{height} pixels", hint="16 pixels is the least")
    if count < 0:
        raise InputError(f"{count} pictures of dead leaves")
    return [Leaves(seed, index, height, width).draw() for index in range(count)]


class _Random:
    """Uniform, whole and bell-shaped numbers, the next ones at each call."""

    def __init__(self, seed: int, index: int) -> None:
        self.bits = philox(seed, Stream.LEAVES, index)

    def uniform(self, *shape: int) -> Floats:
        """In (0, 1], multiples of 2⁻⁵³."""
        words = self.bits.random_raw(math.prod(shape)) >> np.uint64(11)
        return ((words.astype(np.float64) + 1.0) * 2.0**-53).reshape(shape)

    def integer(self, below: int, count: int) -> Ints:
        return (self.bits.random_raw(count) % np.uint64(below)).astype(np.int64)

    def bell(self, *shape: int) -> Floats:
        """Mean 0, deviation 1: the sum of three uniform numbers, the normal distribution nearly."""
        first, second, third = self.uniform(3, *shape)
        bell: Floats = (first + second + third - 1.5) * 2.0
        return bell


@dataclass(frozen=True, slots=True)
class _Shapes:
    """n leaves from the lowest to the topmost, in drawn pixels."""

    x: Floats  # centre
    y: Floats
    radius: Floats
    axes: tuple[Floats, Floats, Floats]  # (a, b, c) of an ellipse: a dx² + 2 b dx dy + c dy² ≤ 1
    edges: Floats  # CORNERS×3×n, (p, q, s): p dx + q dy ≤ s


def _scatter(random: _Random, rows: int, columns: int) -> _Shapes:
    """Leaves at uniform places, radii with density ∝ r⁻³ between r_min and half the picture."""
    least, most = SMALLEST * SUPERSAMPLE, min(rows, columns) / 2
    nearest, farthest = 1 / (least * least), 1 / (most * most)
    # the mean of r² under that density, times the share of its circle that the mean shape fills
    area = 0.6 * math.pi * 2 * math.log(most / least) / (nearest - farthest)
    n = math.ceil(COVER * rows * columns / area)
    x, y = random.uniform(n) * columns, random.uniform(n) * rows
    radius = 1 / np.sqrt(random.uniform(n) * (nearest - farthest) + farthest)  # the inverse distribution function
    squeeze = 0.4 + 0.6 * random.uniform(n)  # the shorter axis over the longer
    cos, sin = _direction(random.integer(ANGLES, n))
    along, across = 1 / (radius * radius), 1 / (radius * radius * squeeze * squeeze)
    a = along * cos * cos + across * sin * sin
    b = (along - across) * cos * sin
    c = along * sin * sin + across * cos * cos
    # every other leaf is the polygon on 3 to CORNERS points of its ellipse; the rest keep edges that cut nothing off
    corners = 3 + random.integer(CORNERS - 2, n)
    polygon = random.integer(2, n) == 0
    start, edges = random.integer(ANGLES, n), np.empty((CORNERS, 3, n))
    for k in range(CORNERS):
        turns: list[Ints] = [np.minimum(k + i, corners) * ANGLES // corners for i in (0, 1)]
        first, second = (_direction(start + turn) for turn in turns)
        p, q = second[1] - first[1], first[0] - second[0]  # outward normal of the edge in the unit circle
        s = p * first[0] + q * first[1]
        q = q / squeeze
        limit = np.where(polygon & (k < corners), s * radius, np.inf)
        edges[k] = p * cos - q * sin, p * sin + q * cos, limit
    return _Shapes(x, y, radius, (a, b, c), edges)


def _direction(step: Ints) -> tuple[Floats, Floats]:
    """Cosine and sine of step/ANGLES of a full turn."""
    table = _circle()
    return table[step % ANGLES], table[(step - ANGLES // 4) % ANGLES]


@functools.cache
def _circle() -> Floats:
    return np.array([round(math.cos(2 * math.pi * k / ANGLES) * 2**20) / 2**20 for k in range(ANGLES)])


def _visible(shapes: _Shapes, rows: int, columns: int) -> Ints:
    """Which leaf shows at each drawn pixel (rows × columns), by filling the leaves row by row from the lowest up.

    A convex shape meets a row in one span: between the roots of its ellipse's equation, within each of its edges.
    """
    low = np.ceil(shapes.y - shapes.radius).astype(np.int64)
    heights = np.floor(shapes.y + shapes.radius).astype(np.int64) - low + 1
    leaf = np.repeat(np.arange(len(low)), heights)
    row = low[leaf] + _count_within(heights)
    dy = row - shapes.y[leaf]
    a, b, c = (axis[leaf] for axis in shapes.axes)
    root = b * b * dy * dy - a * (c * dy * dy - 1)
    half = np.sqrt(np.maximum(root, 0))
    left, right = (-b * dy - half) / a, (-b * dy + half) / a
    for p, q, s in shapes.edges:
        slope, limit = p[leaf], s[leaf] - q[leaf] * dy
        steep = np.where(slope == 0, 1.0, slope)
        bound = limit / steep
        right = np.where(slope > 0, np.minimum(right, bound), right)
        left = np.where(slope < 0, np.maximum(left, bound), left)
    first = np.ceil(shapes.x[leaf] + left).astype(np.int64)
    lengths = np.floor(shapes.x[leaf] + right).astype(np.int64) - first + 1
    lengths = np.where(root > 0, np.minimum(np.maximum(lengths, 0), columns), 0)
    return _fill(leaf, row % rows, first % columns, lengths, rows, columns)


def _fill(leaf: Ints, row: Ints, first: Ints, lengths: Ints, rows: int, columns: int) -> Ints:
    """rows × columns, each span (row, first column, length) filled with its leaf, a later one over an earlier."""
    within = np.minimum(lengths, columns - first)  # what goes over the right edge comes back at the left
    starts = np.stack([row * columns + first, row * columns], axis=1).reshape(-1)
    parts = np.stack([within, lengths - within], axis=1).reshape(-1)
    pixels = np.repeat(starts, parts) + _count_within(parts)
    ids = np.zeros(rows * columns, dtype=np.int64)
    ids[pixels] = np.repeat(leaf, lengths)  # of several values for one pixel numpy keeps the last: the topmost leaf
    return ids.reshape(rows, columns)


def _count_within(lengths: Ints) -> Ints:
    """0 … l−1 for each length l, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)


def _paint(random: _Random, shapes: _Shapes, ids: Ints) -> Pixels:
    """Colour, shade and texture of the visible leaves; the mean of SUPERSAMPLE² drawn pixels, rounded to 8 bits."""
    n, (rows, columns) = len(shapes.x), ids.shape
    # photographs vary most in lightness, less from blue to orange, least from green to magenta
    light, warm, pink = 0.44 + 0.21 * random.bell(n), 0.075 * random.bell(n), 0.03 * random.bell(n)
    slope_x, slope_y = 0.12 * random.bell(2, n) / shapes.radius  # shading: change of lightness per pixel
    strength = 0.06 * random.uniform(n) + 0.16 * np.maximum(random.uniform(n) - 0.6, 0)
    tile, shift = random.integer(len(_tiles()), n), random.integer(TILE * TILE, n)

    table = [light + warm + pink, light - pink, light - warm + pink, slope_x, slope_y, strength, shapes.x, shapes.y]
    leaf = np.stack(table, axis=1).astype(np.float32)[ids]  # rows × columns × 8
    y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
    place = (y % TILE * TILE + x % TILE + shift[ids]) % (TILE * TILE)
    shade = leaf[..., 5] * _tiles().reshape(-1)[(tile * TILE * TILE)[ids] + place]
    shade += leaf[..., 3] * _wrap(x.astype(np.float32) - leaf[..., 6], columns)
    shade += leaf[..., 4] * _wrap(y.astype(np.float32) - leaf[..., 7], rows)
    drawn = np.minimum(np.maximum(leaf[..., :3] + shade[:, :, None], 0), 1)
    even, odd = drawn[0::2], drawn[1::2]
    mean = (even[:, 0::2] + even[:, 1::2] + odd[:, 0::2] + odd[:, 1::2]) * np.float32(0.25)
    levels: Pixels = np.floor(mean * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return levels


def _wrap(distance: Singles, size: int) -> Singles:
    """The same distance on a circle of `size`, within ± half of it."""
    around = (distance < -size / 2).astype(np.float32) - (distance > size / 2).astype(np.float32)
    return distance + around * np.float32(size)


@functools.cache
def _tiles() -> Singles:
    """Textures, k×TILE×TILE, about within ±1, repeating without a seam: clouds, grain both ways, stripes, weave."""
    random = _Random(0, 0)
    clouds = [_noise(random, 1, 1) for _ in range(4)]
    grain = [_noise(random, 16, 1), _noise(random, 1, 16)]
    y, x = np.mgrid[0:TILE, 0:TILE]
    stripes = [_wave(32 * x), _wave(24 * y), _wave(14 * x - 40 * y)]
    weave = [_wave(24 * x) * _wave(24 * y)]
    patterns = [pattern + 0.5 * cloud for pattern, cloud in zip(stripes + weave, clouds, strict=True)]
    return np.stack(clouds + grain + patterns).astype(np.float32)


def _wave(phase: Ints) -> Floats:
    """A cosine that repeats along the tile as often as the factor before the coordinate says."""
    return _direction(phase * (ANGLES // TILE))[0]


def _noise(random: _Random, stretch_x: int, stretch_y: int) -> Floats:
    """Noise of 1/f² power: random grids from coarse to fine, each interpolated, weighted by its cell's width."""
    total = np.zeros((TILE, TILE))
    for cell in (64, 32, 16, 8, 4, 2):
        wide, tall = min(cell * stretch_x, TILE // 2), min(cell * stretch_y, TILE // 2)
        grid = random.bell(TILE // tall, TILE // wide)
        weight = math.sqrt(cell / 64)  # softer than 1/f²: what is fine in a texture carries the leaf's detail
        total += 0.5 * weight * _stretch(_stretch(grid, tall, 0), wide, 1)
    return total


def _stretch(grid: Floats, factor: int, axis: int) -> Floats:
    """Linear interpolation along one axis to `factor` times the length, the end joining the beginning."""
    fine = np.repeat(grid, factor, axis=axis)
    ahead = np.repeat(np.roll(grid, -1, axis=axis), factor, axis=axis)
    share = (np.arange(fine.shape[axis]) % factor) / factor
    weight = share[:, None] if axis == 0 else share[None, :]
    return fine + (ahead - fine) * weight
