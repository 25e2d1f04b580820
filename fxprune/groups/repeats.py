"""Repeated blocks: what an earlier stretch of a graph gave and wrote into the book, told again of a later one.

Law: what a stretch of nodes gives depends on what its nodes do, on the kinds of the tensors that enter (shape, strides,
type, flags of the labels) and on which of their ids are equal; not on which ids these are. Where all of that is the
same as before, ids and places are renamed and nothing is run. New ids are handed out as running would.

Stretches that write into tensors from outside, or whose tensors are still written to after them, are run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from fxprune.groups.flow import PLAIN, Flow, each
from fxprune.groups.ghosts import Ghost
from fxprune.groups.labels import Count, Event, Ids, Place, Protection, Ties
from fxprune.groups.renaming import Renaming
from fxprune.groups.roots import NONE, Roots, axes_of
from fxprune.groups.twins import Looks, Twins
from fxprune.internals import FakeTensorMode

__all__ = ["Repeats"]

SHORTEST = 4  # nodes of a stretch that is worth it
ROOM = 8  # times as many ids as there are, for those to come
MANY = 4096  # ids that nobody counts


class Book(Protocol):
    """What is written while a graph is run."""

    ties: Ties
    next: int  # the next free id
    needs: dict[str, set[str]]
    dirty: dict[int, Any]  # storages overwritten with something that may not be zero


class Repeats:
    """Watches a graph being run, and tells again what need not be run.

    Args:
        looks: of the graph's nodes, in order.
        names: theirs.
        place: each one's.
        roots: the tensors that are there from the start.
        fake: the mode under which the graph is run.
        book: what is written meanwhile.
    """

    def __init__(
        self,
        looks: Looks,
        names: Sequence[str],
        place: Callable[[int], Place],
        roots: Roots,
        fake: FakeTensorMode,
        book: Book,
    ) -> None:
        self.looks = looks
        self.names = names
        self.place = place
        self.index = {name: k for k, name in enumerate(names)}
        self.roots = roots
        self.book = book
        self.flow = Flow(len(names), roots, fake, book.dirty)
        self.twins = Twins(looks.kinds)
        self.ranks = self.twins.of_length(SHORTEST)
        self.renaming: Renaming | None = None
        self.marks = np.zeros((len(names) + 1, 6), np.int64)  # node → how far the book and the ids were before it
        self.keys: list[tuple[int, Any]] = []  # node → what it begins, and a sketch of its inputs
        self.starts: dict[tuple[int, Any], list[int]] = {}  # the same → the nodes
        self.sketched = [NONE] * len(names)  # node → a number for what is quickly told of what it gave
        self.sketches: dict[Any, int] = {}  # that → its number
        self.off = False  # something went on that is not understood

    def stop(self) -> None:
        """Something comes that is not understood: nothing is told from here on, nor later of what was."""
        self.off = True
        for node in list(self.flow.waiting):
            self.flow.ghostly(node)

    def tell(self) -> int:
        """Begin with the next node: how many from there on need not be run, being told from an earlier stretch."""
        new = self.flow.now
        self.marks[new] = (*map(len, _books(self.book.ties)), self.book.next)
        self._begin(new, tuple(self._sketch(p) for p in self.looks.inputs.of(new).tolist()))
        best, count, last = -1, SHORTEST - 1, -1
        for old, length in () if self.off else self.twins.of(new, self.starts[self.keys[new]][:-1]):
            if length > count:
                reached, last = self._reach(old, new, length), old
                if reached > count:
                    best, count = old, reached
        if best < 0:
            return 0
        if last != best:
            self._reach(best, new, count)
        return self._tell(best, new, count)

    def _begin(self, node: int, inputs: Any) -> None:
        """Note where stretches that begin with the same, for inputs that look alike, begin."""
        key = self.ranks[node], inputs
        self.keys.append(key)
        self.starts.setdefault(key, []).append(node)

    def _sketch(self, node: int) -> int:
        """What is quickly told of what a node gave; equal where one can stand for the other."""
        if self.sketched[node] == NONE:
            sketch = self._drawn(self.flow.ghostly(node))
            self.sketched[node] = self.sketches.setdefault(sketch, len(self.sketches))
        return self.sketched[node]

    def _drawn(self, value: Any) -> Any:
        if isinstance(value, Ghost):
            axes = tuple(a and (a.zero, a.alike, _distinct(a.ids)) for a in axes_of(value.labels))
            return value.facts, value.memory.dirty, axes
        if isinstance(value, (tuple, list)):
            return tuple(map(self._drawn, value))
        return value if isinstance(value, int) else None

    def _reach(self, old: int, new: int, length: int) -> int:
        """How many of these nodes can be told; what is known of them is in `renaming`."""
        if self.renaming is None or self.renaming.size < 2 * self.book.next:  # ids may come to be twice as many
            self.renaming = Renaming(ROOM * self.book.next, self.roots, self.flow.given, self.flow.stored)
        count = _before((self.flow.first[old : old + length] < old) | self.flow.unlike[old : old + length])
        ours, theirs = self.looks.inputs.of(old, count), self.looks.inputs.of(new, count)
        inside = (ours >= old) | (theirs >= new)
        astray = inside & (ours - old != theirs - new)
        if astray.any():
            count = self.looks.inputs.row(old, int(astray.argmax())) - old
        if self._meet(old, new, min(count, SHORTEST)) < SHORTEST:
            return 0
        while True:
            count = _before(self.flow.last[old : old + count] >= old + count)
            met = self._meet(old, new, count)
            if met == count:
                return count
            count = met

    def _meet(self, old: int, new: int, count: int) -> int:
        """Let everything meet that enters so many nodes: before which of them something does not agree."""
        renaming, inputs, roots = self.renaming, self.looks.inputs, self.looks.roots
        assert renaming is not None
        ours, theirs = inputs.of(old, count), inputs.of(new, count)
        at = np.flatnonzero(ours < old)
        enter = list(zip(at.tolist(), ours[at].tolist(), theirs[at].tolist(), strict=True))
        for k, p, q in enter:
            if self._sketch(p) != self._sketch(q):  # as most often
                return inputs.row(old, k) - old
        renaming.clear(new - old, old)
        ours, theirs = roots.of(old, count), roots.of(new, count)
        if (met := renaming.meet_roots(ours, theirs)) < len(ours):
            return roots.row(old, met) - old
        for k, p, q in enter:
            if not self._same(self.flow.ghostly(p), self.flow.ghostly(q)):
                return inputs.row(old, k) - old
        return count

    def _same(self, old: Any, new: Any) -> bool:
        if isinstance(old, Ghost):
            assert self.renaming is not None
            return isinstance(new, Ghost) and self.renaming.meet(old, new)
        if type(old) is not type(new):
            return False
        if isinstance(old, PLAIN):
            return repr(old) == repr(new) if isinstance(old, (float, complex)) else bool(old == new)
        ours, theirs = pytree.tree_flatten(old), pytree.tree_flatten(new)
        if ours[1] != theirs[1] or ours[1].is_leaf():
            return False
        return all(self._same(a, b) for a, b in zip(ours[0], theirs[0], strict=True))

    def _tell(self, old: int, new: int, count: int) -> int:
        """Tell so many nodes; none, and nothing is written, where something comes from nowhere."""
        flow, renaming, shift, stretch = self.flow, self.renaming, new - old, range(old, old + count)
        assert renaming is not None
        start, stop = self.marks[old].tolist(), self.marks[old + count].tolist()
        renaming.fresh(start[-1], stop[-1], self.book.next)
        waits = flow.waits(old, count)
        made = [None if wait else each(flow.ghostly(old + k), renaming.ghost) for k, wait in enumerate(waits.tolist())]
        values = [each(flow.values[k], renaming.value) for k in stretch]
        written = self._renamed(start, stop, shift)
        if not renaming.settled():
            return 0
        flow.tell(old, made, values, waits, renaming.stretch)
        for book, entries in zip(_books(self.book.ties), written, strict=True):
            book += entries
        self.book.next += stop[-1] - start[-1]
        self.marks[new + 1 : new + count] = self.marks[old + 1 : old + count] + (self.marks[new] - self.marks[old])
        self.sketched[new : new + count] = self.sketched[old : old + count]
        for k in stretch:
            if k > old:
                self._begin(k + shift, self.keys[k][1])
            if (needs := self.book.needs.get(self.names[k])) is not None:
                self.book.needs[self.names[k + shift]] = set(needs)
        return count

    def _renamed(self, start: list[int], stop: list[int], shift: int) -> tuple[list[Any], ...]:
        """What stands between two marks in the book, of the nodes so many further on."""
        renaming, index = self.renaming, self.index
        assert renaming is not None
        ids = renaming.ids
        parts = zip(_books(self.book.ties), start, stop, strict=False)
        events, protections, produced, consumed, counts = (book[a:b] for book, a, b in parts)

        def later(place: Place) -> Place:
            return self.place(index[place.node] + shift)

        return (
            [Event(ids(e.a), ids(e.b), later(e.place)) for e in events],
            [Protection(ids(p.ids), p.reason, later(p.place)) for p in protections],
            [(ids(made), later(place)) for made, place in produced],
            [(ids(used), later(place)) for used, place in consumed],
            [
                Count(self.names[index[c.node] + shift], c.macs, tuple(tuple(map(ids, part)) for part in c.parts))
                for c in counts
            ],
        )


def _before(found: NDArray[np.bool_]) -> int:
    """How many come before the first that is."""
    return int(found.argmax()) if found.any() else len(found)


def _books(ties: Ties) -> tuple[list[Any], ...]:
    return ties.events, ties.protections, ties.produced, ties.consumed, ties.counts


def _distinct(ids: Ids) -> int:
    """How many different ids there are; 0 for very many."""
    return len(set(ids.tolist())) if len(ids) <= MANY else 0
