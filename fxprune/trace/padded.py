"""A graph that pads or crops → the same without its checks that there is something to pad.

`if pad_h or pad_w: x = F.pad(x, …)` asks whether a number is zero. A trace made where it is not is right where it is as
well, if to pad by nothing is to leave the image alone: that is tried, with nothing to pad along both directions and
along one of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import fx

from fxprune.trace.faithful import Outputs, agreements
from fxprune.trace.sizes import Scale, images

__all__ = ["EVEN", "PADS", "asks_for_zero", "unpad"]

PADS = "fxprune_pads"  # in the meta of a guard for "other than zero": what was asked, where
EVEN = "fxprune_even"  # and in that of one for "zero"

_SIDES = (16, 32, 64, 128, 24, 48)  # pixels; multiples of what networks pad to


def asks_for_zero(condition: fx.Node, value: Callable[[fx.Node], Any]) -> bool:
    """Is it a question whether a number is zero, or whether two numbers differ?

    Args:
        condition: what was asked for its truth.
        value: of a node, for the example.
    """
    if type(value(condition)) is int:
        return True
    numbers = [value(a) if isinstance(a, fx.Node) else a for a in condition.args]
    if not all(type(number) is int for number in numbers):
        return False
    if condition.target is operator.gt:
        return bool(numbers[1] == 0)
    return condition.target is operator.ne


def unpad(graph: fx.GraphModule, outputs: Outputs) -> tuple[str, ...]:
    """Take away, in place, the guards for "not zero" if module and graph agree without; what was asked, where."""
    guards = [node for node in graph.graph.nodes if PADS in node.meta]
    notes = {str(guard.args[1]) for guard in guards}
    side = next((side for side in _SIDES if guards and _refused(graph, outputs, side) in notes), None)
    if side is None:
        return ()
    bare, places = fx.Graph(), dict[fx.Node, fx.Node]()
    bare.output(bare.graph_copy(graph.graph, places))
    for guard in guards:
        bare.erase_node(places[guard])
    scales = [_scale(outputs, *size) for size in ((side, side), (side, 2 * side - 1), (2 * side - 1, side))]
    if agreements(outputs, fx.GraphModule(graph, bare), scales, enough=3, narrower=False) != 3:
        return ()
    for guard in guards:
        graph.graph.erase_node(guard)
    graph.recompile()
    return tuple(guard.meta[PADS] for guard in guards)


def _scale(outputs: Outputs, high: int, wide: int) -> Scale:
    own = images(outputs.example)[0]
    return Fraction(high, own.shape[-2]), Fraction(wide, own.shape[-1])


def _refused(graph: fx.GraphModule, outputs: Outputs, side: int) -> str | None:
    """What a check in the graph says to a square image; None if it takes it, or fails in another way."""
    if not images(outputs.example):
        return None
    try:
        with torch.no_grad():
            graph.forward(*outputs.inputs(_scale(outputs, side, side)))
    except AssertionError as error:
        return str(error)
    except Exception:  # whatever the trace of the model raises
        return None
    return None
