"""`nn.Module` → graph by symbolic tracing: sizes stay free, Python runs once on proxies."""

from __future__ import annotations

from torch import fx, nn

from fxprune.errors import TraceError
from fxprune.trace.blame import retell
from fxprune.trace.constants import anew
from fxprune.trace.diagonals import diagonals
from fxprune.trace.tracer import Tracer

__all__ = ["symbolic"]


def symbolic(module: nn.Module, inputs: int) -> fx.GraphModule:
    """Trace a copy (`copying.share`) symbolically, with so many inputs; further arguments keep their defaults.

    Raises:
        TraceError: names the line of the model at which the trace stopped, and why.
    """
    tracer = Tracer(inputs)
    if any(isinstance(part, nn.MultiheadAttention) for part in module.modules()):
        raise TraceError("multi-head attention asks for sizes")
    try:
        graph = tracer.trace(module)
        return diagonals(anew(fx.GraphModule(tracer.root, graph, class_name=type(module).__name__)))
    except (
        Exception,
        SystemExit,
    ) as error:  # the model's own code: told as a line of it
        raise retell(error) from None
