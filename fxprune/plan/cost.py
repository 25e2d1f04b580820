"""Groups + who lives → parameters and MACs, exactly, without building the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fxprune.groups import Groups
from fxprune.groups.dispatch import Value, count_macs
from fxprune.groups.labels import Count, Ids, fullest

__all__ = ["FULL_HD_READY", "Cost", "cost_of", "input_for_output"]

FULL_HD_READY = (1280, 720)  # the output size, width × height, that the field counts MACs at


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """Parameters and MACs of a network as functions of what lives."""

    groups: Groups
    counts: tuple[Count, ...]
    at: tuple[int, int] | None  # output width and height the MACs are for; None: the example's

    def params(self, alive: NDArray[np.bool_]) -> int:
        """Parameters, each shared one counted once, frozen ones too."""
        total = 0
        seen: set[int] = set()
        for name, tensor in self.groups.labelled.tensors.items():
            if isinstance(tensor, nn.Parameter) and id(tensor) not in seen:
                seen.add(id(tensor))
                total += prod(self.groups.labelled.names[name].stored(tensor.shape, alive))
        return total

    def macs(self, alive: NDArray[np.bool_]) -> int:
        """Multiply-accumulates of one image: half of what `torch.utils.flop_counter` counts."""
        total = Fraction(0)
        lived: dict[int, Fraction] = {}
        for count in self.counts:
            for letters in count.parts:
                share = Fraction(count.macs, len(count.parts))
                for ids in letters:
                    if id(ids) not in lived:
                        blocks = len(ids) if ids.ndim == 2 else 1
                        lived[id(ids)] = Fraction(blocks * fullest(alive[ids], blocks), ids.size)
                    share *= lived[id(ids)]
                total += share
        return int(total)

    def measure(self, metric: str, removed: Ids) -> int:
        """`params` or `macs` with these units removed."""
        alive = self.groups.alive(removed)
        return self.params(alive) if metric == "params" else self.macs(alive)


def cost_of(groups: Groups, at: tuple[int, int] | None = FULL_HD_READY) -> Cost:
    """The cost functions of a network, its MACs counted for an output image of this width and height.

    A network that does not map one image to one, or does not run at that size, is counted at its example's size.
    """
    known = tuple(groups.labelled.ties.counts)
    example = None if at is None else input_for_output(groups, at)
    if example is None:
        return Cost(groups, known, None)
    try:
        found = count_macs(groups.traced, example)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):  # a guard of the trace, or of the model
        return Cost(groups, known, None)
    if [count.node for count in known] != [node for node, _ in found]:
        return Cost(groups, known, None)
    return Cost(groups, tuple(replace(c, macs=macs) for c, (_, macs) in zip(known, found, strict=True)), at)


def input_for_output(groups: Groups, at: tuple[int, int]) -> tuple[torch.Tensor, ...] | None:
    """An input of one image whose output is `at` (width, height), rounded down to whole pixels; values do not matter.

    None if the network does not map one 4-d image to one.
    """
    given = groups.traced.example
    output = groups.labelled.output
    if isinstance(output, (tuple, list)) and len(output) == 1:
        output = output[0]
    if len(given) != 1 or not isinstance(given[0], torch.Tensor) or given[0].dim() != 4:
        return None
    if not isinstance(output, Value) or len(output.shape) != 4:
        return None
    x = given[0]
    height = at[1] * x.shape[2] // output.shape[2]
    width = at[0] * x.shape[3] // output.shape[3]
    return (torch.empty(1, x.shape[1], height, width, dtype=x.dtype, device=x.device),)
