"""Tensors that are there from the start → what is alike of them, which ids they have, whose memory they share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from fxprune.groups.labels import Axis, Ids, Labels
from fxprune.internals import fake_facts

__all__ = ["NONE", "Roots", "axes_of", "flags_of"]

NONE = -1

_FLAGS = tuple(f.name for f in fields(Labels) if "Axis" not in str(f.type))


class Roots:
    """Parameters, buffers and constants, by their places in the order in which they were given.

    Law: the ids of each follow each other and are no other's, so that of two that look alike, what is known of the
    coordinates of one is known of the other's by counting on.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self.tensors = list(tensors)
        self.of = {id(tensor): k for k, tensor in enumerate(self.tensors)}
        self.labels: list[Labels | None] = [getattr(tensor, "_fxprune", None) for tensor in self.tensors]
        self.arrays: list[list[Ids]] = [[a.ids for a in axes_of(held) if a is not None] for held in self.labels]
        self.place_of = {id(ids): (k, at) for k, arrays in enumerate(self.arrays) for at, ids in enumerate(arrays)}
        self.number_of = {id(held): k for k, held in enumerate(self.labels) if held is not None}  # labels → tensor
        self.first = np.array([int(arrays[0][0]) if arrays else 0 for arrays in self.arrays], np.int64)
        self.count = np.array([sum(map(len, arrays)) for arrays in self.arrays], np.int64)
        storages: dict[int, int] = {}
        self.memory = np.array(
            [storages.setdefault(t.untyped_storage()._cdata, len(storages)) for t in self.tensors], np.int64
        )
        self.one_of_each = np.unique(self.memory, return_index=True)[1].tolist()  # memory → one that lies in it
        self.written = np.zeros(len(storages), bool)  # memory → was it written to?
        kinds: dict[Any, int] = {}
        self.kinds = [self._kind(k, kinds) for k in range(len(self.tensors))]  # equal for those that look alike
        self.kind = np.array(self.kinds, np.int64)

    def _kind(self, k: int, kinds: dict[Any, int]) -> int:
        facts, labels = fake_facts(self.tensors[k]), self.labels[k]
        if facts is None:
            return NONE  # like no other
        axes = tuple(a and (len(a.ids), a.zero, a.alike) for a in axes_of(labels))
        return kinds.setdefault((facts, axes, labels and flags_of(labels)), len(kinds))

    def ids(self, which: Ids) -> Ids:
        """All ids of some of them, one tensor after the other."""
        counts = self.count[which]
        before = np.cumsum(counts) - counts
        return np.repeat(self.first[which] - before, counts) + np.arange(int(counts.sum()))


def axes_of(labels: Labels | None) -> tuple[Axis | None, ...]:
    """Every dimension's axis, and the narrow one."""
    return (*labels.axes, labels.narrow) if labels is not None else ()


def flags_of(labels: Labels) -> tuple[Any, ...]:
    """What else is known of labels."""
    return tuple(getattr(labels, name) for name in _FLAGS)
