"""`nn.Module` → `Traced`, by the first rung of a ladder that holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from fxprune.errors import TraceError
from fxprune.trace.blame import retell
from fxprune.trace.concrete import GUARD, concrete
from fxprune.trace.copying import fold, share
from fxprune.trace.exported import exported
from fxprune.trace.symbolic import symbolic
from fxprune.trace.traced import Traced, has_effects, module_path, op_name

__all__ = ["GUARD", "Traced", "has_effects", "module_path", "op_name", "retell", "trace"]


def trace(module: nn.Module, example: tuple[Any, ...]) -> Traced:
    """Trace a copy of `module`, in eval mode; the module itself is not touched.

    The rungs: *symbolic* (Python sees no values), *concrete* (Python may ask for the example's sizes; what it was told
    is guarded in the graph), *export* (`torch.export`: ATen ops).

    Args:
        module: any network.
        example: its inputs, as a tuple.

    Raises:
        TraceError: no rung holds; names the line of the model that stopped the last one.
    """
    modes = {name: part.training for name, part in module.named_modules()}
    _nameable(modes)
    copy = share(module).eval()
    folded = fold(copy)
    notes = [f"folded into plain weights: {', '.join(folded)}"] if folded else []
    rung = "symbolic"
    try:
        graph = symbolic(share(copy), len(example))
    except TraceError:
        try:
            rung = "concrete"
            graph, answers = concrete(share(copy), example)
            notes += [f"traced for {a.value!r} at {a.where}" for a in answers if a.free]
        except TraceError as stopped:
            rung = "export"
            graph, fixed = _last(copy, example, stopped)
            notes += [fixed] if fixed else []
    _by_position(graph.graph)
    layers = dict(graph.named_modules())
    if graph.graph.eliminate_dead_code(lambda node: has_effects(node, layers.get(str(node.target)))):
        graph.delete_all_unused_submodules()
        graph.recompile()
    return Traced(graph, copy, tuple(example), rung, module.training, modes, tuple(dict.fromkeys(notes)))


def _last(copy: nn.Module, example: tuple[Any, ...], stopped: TraceError) -> tuple[fx.GraphModule, str | None]:
    """The last rung; if it does not hold either, the one before is told: it names the line."""
    try:
        return exported(share(copy), example)
    except TraceError:
        raise stopped from None


def _by_position(graph: fx.Graph) -> None:
    """The tensor that a function works on is its first argument, also where it was given by name."""
    for node in graph.nodes:
        for name in ("input", "self"):
            if node.op == "call_function" and not node.args and name in node.kwargs:
                node.args = (node.kwargs[name],)
                node.kwargs = {key: value for key, value in node.kwargs.items() if key != name}


def _nameable(paths: Iterable[str]) -> None:
    """Names end up in generated source: one that could break out of it is refused.

    Raises:
        TraceError: a module's name holds a quote, a backslash or a line break.
    """
    bad = next((path for path in paths if set(path) & set("\"'\\\n\r")), None)
    if bad is not None:
        raise TraceError(f"a module is called {bad!r}", hint="rename it without quotes, backslashes and line breaks")
