"""Two stretches of a graph that are alike, met value by value → the names in one of what stands in the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fxprune.groups.ghosts import Ghost, Memory, Stretch
from fxprune.groups.labels import FIXED, Axis, Ids, Labels, Value
from fxprune.groups.roots import NONE, Roots, axes_of, flags_of

__all__ = ["Renaming"]


class _Table:
    """id → another id; an id without one, and `FIXED`, have 0."""

    def __init__(self, size: int) -> None:
        self.to = np.zeros(size, np.int64)
        self.used: list[Ids | slice] = []

    def enter(self, ids: Ids | slice, others: Ids) -> None:
        """Ids that have none yet, each of them once."""
        self.used.append(ids)
        self.to[ids] = others

    def agree(self, ids: Ids, others: Ids) -> bool:
        """Enter `others` for those that have none yet; is there now the right one for all?"""
        now = self.to[ids]
        if not now.all():
            self.enter(ids, np.where(now, now, others))
            now = self.to[ids]
        return self.to[FIXED] == FIXED and bool((now == others).all())

    def clear(self) -> None:
        for ids in self.used:
            self.to[ids] = 0
        self.used.clear()


class Renaming:
    """Ids, arrays of them, labels, tensors and memories of an earlier stretch → those of a later one, one to one.

    Args:
        size: of ids.
        roots: the tensors that are there from the start.
        given: the ghost of each of these, and each of their memories.
    """

    def __init__(self, size: int, roots: Roots, given: Callable[[int], Ghost], stored: list[Memory]) -> None:
        self.size = size
        self.roots = roots
        self.given = given
        self.stored = stored
        self.there = _Table(size)
        self.back = _Table(size)
        self.root_there = np.full(len(roots.tensors), NONE)
        self.root_back = np.full(len(roots.tensors), NONE)
        self.stored_there = np.full(len(stored), NONE)
        self.clear(0)

    def clear(self, shift: int, start: int = 0) -> None:
        """Forget everything. The later stretch begins `shift` nodes after the earlier one, which begins at `start`."""
        self.there.clear()
        self.back.clear()
        for known in (self.root_there, self.root_back, self.stored_there):
            known.fill(NONE)
        self.start, self.shift = start, shift
        self.arrays: dict[int, tuple[Ids, Ids]] = {}
        self.arrays_back: dict[int, Ids] = {}
        self.known: dict[int, Labels] = {}
        self.ghosts: dict[int, Ghost] = {}
        self.ghosts_back: dict[int, Ghost] = {}
        self.memories: dict[int, Memory] = {}
        self.nowhere = False  # something was renamed that is neither made in the stretch nor was met
        self.renamed: tuple[list[Ids], list[Ids]] = ([], [])

    # -- meeting

    def meet_roots(self, old: Ids, new: Ids) -> int:
        """Tensors that are there from the start meet, before anything else does: how many, from the first on, agree."""
        roots = self.roots
        self.root_there[old[::-1]] = new[::-1]  # of several that meet one, the first counts
        self.root_back[new[::-1]] = old[::-1]
        from_, to = roots.memory[old], roots.memory[new]
        self.stored_there[from_[::-1]] = to[::-1]
        agree = (roots.kind[old] == roots.kind[new]) & (roots.kind[old] != NONE)
        agree &= (self.root_there[old] == new) & (self.root_back[new] == old) & (self.stored_there[from_] == to)
        agree &= ~roots.written[from_] & ~roots.written[to]
        if not agree.all():
            return int(agree.argmin())
        once = np.unique(old)
        ours, theirs = roots.ids(once), roots.ids(self.root_there[once])
        self.there.enter(ours, theirs)
        self.back.enter(theirs, ours)
        return len(old)

    def meet(self, old: Ghost, new: Ghost) -> bool:
        """Can the later tensor stand for the earlier one, beside all that have met?"""
        known = self.ghosts.get(id(old))
        if known is not None:
            return known is new
        if id(new) in self.ghosts_back or old.facts != new.facts or (old.facts is None and old is not new):
            return False
        if old.memory.dirty != new.memory.dirty or not self._meet_root(old.root, new.root):
            return False
        if self.memories.setdefault(id(old.memory), new.memory) is not new.memory:
            return False
        self.ghosts[id(old)] = new
        self.ghosts_back[id(new)] = old
        a, b = old.labels, new.labels
        return (a is None and b is None) or (a is not None and b is not None and self._meet_labels(a, b))

    def _meet_root(self, old: int, new: int) -> bool:
        if old == NONE or new == NONE:
            return old == new
        if self.root_there[old] != NONE or self.root_back[new] != NONE:
            return bool(self.root_there[old] == new and self.root_back[new] == old)
        a, b = self.roots.memory[[old, new]].tolist()
        if self.stored_there[a] not in (NONE, b) or self.roots.kind[old] != self.roots.kind[new]:
            return False
        self.root_there[old], self.root_back[new], self.stored_there[a] = new, old, b
        ours, theirs = self.roots.ids(np.array([old])), self.roots.ids(np.array([new]))
        return self.there.agree(ours, theirs) and self.back.agree(theirs, ours)

    def _meet_labels(self, old: Labels, new: Labels) -> bool:
        ours, theirs = axes_of(old), axes_of(new)
        if len(ours) != len(theirs) or flags_of(old) != flags_of(new):
            return False
        if not all(self._meet_axes(a, b) for a, b in zip(ours, theirs, strict=True)):
            return False
        self.known[id(old)] = new
        return True

    def _meet_axes(self, old: Axis | None, new: Axis | None) -> bool:
        if old is None or new is None:
            return old is new
        return old.zero == new.zero and old.alike == new.alike and self._meet_ids(old.ids, new.ids)

    def _meet_ids(self, old: Ids, new: Ids) -> bool:
        known = self._array(old)
        if known is not None:
            return known is new
        if self._came_from(new) is not None or old.shape != new.shape:
            return False
        self.arrays[id(old)] = old, new
        self.arrays_back[id(new)] = old
        return self.there.agree(old, new) and self.back.agree(new, old)

    def _array(self, old: Ids) -> Ids | None:
        """What an array was met by: by itself, or with the tensor it belongs to."""
        found = self.arrays.get(id(old))
        if found is not None:
            return found[1]
        root, at = self.roots.place_of.get(id(old), (NONE, 0))
        return self.roots.arrays[to][at] if root != NONE and (to := self.root_there[root]) != NONE else None

    def _came_from(self, new: Ids) -> Ids | None:
        found = self.arrays_back.get(id(new))
        if found is not None:
            return found
        root, at = self.roots.place_of.get(id(new), (NONE, 0))
        return self.roots.arrays[to][at] if root != NONE and (to := self.root_back[root]) != NONE else None

    @property
    def stretch(self) -> Stretch:
        """For the tensors that are not made yet."""
        return Stretch(self.shift, self.ghosts, self.memories)

    # -- renaming; what is neither made in the stretch nor was met makes it unsettled

    def fresh(self, start: int, stop: int, to: int) -> None:
        """Ids made on the way."""
        if stop > start:
            self.there.enter(slice(start, stop), np.arange(to, to + stop - start))

    def settled(self) -> bool:
        """Has everything that was renamed a new name?"""
        if self.nowhere:
            return False
        old, new = (np.concatenate([np.empty(0, np.int64), *ids]) for ids in self.renamed)
        return bool(((old == FIXED) == (new == FIXED)).all())

    def ids(self, old: Ids) -> Ids:
        """The later ids for the earlier."""
        known = self.arrays.get(id(old))
        if known is not None:
            return known[1]
        new = self._array(old)
        if new is None:
            new = self.there.to[old]
            self.renamed[0].append(old.ravel())
            self.renamed[1].append(new.ravel())
        self.arrays[id(old)] = old, new
        return new

    def axis(self, old: Axis | None) -> Axis | None:
        """The same of an axis."""
        return None if old is None else Axis(self.ids(old.ids), old.zero, old.alike)

    def labels(self, old: Labels) -> Labels:
        """The same of labels."""
        found = self.known.get(id(old))
        if found is None:
            root = self.roots.number_of.get(id(old), NONE)
            to = NONE if root == NONE else self.root_there[root]
            held = None if to == NONE else self.roots.labels[to]
            axes, narrow = old.axes, old.narrow
            found = held or Labels(tuple(map(self.axis, axes)), old.weight, old.blocks, self.axis(narrow))
            self.known[id(old)] = found
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
            found = self.ghosts[id(old)] = self._ghost(old)
        return found

    def _ghost(self, old: Ghost) -> Ghost:
        if old.root != NONE:
            if self.root_there[old.root] == NONE:
                self.nowhere = True
                return old
            return self.given(int(self.root_there[old.root]))
        labels = old.labels
        return Ghost(old.facts, self.memory(old.memory), None if labels is None else self.labels(labels), None)

    def memory(self, old: Memory) -> Memory:
        """The same of memory."""
        found = self.memories.get(id(old))
        if found is None:
            if old.birth >= self.start:
                found = old.again(self.shift)
            elif old.root != NONE and self.stored_there[old.root] != NONE:
                found = self.stored[self.stored_there[old.root]]
            else:
                self.nowhere, found = True, old
            self.memories[id(old)] = found
        return found
