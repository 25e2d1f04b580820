"""Tensors that flow through a graph and need not have been made, and the memory they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from fxprune.groups.labels import Labels
from fxprune.groups.roots import NONE

__all__ = ["Ghost", "Memory", "Stretch"]


class Memory:
    """What tensors that share memory have in common."""

    __slots__ = ("base", "birth", "dirty", "dtype", "root", "size", "written")

    def __init__(
        self,
        birth: int,
        dtype: torch.dtype,
        size: int,
        dirty: bool,
        base: torch.Tensor | None = None,
        root: int = NONE,
    ) -> None:
        self.birth = birth  # the node that made it; -1: there from the start
        self.dtype = dtype
        self.size = size  # elements
        self.dirty = dirty  # overwritten with something that may not be zero
        self.base = base  # a fake tensor with this memory, once one is needed
        self.root = root  # which of the memories that are there from the start
        self.written = False  # to, after it was made

    def again(self, shift: int) -> Memory:
        """The same, made so many nodes later."""
        made = Memory(self.birth + shift, self.dtype, self.size, self.dirty)
        made.written = self.written
        return made


class Ghost:
    """A tensor that flows out of a node, which need not have been made."""

    __slots__ = ("facts", "known", "memory", "root", "tensor")

    def __init__(
        self, facts: Any, memory: Memory, known: Labels | None, tensor: torch.Tensor | None, root: int = NONE
    ) -> None:
        self.facts = facts  # shape, strides, offset, type, device; None: more than that is known of it
        self.memory = memory
        self.known = known  # labels, as long as it is not made
        self.tensor = tensor
        self.root = root  # which of the tensors that are there from the start

    @property
    def labels(self) -> Labels | None:
        """As rules wrote them last."""
        return self.known if self.tensor is None else getattr(self.tensor, "_fxprune", None)


class Stretch:
    """What was told of an earlier stretch: its tensors, made when somebody asks for them."""

    __slots__ = ("ghosts", "memories", "shift")

    def __init__(self, shift: int, ghosts: dict[int, Ghost], memories: dict[int, Memory]) -> None:
        self.shift = shift
        self.ghosts = ghosts  # earlier ghost → later
        self.memories = memories

    def ghost(self, old: Any, labels: Iterator[Labels]) -> Any:
        """The later one of a tensor whose memory was made in the stretch and never written to; its labels come next."""
        if not isinstance(old, Ghost):
            return old
        held, found = next(labels), self.ghosts.get(id(old))
        if found is None:
            memory = self.memories.get(id(old.memory))
            if memory is None:
                memory = self.memories[id(old.memory)] = old.memory.again(self.shift)
            found = Ghost(old.facts, memory, None if old.labels is None else held, None)
            self.ghosts[id(old)] = found
        return found
