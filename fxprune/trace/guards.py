"""A traced graph + its module → the graph without the guards that turn out to be needless.

Window attention asks whether an image has the size that a mask was kept for, and makes the mask anew if not: the guard
for "not that size" would keep the network from images of 64 rows, though the traced branch is right for them too. What
is asked there is one equality with a constant, so it is tried: at that size in height and width, and in one of them.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from fxprune.trace.faithful import Outputs, Scale, agreements

__all__ = ["ASKED", "lift", "ratio"]

# in the meta of a guard: by how much the example would have to grow to be of the size asked for; what was asked, where
ASKED = "fxprune_asked"


def ratio(condition: fx.Node, value: Any) -> Fraction | None:
    """What a guard for "not equal" asks: the constant over what the example has there; None if it asks another thing.

    Args:
        condition: what was answered with False.
        value: of a node, for the example.
    """
    if condition.target is not operator.eq or len(condition.args) != 2:
        return None
    numbers: list[Any] = [value(a) if isinstance(a, fx.Node) else a for a in condition.args]
    constants = [number for number, a in zip(numbers, condition.args, strict=True) if not isinstance(a, fx.Node)]
    if len(constants) != 1 or not all(type(number) is int and number > 0 for number in numbers):
        return None
    own = numbers[0] if isinstance(condition.args[0], fx.Node) else numbers[1]
    return Fraction(constants[0], own)


def lift(graph: fx.GraphModule, outputs: Outputs) -> tuple[str, ...]:
    """Take away, in place, the guards of such questions where module and graph agree without; what was asked, where.

    What the guards were computed from is left to be eliminated.
    """
    asked: dict[Fraction, list[fx.Node]] = {}
    for node in graph.graph.nodes:
        if node.target is torch._assert and ASKED in node.meta:
            asked.setdefault(node.meta[ASKED][0], []).append(node)
    lifted: list[str] = []
    for by, guards in asked.items():
        scales: tuple[Scale, ...] = ((by, by), (by, 1), (1, by))
        bare, places = fx.Graph(), dict[fx.Node, fx.Node]()
        bare.output(bare.graph_copy(graph.graph, places))
        for guard in guards:
            bare.erase_node(places[guard])
        if (agreements(outputs, fx.GraphModule(graph, bare), scales, enough=2, narrower=False) or 0) < 2:
            continue
        for guard in guards:
            lifted.append(guard.meta[ASKED][1])
            graph.graph.erase_node(guard)
    return tuple(lifted)
