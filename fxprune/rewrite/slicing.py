"""Groups + removed units → the compact tensors. There is one way to slice, for every tensor and dimension."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fxprune.groups import Groups
from fxprune.groups.labels import Axis, Ids

__all__ = ["Kept", "Slicer"]

Kept = dict[str, dict[int, tuple[int, ...]]]  # original name → dimension → kept indices, where something was lost


@dataclass(frozen=True, slots=True, eq=False)
class Slicer:
    """Which coordinates live once some units are removed."""

    groups: Groups
    removed: Ids  # unit numbers
    alive: NDArray[np.bool_]  # of each id
    known: dict[int, NDArray[np.bool_] | None] = field(default_factory=dict, repr=False)  # id vector → who lives

    @classmethod
    def of(cls, groups: Groups, removed: Ids) -> Slicer:
        """The slicer that removes these units."""
        return cls(groups, removed, groups.alive(removed))

    def lives(self, axis: Axis | None) -> NDArray[np.bool_] | None:
        """Along an axis, who lives; None if everybody does."""
        if axis is None:
            return None
        key = id(axis.ids)  # labels live as long as the groups do
        if key not in self.known:
            alive = self.alive[axis.ids]
            self.known[key] = None if alive.all() else alive
        return self.known[key]

    def kept(self) -> Kept:
        """Kept indices of every parameter and buffer that lost something."""
        found: Kept = {}
        own = self.groups.traced.named()
        for name, labels in self.groups.labelled.names.items():
            if name not in own:
                continue
            for dim, axis in enumerate(labels.axes):
                alive = self.lives(axis)
                if alive is not None:
                    found.setdefault(name, {})[dim] = tuple(np.flatnonzero(alive).tolist())
        return found

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer of the compact network, by original name; shared ones stay shared.

        Parameters keep their `requires_grad`; all are copies, on the device they were on.
        """
        made: dict[int, torch.Tensor] = {}
        result = {}
        originals = self.groups.labelled.tensors
        for name, labels in self.groups.labelled.names.items():
            tensor = originals[name]
            if id(tensor) not in made:
                masks = [self.lives(axis) for axis in labels.axes]
                value = tensor.detach()
                if all(alive is None for alive in masks):
                    value = value.clone()
                for dim, alive in enumerate(masks):
                    if alive is not None:
                        index = torch.from_numpy(np.flatnonzero(alive)).to(value.device)
                        value = value.index_select(dim, index)
                made[id(tensor)] = (
                    nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
                )
            result[name] = made[id(tensor)]
        return result

    def masked(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer of the original network, with the removed slices set to zero."""
        made: dict[int, torch.Tensor] = {}
        result = {}
        originals = self.groups.labelled.tensors
        for name, labels in self.groups.labelled.names.items():
            tensor = originals[name]
            if id(tensor) not in made:
                value = tensor.detach()
                for dim, axis in enumerate(labels.axes):
                    alive = self.lives(axis)
                    if alive is not None:
                        shape = [1] * tensor.dim()
                        shape[dim] = -1
                        mask = torch.from_numpy(alive).to(value.device).reshape(shape)
                        value = torch.where(mask, value, torch.zeros((), dtype=value.dtype, device=value.device))
                made[id(tensor)] = value
            result[name] = made[id(tensor)]
        return result
