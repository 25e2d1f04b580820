"""`nn.Module` + example → graph, where a decision on the numbers in a picture makes no difference to what is computed.

`if offset.abs().mean() > 50: logger.warning(…)` and `assert not x.isnan().any()` ask for numbers that a trace does not
have. It is made for both answers: if the calls are the same either way, or one way the model itself raises something,
the answer is of no matter.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

from torch import fx, nn

from fxprune.errors import TraceError
from fxprune.trace.blame import refuses
from fxprune.trace.concrete import concrete
from fxprune.trace.copying import share
from fxprune.trace.traced import has_effects

__all__ = ["moot"]

LINES = 12  # that decide; more are not tried


def moot(module: nn.Module, example: tuple[Any, ...]) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """As `concrete`, for a copy in which such decisions make no difference.

    Raises:
        TraceError: there are none, or they do.
    """
    decisions: dict[str, bool] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # what the model prints where it warns
        first = _traced(module, example, decisions)
        lines = list(decisions)
        if not 0 < len(lines) <= LINES:
            raise TraceError("no decision on numbers that could be of no matter")
        for line in lines:
            other = _traced(module, example, {**dict.fromkeys(lines, False), line: True})
            if first is None or other is None:
                first = first or other
            elif _calls(first[0]) != _calls(other[0]):
                raise TraceError(
                    f"the model cannot be traced at {line}: a decision in Python depends on values that only the data"
                    " can tell, and what is computed depends on it",
                    hint="control flow may depend on settings and on sizes, not on the numbers in a picture",
                )
    if first is None:
        raise TraceError("it raises whatever is decided")
    return first


Made = tuple[fx.GraphModule, tuple[str, ...]]


def _traced(module: nn.Module, example: tuple[Any, ...], decisions: dict[str, bool]) -> Made | None:
    """The trace with these decisions; None if the model refuses there: its own line raises or asserts."""
    try:
        return concrete(share(module), example, decisions)
    except TraceError as error:
        if error.__context__ is None or not refuses(error.__context__):
            raise
        return None


def _calls(graph: fx.GraphModule) -> list[Any]:
    """What is done to what, in order, but for what nobody reads; the same for the same calls under other names."""
    layers, bare = dict(graph.named_modules()), fx.Graph()
    bare.output(bare.graph_copy(graph.graph, {}))
    bare.eliminate_dead_code(lambda node: has_effects(node, layers.get(str(node.target))))
    places = {node: k for k, node in enumerate(bare.nodes)}

    def told(node: fx.Node) -> str:
        return f"%{places[node]}"

    return [(node.op, str(node.target), str(fx.node.map_arg((node.args, node.kwargs), told))) for node in bare.nodes]
