"""Nested boxes → for each box, what stands in which row and which edge goes where; no coordinates yet.

Nothing here depends on what is folded, so a page computes it once and only adds up sizes when something is unfolded.

Laws:
- Rows are longest paths from the top. What comes from outside enters through a port on the upper edge of a box, what
  goes outside leaves through one on the lower edge.
- An edge that skips rows runs in a lane beside them: residual ones on the right. Edges with the same start, or with the
  same end, share a lane.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from fxprune.view.boxes import Box, Item, leaves
from fxprune.view.flow import Flow

__all__ = ["Lane", "Line", "Sheet", "Spot", "sheets_of"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Something that stands in a row."""

    item: Item | None  # None: a port
    value: int  # of a port, the stop whose value passes through


@dataclass(frozen=True, slots=True)
class Line:
    """An edge inside one box, between spots by their positions."""

    source: int
    target: int
    value: int  # the stop whose value it carries
    residual: bool
    lane: int  # position among the lanes; -1: straight to the next row
    slot: int  # where it arrives at its target, from the left
    slots: int  # how many arrive there


@dataclass(frozen=True, slots=True)
class Lane:
    """A way beside the rows, shared by some edges."""

    side: int  # -1 left, 1 right
    first: int  # row it starts from
    last: int  # row it leads to
    order: int  # how many overlapping lanes are nearer to the rows


@dataclass(frozen=True, slots=True)
class Sheet:
    """The inside of a box."""

    spots: tuple[Spot, ...]
    rows: tuple[tuple[int, ...], ...]  # positions of spots, from left to right
    lines: tuple[Line, ...]
    lanes: tuple[Lane, ...]
    enters: tuple[int, ...]  # values that come in, in the order of their ports
    leaves: tuple[int, ...]  # values that go out


def sheets_of(flow: Flow, root: Box) -> dict[int, Sheet]:
    """The sheet of every box, by its number."""
    sheets: dict[int, Sheet] = {}
    edges = [(edge.source, edge.target, edge.residual) for edge in flow.edges]
    _collect(root, edges, sheets)
    return sheets


def _collect(box: Box, edges: list[tuple[int, int, bool]], sheets: dict[int, Sheet]) -> None:
    """`edges` are those with an end in the box."""
    sheets[box.number] = _sheet(box, edges)
    at = {leaf: item for item in box.items for leaf in leaves(item)}
    inner: dict[int, list[tuple[int, int, bool]]] = defaultdict(list)
    for edge in edges:
        ends = dict.fromkeys(id(at[end]) for end in edge[:2] if isinstance(at.get(end), Box))
        for key in ends:
            inner[key].append(edge)
    for item in box.items:
        if isinstance(item, Box):
            _collect(item, inner[id(item)], sheets)


def _sheet(box: Box, edges: list[tuple[int, int, bool]]) -> Sheet:
    inside = {leaf: k for k, item in enumerate(box.items) for leaf in leaves(item)}
    enters = tuple(dict.fromkeys(s for s, t, _ in edges if s not in inside))
    exits = tuple(sorted(dict.fromkeys(s for s, t, _ in edges if t not in inside)))
    count = len(box.items)
    spots = [Spot(item, -1) for item in box.items]
    spots += [Spot(None, value) for value in (*enters, *exits)]
    ports_in = {value: count + k for k, value in enumerate(enters)}
    ports_out = {value: count + len(enters) + k for k, value in enumerate(exits)}
    links: dict[tuple[int, int, int], bool] = {}
    for source, target, residual in edges:
        a = inside[source] if source in inside else ports_in[source]
        b = inside[target] if target in inside else ports_out[source]
        if a != b:
            links[a, b, source] = links.get((a, b, source), True) and residual and target in inside
    rank = _ranks(len(spots), links, set(ports_in.values()), set(ports_out.values()))
    rows = _rows(rank, links)
    lanes, lane_of = _lanes(links, rank, rows)
    lines = _lines(links, lane_of, lanes, rows)
    return Sheet(tuple(spots), rows, lines, lanes, enters, exits)


def _ranks(count: int, links: Iterable[tuple[int, int, int]], top: set[int], bottom: set[int]) -> list[int]:
    """Row of each spot. Spots are numbered in the order of execution, ports last."""
    into: dict[int, list[int]] = defaultdict(list)
    for a, b, _ in links:
        into[b].append(a)
    rank = [0] * count
    for spot in range(count - len(top) - len(bottom)):
        rank[spot] = max((rank[a] + 1 for a in into[spot] if a not in top), default=1 if top else 0)
    last = max(rank[: count - len(bottom)], default=0) + 1
    for spot in bottom:
        rank[spot] = last
    return rank


def _rows(rank: list[int], links: Iterable[tuple[int, int, int]]) -> tuple[tuple[int, ...], ...]:
    """Spots of a row stand below what feeds them: ordered by the mean place of those, then by execution."""
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for spot, level in enumerate(rank):
        rows[level].append(spot)
    into: dict[int, list[int]] = defaultdict(list)
    for a, b, _ in links:
        into[b].append(a)
    place: dict[int, float] = {}
    for row in rows:
        known = {spot: [place[a] for a in into[spot] if a in place] for spot in row}
        row.sort(key=lambda spot: (sum(known[spot]) / len(known[spot]) if known[spot] else 0.0, spot))
        place.update((spot, k - (len(row) - 1) / 2) for k, spot in enumerate(row))
    return tuple(tuple(row) for row in rows)


def _lanes(
    links: dict[tuple[int, int, int], bool], rank: list[int], rows: tuple[tuple[int, ...], ...]
) -> tuple[tuple[Lane, ...], dict[tuple[int, int, int], int]]:
    """The lanes, nearest first, and the lane of each edge that skips rows."""
    place = {spot: k - (len(row) - 1) / 2 for row in rows for k, spot in enumerate(row)}
    far = [link for link in links if rank[link[1]] > rank[link[0]] + 1]
    starts: dict[int, int] = defaultdict(int)
    ends: dict[int, int] = defaultdict(int)
    for a, b, _ in far:
        starts[a] += 1
        ends[b] += 1
    bundles: dict[tuple[str, int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for link in far:
        a, b, _ = link
        lean = place[a] + place[b]
        side = 1 if links[link] or lean > 0 else -1
        bundles[("end", b, side) if ends[b] > starts[a] else ("start", a, side)].append(link)
    spans = [
        (key[2], min(rank[a] for a, _, _ in held), max(rank[b] for _, b, _ in held), held)
        for key, held in bundles.items()
    ]
    spans.sort(key=lambda span: (span[2] - span[1], span[1]))
    lanes: list[Lane] = []
    lane_of: dict[tuple[int, int, int], int] = {}
    for side, first, last, held in spans:
        beside = [lane.order for lane in lanes if lane.side == side and lane.first < last and first < lane.last]
        lane_of.update((link, len(lanes)) for link in held)
        lanes.append(Lane(side, first, last, max(beside, default=-1) + 1))
    return tuple(lanes), lane_of


def _lines(
    links: dict[tuple[int, int, int], bool],
    lane_of: dict[tuple[int, int, int], int],
    lanes: tuple[Lane, ...],
    rows: tuple[tuple[int, ...], ...],
) -> tuple[Line, ...]:
    place = {spot: k for row in rows for k, spot in enumerate(row)}
    arrivals: dict[int, dict[tuple[int, int], None]] = defaultdict(dict)
    way: dict[tuple[int, int, int], tuple[int, int]] = {}
    for link in links:
        lane = lane_of.get(link, -1)
        way[link] = (0, place[link[0]]) if lane < 0 else (lanes[lane].side * (1 + lanes[lane].order), 0)
        arrivals[link[1]][way[link]] = None
    slots = {spot: {one: k for k, one in enumerate(sorted(held))} for spot, held in arrivals.items()}
    return tuple(
        Line(a, b, value, residual, lane_of.get((a, b, value), -1), slots[b][way[a, b, value]], len(slots[b]))
        for (a, b, value), residual in links.items()
    )
