"""`nn.Module` → graph by symbolic tracing: shapes stay free, Python runs once on proxies."""

from __future__ import annotations

import linecache
import os
import sysconfig
from types import TracebackType

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError as FxTraceError

from fxprune.errors import TraceError

__all__ = ["symbolic", "user_line"]

# torch.nn modules that are more than one layer: looked into
_OPENED = (
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


class _Tracer(fx.Tracer):
    """Stops at the layers of torch.nn; opens everything else, subclasses of layers included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) and not isinstance(m, _OPENED)


def symbolic(module: nn.Module) -> fx.GraphModule:
    """Trace a copy (`copying.share`) symbolically.

    Raises:
        TraceError: names the line of the model at which the trace stopped, and why.
    """
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
        return fx.GraphModule(tracer.root, graph, class_name=type(module).__name__)
    except (
        FxTraceError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
        IndexError,
        KeyError,
        AssertionError,
        NotImplementedError,
        NameError,
    ) as error:
        raise retell(error) from None


def retell(error: Exception) -> TraceError:
    """A foreign error during tracing, told as the line of the model that caused it."""
    where = user_line(error.__traceback__)
    if isinstance(error, FxTraceError):
        what = "a decision in Python depends on a value inside the network"
    else:
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    place = f" at {where}" if where else ""
    return TraceError(
        f"the model cannot be traced{place}: {what}",
        hint="control flow, asserts and conversions may depend on constants and on settings, not on what flows through",
    )


def user_line(traceback: TracebackType | None) -> str | None:
    """`file:line, in function: source` of the innermost frame that is neither torch's, Python's nor ours."""
    ours = (
        os.path.dirname(torch.__file__),
        os.path.dirname(os.path.dirname(__file__)) + os.sep + "trace",
        sysconfig.get_paths()["stdlib"] + os.sep,
    )
    found = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(ours) or (
            "site-packages" in code.co_filename and "torch" not in code.co_filename
        ):
            text = linecache.getline(code.co_filename, traceback.tb_lineno).strip()
            found = f"{code.co_filename}:{traceback.tb_lineno}, in {code.co_name}: {text}"
        traceback = traceback.tb_next
    return found
