"""A traced graph + its module → the graph without the guards that turn out to be needless.

Window attention asks whether an image has the size that a mask was kept for, and makes the mask anew if not: the guard
for "not that size" would keep the network from images of 64 rows, though the traced branch is right for them too. What
is asked there is one equality with a constant, so it is tried: at that size in height and width, and in one of them.
Module and graph are the same there if they make the same calls; where they do not, arithmetic tells.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from typing import Any

import torch
from torch import fx, nn

from fxprune.trace.alike import alike
from fxprune.trace.copying import share
from fxprune.trace.faithful import Outputs, agreements
from fxprune.trace.sizes import Scale

__all__ = ["ASKED", "HELD", "lift", "ratio"]

# in the meta of a guard: by how much the example would have to grow to be of the size asked for; what was asked, where
ASKED = "fxprune_asked"
HELD = "fxprune_held"  # and in that of one that asks for a size which the example has

LARGEST = 4  # times the example's size; at more, arithmetic would take too long, and the guard stays


def ratio(condition: fx.Node, value: Any) -> Fraction | None:
    """What a question for equality, or for its contrary, asks: the constant over what the example has there.

    None if it is another question.

    Args:
        condition: what was answered with True or False.
        value: of a node, for the example.
    """
    if condition.target not in (operator.eq, operator.ne) or len(condition.args) != 2:
        return None
    numbers: list[Any] = [value(a) if isinstance(a, fx.Node) else a for a in condition.args]
    constants = [number for number, a in zip(numbers, condition.args, strict=True) if not isinstance(a, fx.Node)]
    if len(constants) != 1 or not all(type(number) is int and number > 0 for number in numbers):
        return None
    own = numbers[0] if isinstance(condition.args[0], fx.Node) else numbers[1]
    return Fraction(constants[0], own)


def lift(graph: fx.GraphModule, outputs: Outputs, module: nn.Module | None) -> tuple[str, ...]:
    """Take away, in place, the guards of such questions where module and graph agree without; what was asked, where.

    What the guards were computed from is left to be eliminated.

    Args:
        outputs: of the module, at sizes at which arithmetic has to tell.
        module: with the parameters that the graph has; None if it writes to them.
    """
    asked: dict[Fraction, list[fx.Node]] = {}
    for node in graph.graph.nodes:
        if node.target is torch._assert and ASKED in node.meta:
            asked.setdefault(node.meta[ASKED][0], []).append(node)
    lifted: list[str] = []
    for by, guards in asked.items():
        bare, places = fx.Graph(), dict[fx.Node, fx.Node]()
        bare.output(bare.graph_copy(graph.graph, places))
        for guard in guards:
            bare.erase_node(places[guard])
        if not _needless(outputs, module, fx.GraphModule(graph, bare), by):
            continue
        for guard in guards:
            lifted.append(guard.meta[ASKED][1])
            graph.graph.erase_node(guard)
    if lifted:
        graph.recompile()
    return tuple(lifted)


def _needless(outputs: Outputs, module: nn.Module | None, bare: fx.GraphModule, by: Fraction) -> bool:
    """Do module and graph agree at the size asked for, in both directions and in one of them?"""
    low = min((wide for _, wide in outputs.agreed), default=1)  # as little of the other direction as will do
    scales: tuple[Scale, ...] = ((by, by), (by, low), (low, by))
    if module is not None and all(
        alike(share(module).forward, share(bare).forward, outputs.inputs(scale)) for scale in scales[:2]
    ):
        return True
    return by <= LARGEST and (agreements(outputs, bare, scales, enough=2, narrower=False) or 0) >= 2
