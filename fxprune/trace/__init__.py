"""`nn.Module` → `Traced`."""

from __future__ import annotations

from typing import Any

from torch import nn

from fxprune.trace.copying import fold, share
from fxprune.trace.symbolic import symbolic
from fxprune.trace.traced import Traced, module_path, op_name

__all__ = ["Traced", "module_path", "op_name", "trace"]


def trace(module: nn.Module, example: tuple[Any, ...]) -> Traced:
    """Trace a copy of `module`, in eval mode; the module itself is not touched.

    Args:
        module: any network.
        example: its inputs, as a tuple.

    Raises:
        TraceError: the model cannot be traced; names the line that stopped it.
    """
    modes = {name: part.training for name, part in module.named_modules()}
    copy = share(module).eval()
    folded = fold(copy)
    graph = symbolic(copy)
    graph.graph.lint()
    notes = (f"folded into plain weights: {', '.join(folded)}",) if folded else ()
    return Traced(graph, copy, tuple(example), "symbolic", module.training, modes, notes)
