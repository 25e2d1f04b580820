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
from fxprune.trace.faithful import Outputs, agreements
from fxprune.trace.guards import HELD, lift
from fxprune.trace.padded import EVEN, unpad
from fxprune.trace.sizes import Scale, images

__all__ = ["elsewhere", "held_to"]


def held_to(graph: fx.GraphModule) -> bool:
    """Was the example of a size that the model asks for, or one at which it has nothing to pad?"""
    return any(HELD in node.meta or EVEN in node.meta for node in graph.graph.nodes)


def _asks(graph: fx.GraphModule) -> bool:
    return any(HELD in node.meta for node in graph.graph.nodes)


def _scales(graph: fx.GraphModule, outputs: Outputs) -> tuple[Scale, ...]:
    """Where to trace instead: at half and twice the size, one pixel less of each if there is to be something to pad."""
    own = images(outputs.example)
    if not own or not any(EVEN in node.meta for node in graph.graph.nodes):
        return (Fraction(1, 2), Fraction(1, 2)), (2, 2)
    high, wide = own[0].shape[-2:]
    sizes = ((high - 1, wide - 1), (high // 2 - 1, wide // 2 - 1), (2 * high - 1, 2 * wide - 1))
    return tuple((Fraction(h, high), Fraction(w, wide)) for h, w in sizes if min(h, w) > 0)


def elsewhere(
    copy: nn.Module, outputs: Outputs, writes: bool, held: fx.GraphModule, told: tuple[str, ...]
) -> tuple[fx.GraphModule, tuple[str, ...]] | None:
    """A trace for half or twice the example, which is right for the example too, and what it is specialised to.

    Args:
        copy: the module; a copy of `outputs.module`.
        writes: whether it writes to its parameters.
        held: the trace at hand, made for the example.
        told: what that is specialised to; one that is to take its place is specialised to less.
    """
    for scale in _scales(held, outputs):
        there = Outputs(outputs.module, outputs.inputs(scale))
        try:
            graph, found = concrete(share(copy), there.example)
        except TraceError:
            continue
        if set(told) <= set(found) and not _asks(held):
            return None  # one pixel less made no difference: it is not about sizes
        if _asks(graph) or not _agree(copy, there, writes, graph, there.smaller):
            continue
        lifted = {
            f"traced for {asked}" for asked in (*lift(graph, there, None if writes else copy), *unpad(graph, there))
        }
        left = tuple(note for note in found if note not in lifted)
        if len(set(left)) < len(set(told)) and _serves(copy, outputs, writes, graph):
            return graph, left
    return None


def _agree(copy: nn.Module, outputs: Outputs, writes: bool, graph: fx.GraphModule, scales: tuple[Scale, ...]) -> bool:
    """Does the graph give what the module gives: for the example, or else at one of these scales of it?"""
    if not writes and alike(share(copy).forward, share(graph).forward, outputs.example):
        return True
    return agreements(outputs, graph, scales, enough=1, narrower=False) == 1


def _serves(copy: nn.Module, outputs: Outputs, writes: bool, graph: fx.GraphModule) -> bool:
    """Is it right for the example? If it takes that at all, it is enough that it is right for a smaller one."""
    takes = alike(share(graph).forward, share(graph).forward, outputs.example)
    return _agree(copy, outputs, writes, graph, outputs.smaller if takes else ((1, 1),))
