"""Two stretches of a graph that are alike, met value by value → the names in one of what stands in the other."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from fxprune.groups.labels import FIXED, Axis, Ids, Labels, Value

__all__ = ["Ghost", "Memory", "Renaming"]


class Memory:
    """What tensors that share memory have in common."""

    __slots__ = ("base", "birth", "dirty", "dtype", "size")

    def __init__(
        self, birth: int, dtype: torch.dtype, size: int, dirty: bool, base: torch.Tensor | None = None
    ) -> None:
        self.birth = birth  # the node that made it; -1: there from the start
        self.dtype = dtype
        self.size = size  # elements
        self.dirty = dirty  # overwritten with something that may not be zero
        self.base = base  # a fake tensor with this memory, once one is needed


class Ghost:
    """A tensor that flows out of a node, which need not have been made."""

    __slots__ = ("facts", "known", "memory", "tensor")

    def __init__(self, facts: Any, memory: Memory, known: Labels | None, tensor: torch.Tensor | None) -> None:
        self.facts = facts  # shape, strides, offset, type, device; None: more than that is known of it
        self.memory = memory
        self.known = known  # labels, as long as it is not made
        self.tensor = tensor

    @property
    def labels(self) -> Labels | None:
        """As rules wrote them last."""
        return self.known if self.tensor is None else getattr(self.tensor, "_fxprune", None)


class _Table:
    """id → another id; an id without one, and `FIXED`, have 0."""

    def __init__(self, size: int) -> None:
        self.to = np.zeros(size, np.int64)
        self.used: list[Ids | slice] = []

    def agree(self, ids: Ids | slice, others: Ids) -> bool:
        """Enter `others` for those that have none yet; is there now the right one for all?"""
        now = self.to[ids]
        if not now.any():
            self.used.append(ids)
            self.to[ids] = others
            if isinstance(ids, slice):
                return True  # each id comes once
            now = self.to[ids]
        elif not now.all():
            self.used.append(ids)
            known = now != 0
            self.to[ids] = np.where(known, now, others)
            now = self.to[ids]
        return self.to[FIXED] == FIXED and bool((now == others).all())

    def clear(self) -> None:
        for ids in self.used:
            self.to[ids] = 0
        self.used.clear()


class Renaming:
    """Ids, arrays of them, labels, tensors and memories of an earlier stretch → those of a later one, one to one."""

    def __init__(self, size: int, lines: dict[int, slice]) -> None:
        self.size = size
        self.there = _Table(size)
        self.back = _Table(size)
        self.lines = lines  # arrays of ids, one after the other → from where to where
        self.clear(0)

    def clear(self, shift: int, start: int = 0) -> None:
        """Forget everything. The later stretch begins `shift` nodes after the earlier one, which begins at `start`."""
        self.there.clear()
        self.back.clear()
        self.start, self.shift = start, shift
        self.arrays: dict[int, tuple[Ids, Ids]] = {}
        self.arrays_back: dict[int, Ids] = {}
        self.known: dict[int, Labels] = {}
        self.ghosts: dict[int, Ghost] = {}
        self.ghosts_back: dict[int, Ghost] = {}
        self.memories: dict[int, Memory] = {}

    def meet(self, old: Ghost, new: Ghost) -> bool:
        """Can the later tensor stand for the earlier one, beside all that have met?"""
        known = self.ghosts.get(id(old))
        if known is not None:
            return known is new
        if id(new) in self.ghosts_back or old.facts != new.facts or (old.facts is None and old is not new):
            return False
        if old.memory.dirty != new.memory.dirty:
            return False
        if self.memories.setdefault(id(old.memory), new.memory) is not new.memory:
            return False
        self.ghosts[id(old)] = new
        self.ghosts_back[id(new)] = old
        a, b = old.labels, new.labels
        return (a is None and b is None) or (a is not None and b is not None and self._meet_labels(a, b))

    def _meet_labels(self, old: Labels, new: Labels) -> bool:
        if any(getattr(old, name) != getattr(new, name) for name in _PLAIN) or len(old.axes) != len(new.axes):
            return False
        pairs = list(zip(_axes(old), _axes(new), strict=True))
        if not all(self._meet_axes(a, b) for a, b in pairs):
            return False
        self.known[id(old)] = new
        return True

    def _meet_axes(self, old: Axis | None, new: Axis | None) -> bool:
        if old is None or new is None:
            return old is new
        return old.zero == new.zero and old.alike == new.alike and self._meet_ids(old.ids, new.ids)

    def _meet_ids(self, old: Ids, new: Ids) -> bool:
        known = self.arrays.get(id(old))
        if known is not None:
            return known[1] is new
        if id(new) in self.arrays_back or old.shape != new.shape:
            return False
        self.arrays[id(old)] = old, new
        self.arrays_back[id(new)] = old
        ours, theirs = self.lines.get(id(old), old), self.lines.get(id(new), new)
        return self.there.agree(ours, new) and self.back.agree(theirs, old)

    def fresh(self, start: int, stop: int, to: int) -> None:
        """Ids made on the way."""
        if stop > start:
            self.there.agree(slice(start, stop), np.arange(to, to + stop - start))

    def ids(self, old: Ids) -> Ids:
        """The later ids for the earlier."""
        known = self.arrays.get(id(old))
        if known is None:
            new = self.there.to[old]
            assert np.count_nonzero(new) == np.count_nonzero(old), "an id from nowhere"
            known = self.arrays[id(old)] = old, new
        return known[1]

    def axis(self, old: Axis | None) -> Axis | None:
        """The same of an axis."""
        return None if old is None else Axis(self.ids(old.ids), old.zero, old.alike)

    def labels(self, old: Labels) -> Labels:
        """The same of labels."""
        found = self.known.get(id(old))
        if found is None:
            found = self.known[id(old)] = Labels(
                tuple(map(self.axis, old.axes)), old.weight, old.blocks, self.axis(old.narrow)
            )
        return found

    def value(self, old: Any) -> Any:
        """The same of what is known of a value of the network."""
        return Value(old.shape, self.labels(old.labels)) if isinstance(old, Value) else old

    def ghost(self, old: Any) -> Any:
        """The same of a tensor."""
        if not isinstance(old, Ghost):
            return old
        found = self.ghosts.get(id(old))
        if found is None:
            labels = old.labels
            known = None if labels is None else self.labels(labels)
            found = self.ghosts[id(old)] = Ghost(old.facts, self.memory(old.memory), known, None)
        return found

    def memory(self, old: Memory) -> Memory:
        """The same of memory."""
        found = self.memories.get(id(old))
        if found is None:
            assert old.birth >= self.start, "memory from nowhere"
            found = self.memories[id(old)] = Memory(old.birth + self.shift, old.dtype, old.size, old.dirty)
        return found


_PLAIN = tuple(f.name for f in fields(Labels) if "Axis" not in str(f.type))


def _axes(labels: Labels) -> tuple[Axis | None, ...]:
    return *labels.axes, labels.narrow
