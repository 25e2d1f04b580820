"""What the nodes of a graph gave while it is run: tensors, or ghosts of tensors that nobody has asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from fxprune.groups.ghosts import Ghost, Memory, Stretch
from fxprune.groups.labels import Value
from fxprune.groups.roots import NONE, Roots
from fxprune.internals import FakeTensor, FakeTensorMode, fake_facts, fake_memory, fake_view, real_arithmetic

__all__ = ["PLAIN", "Flow", "each"]

Flags = NDArray[np.bool_]

PLAIN = (int, float, complex, bool, str, type(None), torch.Size, torch.dtype, torch.device, torch.layout, slice)
_LEAVES = frozenset([*PLAIN, Ghost, Value, FakeTensor])


class Flow:
    """What was given so far, and which memory it lies in.

    Args:
        count: of nodes.
        roots: the tensors that are there from the start.
        fake: the mode under which the graph is run.
        dirty: storages overwritten with something that may not be zero.
    """

    def __init__(self, count: int, roots: Roots, fake: FakeTensorMode, dirty: dict[int, Any]) -> None:
        self.roots = roots
        self.fake = fake
        self.dirty = dirty
        self.made: list[Any] = []  # node → what it gave, of tensors or ghosts; nothing as long as it waits
        self.values: list[Any] = []  # node → what it gave, of labelled values
        self.ghosts: dict[int, Ghost] = {}  # tensor → its ghost
        self.memories: dict[int, Memory] = {}  # storage → memory
        self.stored = [self._remember(roots.tensors[k], -1, m) for m, k in enumerate(roots.one_of_each)]
        self.unlike = np.zeros(count, bool)  # nodes that must be run, whatever they look like
        self.first = np.arange(count)  # node → first and last of all nodes that a memory written to
        self.last = np.arange(count)  # lives through, if it lives through this one
        self.born = np.arange(count)  # node → the node that made the oldest memory of what it gave, or an earlier one
        self.touched = np.zeros(count, bool)  # nodes that gave memory that was written to
        self.told: set[int] = set()  # nodes that gave ghosts
        self.waiting: dict[int, Stretch] = {}  # and those of them whose ghosts are not made either

    @property
    def now(self) -> int:
        """The node that is run."""
        return len(self.made)

    def end(self, out: Any, value: Any, silent: bool) -> None:
        """The node gave this. `silent`: it is known to do nothing else."""
        if out is None and not silent:
            self.unlike[self.now] = True
        for leaf in (out,) if isinstance(out, torch.Tensor) else pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                memory = self._remember(leaf, self.now)
                self.born[self.now] = min(self.born[self.now], memory.birth)
                self.touched[self.now] |= memory.written
                if fake_facts(leaf) is None or memory.dtype != leaf.dtype:
                    self.unlike[self.now] = True
            elif not isinstance(leaf, PLAIN):
                self.unlike[self.now] = True
        self.made.append(out)
        self.values.append(value)

    def _remember(self, tensor: torch.Tensor, birth: int, root: int = NONE) -> Memory:
        storage = tensor.untyped_storage()
        memory = self.memories.get(storage._cdata)
        if memory is None:
            dirty = storage._cdata in self.dirty
            memory = Memory(birth, tensor.dtype, storage.nbytes() // tensor.dtype.itemsize, dirty, tensor, root)
            self.memories[storage._cdata] = memory
        return memory

    def wrote(self, tensor: torch.Tensor) -> None:
        """The node wrote into this tensor."""
        storage = tensor.untyped_storage()._cdata
        memory = self.memories.get(storage)
        if memory is not None:  # or it was made on the way
            memory.dirty = storage in self.dirty
            if memory.root != NONE:
                self.roots.written[memory.root] = True
            memory.written = True
            since = slice(max(0, memory.birth), self.now + 1)
            self.touched[since] = True
            np.minimum(self.first[since], memory.birth, out=self.first[since])
            np.maximum(self.last[since], self.now, out=self.last[since])
        if id(tensor) in self.ghosts:
            self.ghosts[id(tensor)].facts = fake_facts(tensor)

    def real(self, node: int) -> Any:
        """What a node gave, of fake tensors."""
        if node in self.told:
            self.told.remove(node)
            self.made[node] = each(self.ghostly(node), self._real)
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
                        self.dirty[storage._cdata] = storage
                made = fake_view(memory.base, shape, stride, offset, self.fake)
            if leaf.known is not None:
                made._fxprune = leaf.known  # type: ignore[attr-defined]
            leaf.tensor = made
            self.ghosts[id(made)] = leaf
        return leaf.tensor

    def ghostly(self, node: int) -> Any:
        """What a node gave, of ghosts."""
        asked = []
        while node in self.waiting:
            asked.append(node)
            node -= self.waiting[node].shift
        found = each(self.made[node], self.ghost)
        for node in reversed(asked):  # each of them told of the one before
            labels = iter([v.labels for v in _leaves(self.values[node]) if isinstance(v, Value)])
            found = self.made[node] = each(found, partial(self.waiting.pop(node).ghost, labels=labels))
        return found

    def ghost(self, leaf: Any) -> Any:
        """The ghost of a tensor; anything else as it is."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        found = self.ghosts.get(id(leaf))
        if found is None:
            memory = self.memories[leaf.untyped_storage()._cdata]
            root = self.roots.of.get(id(leaf), NONE)
            found = self.ghosts[id(leaf)] = Ghost(fake_facts(leaf), memory, None, leaf, root)
        return found

    def given(self, root: int) -> Ghost:
        """The ghost of a tensor that is there from the start."""
        found: Ghost = self.ghost(self.roots.tensors[root])
        return found

    def waits(self, old: int, count: int) -> Flags:
        """Which of so many nodes gave only memory made in their stretch and never written to: ghosts can wait."""
        return (self.born[old : old + count] >= old) & ~self.touched[old : old + count]

    def tell(self, old: int, made: Sequence[Any], values: Sequence[Any], waits: Flags, stretch: Stretch) -> None:
        """The next nodes give, in ghosts, what those from `old` on gave."""
        new, count, shift = self.now, len(made), stretch.shift
        self.made += made
        self.values += values
        earlier, later = slice(old, old + count), slice(new, new + count)
        self.first[later] = self.first[earlier] + shift
        self.last[later] = self.last[earlier] + shift
        self.born[later] = np.where(waits, self.born[earlier] + shift, -1)
        self.touched[later] = self.touched[earlier]
        self.told.update(range(new, new + count))
        self.waiting.update(dict.fromkeys((np.flatnonzero(waits) + new).tolist(), stretch))


def each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with its leaves changed."""
    kind = type(value)
    if kind in _LEAVES or isinstance(value, torch.Tensor):
        return change(value)
    if kind is tuple or kind is list:
        return kind([each(v, change) for v in value])
    return pytree.tree_map(change, value)


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    each(value, found.append)
    return found
