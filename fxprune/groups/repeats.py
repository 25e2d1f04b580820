"""Repeated blocks: what an earlier stretch of a graph gave and wrote into the book, told again of a later one.

Law: what a stretch of nodes gives depends on what its nodes do, on the kinds of the tensors that enter (shape, strides,
type, flags of the labels) and on which of their ids are equal; not on which ids these are. Where all of that is the
same as before, ids and places are renamed and nothing is run. New ids are handed out as running would.

Stretches that write into tensors from outside, or whose tensors are still written to after them, are run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import add, sub
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils import _pytree as pytree

from fxprune.groups.labels import Count, Event, Ids, Labels, Place, Protection, Ties, Value
from fxprune.groups.renaming import Ghost, Memory, Renaming
from fxprune.groups.twins import Node, Twins
from fxprune.internals import FakeTensorMode, fake_facts, fake_memory, fake_view, real_arithmetic

__all__ = ["Repeats"]

SHORTEST = 4  # nodes of a stretch that is worth it
ROOM = 8  # times as many ids as there are, for those to come
MANY = 4096  # ids that nobody counts

_PLAIN = (int, float, complex, bool, str, type(None), torch.Size, torch.dtype, torch.device, torch.layout, slice)


class Book(Protocol):
    """What is written while a graph is run."""

    ties: Ties
    next: int  # the next free id
    needs: dict[str, set[str]]
    dirty: dict[int, Any]  # storages overwritten with something that may not be zero


class Repeats:
    """Watches a graph being run, and tells again what need not be run."""

    def __init__(self, nodes: Sequence[Node], places: Sequence[Place], fake: FakeTensorMode, book: Book) -> None:
        self.nodes = nodes
        self.places = places
        self.fake = fake
        self.book = book
        self.twins = Twins([node.kind for node in nodes])
        self.renaming: Renaming | None = None
        self.made: list[Any] = []  # node → what it gave, of tensors or ghosts
        self.values: list[Any] = []  # node → what it gave, of labelled values
        self.marks: list[tuple[int, ...]] = []  # node → how far the book and the ids were before it
        self.ghosts: dict[int, Ghost] = {}  # tensor → its ghost
        self.memories: dict[int, Memory] = {}  # storage → memory
        self.unlike: set[int] = set()  # nodes that must be run, whatever they look like
        self.first = np.arange(len(nodes))  # node → first and last of all nodes that a memory written to
        self.last = np.arange(len(nodes))  # lives through, if it lives through this one
        self.lines: dict[int, slice] = {}  # ids of tensors that are there from the start, which follow each other
        self.keys: list[tuple[int, Any]] = []  # node → what it begins, and a sketch of its inputs
        self.starts: dict[tuple[int, Any], list[int]] = {}  # the same → the nodes
        self.sketches: dict[int, Any] = {}  # of labels
        self.told: set[int] = set()  # nodes that gave ghosts
        self.off = False  # something went on that is not understood

    # -- watching

    @property
    def now(self) -> int:
        """The node that is run."""
        return len(self.made)

    def _mark(self) -> tuple[int, ...]:
        return (*map(len, _books(self.book.ties)), self.book.next)

    def enter(self, tensor: torch.Tensor) -> None:
        """A tensor that is there from the start."""
        self._remember(tensor, -1)
        labels: Labels | None = getattr(tensor, "_fxprune", None)
        for axis in (*labels.axes, labels.narrow) if labels else ():
            if axis is not None:
                start = int(axis.ids[0])
                self.lines[id(axis.ids)] = slice(start, start + len(axis.ids))

    def end(self, out: Any, value: Any, silent: bool) -> None:
        """The node gave this. `silent`: it is known to do nothing else."""
        if out is None and not silent:
            self.unlike.add(self.now)
        for leaf in (out,) if isinstance(out, torch.Tensor) else pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                memory = self._remember(leaf, self.now)
                if fake_facts(leaf) is None or memory.dtype != leaf.dtype:
                    self.unlike.add(self.now)
            elif not isinstance(leaf, _PLAIN):
                self.unlike.add(self.now)
        self.made.append(out)
        self.values.append(value)

    def _remember(self, tensor: torch.Tensor, birth: int) -> Memory:
        storage = tensor.untyped_storage()
        memory = self.memories.get(storage._cdata)
        if memory is None:
            dirty = storage._cdata in self.book.dirty
            memory = Memory(birth, tensor.dtype, storage.nbytes() // tensor.dtype.itemsize, dirty, tensor)
            self.memories[storage._cdata] = memory
        return memory

    def wrote(self, tensor: torch.Tensor) -> None:
        """The node wrote into this tensor."""
        storage = tensor.untyped_storage()._cdata
        memory = self.memories.get(storage)
        if memory is not None:  # or it was made on the way
            memory.dirty = storage in self.book.dirty
            since = slice(max(0, memory.birth), self.now + 1)
            np.minimum(self.first[since], memory.birth, out=self.first[since])
            np.maximum(self.last[since], self.now, out=self.last[since])
        if id(tensor) in self.ghosts:
            self.ghosts[id(tensor)].facts = fake_facts(tensor)

    # -- values

    def real(self, node: int) -> Any:
        """What a node gave, of fake tensors."""
        if node in self.told:
            self.told.remove(node)
            self.made[node] = _each(self.made[node], self._real)
        return self.made[node]

    def _real(self, leaf: Any) -> Any:
        if not isinstance(leaf, Ghost):
            return leaf
        if leaf.tensor is None:
            memory, (shape, stride, offset, dtype, device) = leaf.memory, leaf.facts
            with real_arithmetic():
                if memory.base is None:
                    memory.base = fake_memory(memory.size, dtype, device, self.fake)
                    storage = memory.base.untyped_storage()
                    self.memories[storage._cdata] = memory
                    if memory.dirty:
                        self.book.dirty[storage._cdata] = storage
                made = fake_view(memory.base, shape, stride, offset, self.fake)
            if leaf.known is not None:
                made._fxprune = leaf.known  # type: ignore[attr-defined]
            leaf.tensor = made
            self.ghosts[id(made)] = leaf
        return leaf.tensor

    def ghostly(self, node: int) -> Any:
        """What a node gave, of ghosts."""
        return _each(self.made[node], self.ghost)

    def ghost(self, leaf: Any) -> Any:
        """The ghost of a tensor; anything else as it is."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        found = self.ghosts.get(id(leaf))
        if found is None:
            memory = self.memories[leaf.untyped_storage()._cdata]
            found = self.ghosts[id(leaf)] = Ghost(fake_facts(leaf), memory, None, leaf)
        return found

    # -- telling again

    def tell(self) -> int:
        """Begin with the next node: how many from there on need not be run, being told from an earlier stretch."""
        self.marks.append(self._mark())
        new = self.now
        self._begin(new, tuple(self._sketch(self.values[p]) for p in self.nodes[new].inputs))
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
        self._tell(best, new, count)
        return count

    def _begin(self, node: int, inputs: Any) -> None:
        """Note where stretches that begin with the same, for inputs that look alike, begin."""
        key = self.twins.rank(node, SHORTEST), inputs
        self.keys.append(key)
        self.starts.setdefault(key, []).append(node)

    def _sketch(self, value: Any) -> Any:
        """What is quickly told of a value; equal for those that can stand for each other."""
        if isinstance(value, (tuple, list)):
            return tuple(map(self._sketch, value))
        if not isinstance(value, Value):
            return value if isinstance(value, int) else None
        labels = value.labels
        if id(labels) not in self.sketches:
            self.sketches[id(labels)] = tuple(a and (a.zero, a.alike, _distinct(a.ids)) for a in labels.axes)
        return value.shape, self.sketches[id(labels)]

    def _reach(self, old: int, new: int, length: int) -> int:
        """How many of these nodes can be told; what is known of them is in `renaming`."""
        if self.renaming is None or self.renaming.size < 2 * self.book.next:  # ids may come to be twice as many
            self.renaming = Renaming(ROOM * self.book.next, self.lines)
        self.renaming.clear(new - old, old)
        met: set[tuple[int, int]] = set()
        count = 0
        while count < length and self._fits(old, new, count, met):
            count += 1
        while (late := np.flatnonzero(self.last[old : old + count] >= old + count)).size:
            count = int(late[0])
        return count

    def _fits(self, old: int, new: int, k: int, met: set[tuple[int, int]]) -> bool:
        """Does the node `k` after `new` get what the one `k` after `old` got?"""
        if self.first[old + k] < old or old + k in self.unlike:
            return False
        a, b = self.nodes[old + k], self.nodes[new + k]
        for p, q in zip(a.inputs, b.inputs, strict=True):
            if q >= new or p >= old:
                if p - old != q - new:
                    return False
            elif (p, q) not in met:
                if not self._same(self.ghostly(p), self.ghostly(q)):
                    return False
                met.add((p, q))
        return all(self._same(self.ghost(s), self.ghost(t)) for s, t in zip(a.tensors, b.tensors, strict=True))

    def _same(self, old: Any, new: Any) -> bool:
        if isinstance(old, Ghost):
            assert self.renaming is not None
            return isinstance(new, Ghost) and self.renaming.meet(old, new)
        if type(old) is not type(new):
            return False
        if isinstance(old, _PLAIN):
            return repr(old) == repr(new) if isinstance(old, (float, complex)) else bool(old == new)
        ours, theirs = pytree.tree_flatten(old), pytree.tree_flatten(new)
        if ours[1] != theirs[1] or ours[1].is_leaf():
            return False
        return all(self._same(a, b) for a, b in zip(ours[0], theirs[0], strict=True))

    def _tell(self, old: int, new: int, count: int) -> None:
        renaming, shift = self.renaming, new - old
        assert renaming is not None
        start, stop = self.marks[old], self.marks[old + count]
        farther = tuple(map(sub, self.marks[new], start))
        renaming.fresh(start[-1], stop[-1], self.book.next)
        for k in range(old, old + count):
            if k > old:
                self.marks.append(tuple(map(add, self.marks[k], farther)))
                self._begin(k + shift, self.keys[k][1])
            self._write(k, self.places[k + shift])
            self.made.append(_each(self.ghostly(k), renaming.ghost))
            self.values.append(_each(self.values[k], renaming.value))
        self.first[new : new + count] = self.first[old : old + count] + shift
        self.last[new : new + count] = self.last[old : old + count] + shift
        self.told.update(range(new, new + count))
        self.book.next += stop[-1] - start[-1]

    def _write(self, old: int, place: Place) -> None:
        """What the node at `old` wrote into the book, of the node at `place`."""
        needs = self.book.needs.get(self.places[old].node)
        if needs is not None:
            self.book.needs[place.node] = set(needs)
        start, stop = self.marks[old], self.marks[old + 1]
        if start == stop:
            return
        assert self.renaming is not None
        ids, ties = self.renaming.ids, self.book.ties
        parts = zip(_books(ties), start, stop, strict=False)
        events, protections, produced, consumed, counts = (book[a:b] for book, a, b in parts)
        ties.events += [Event(ids(e.a), ids(e.b), place) for e in events]
        ties.protections += [Protection(ids(p.ids), p.reason, place) for p in protections]
        ties.produced += [(ids(made), place) for made, _ in produced]
        ties.consumed += [(ids(used), place) for used, _ in consumed]
        ties.counts += [Count(place.node, c.macs, tuple(tuple(map(ids, part)) for part in c.parts)) for c in counts]


def _books(ties: Ties) -> tuple[list[Any], ...]:
    return ties.events, ties.protections, ties.produced, ties.consumed, ties.counts


def _distinct(ids: Ids) -> int:
    """How many different ids there are; 0 for very many."""
    return len(set(ids.tolist())) if len(ids) <= MANY else 0


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with its leaves changed."""
    if isinstance(value, (torch.Tensor, Ghost, Value, *_PLAIN)):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)([_each(v, change) for v in value])
    return pytree.tree_map(change, value)
