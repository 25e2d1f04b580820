"""A trace made at the very size that a model asks for → one made at another size, if that one serves for more sizes.

`if (h, w) == self.input_resolution` holds for an example of that size alone: its trace would be for nothing else.
"""

from __future__ import annotations

from fractions import Fraction

from torch import fx, nn

from fxprune.errors import TraceError
from fxprune.trace.alike import alike
from fxprune.trace.concrete import concrete
from fxprune.trace.copying import share
from fxprune.trace.faithful import Outputs, Scale, agreements
from fxprune.trace.guards import HELD, lift

__all__ = ["elsewhere", "held_to"]

_SCALES: tuple[Scale, ...] = ((Fraction(1, 2), Fraction(1, 2)), (2, 2))


def held_to(graph: fx.GraphModule) -> bool:
    """Was the example of a size that the model asks for?"""
    return any(HELD in node.meta for node in graph.graph.nodes)


def elsewhere(
    copy: nn.Module, outputs: Outputs, writes: bool, told: tuple[str, ...]
) -> tuple[fx.GraphModule, tuple[str, ...]] | None:
    """A trace for half or twice the example, which is right for the example too, and what it is specialised to.

    Args:
        copy: the module; a copy of `outputs.module`.
        writes: whether it writes to its parameters.
        told: what the trace at hand is specialised to; one that is to take its place is specialised to less.
    """
    for scale in _SCALES:
        there = Outputs(outputs.module, outputs.inputs(scale))
        try:
            graph, found = concrete(share(copy), there.example)
        except TraceError:
            continue
        if held_to(graph) or not _agree(copy, there, writes, graph, there.smaller):
            continue
        lifted = {f"traced for {asked}" for asked in lift(graph, there, None if writes else copy)}
        left = tuple(note for note in found if note not in lifted)
        if len(set(left)) < len(set(told)) and _agree(copy, outputs, writes, graph, ((1, 1),)):
            return graph, left
    return None


def _agree(copy: nn.Module, outputs: Outputs, writes: bool, graph: fx.GraphModule, scales: tuple[Scale, ...]) -> bool:
    """Does the graph give what the module gives: for the example, or else at one of these scales of it?"""
    if not writes and alike(share(copy).forward, share(graph).forward, outputs.example):
        return True
    return agreements(outputs, graph, scales, enough=1, narrower=False) == 1
