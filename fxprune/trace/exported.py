"""`nn.Module` + example → graph by `torch.export`: the last rung, for Python that fx cannot follow. ATen ops."""

from __future__ import annotations

import operator
import re
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.errors import TraceError
from fxprune.internals import quietly
from fxprune.trace.blame import retell
from fxprune.trace.concrete import GUARD
from fxprune.trace.faithful import LARGER, Outputs, agreements

__all__ = ["exported"]


def exported(module: nn.Module, example: tuple[Any, ...]) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """Export a copy (`copying.share`); the graph, and what it is fixed at, if sizes are not free.

    An export that claims free sizes can be wrong at others: it is run beside the module at another size, and held to
    the example's size if they differ.

    Raises:
        TraceError: the module cannot be exported; names the line of the model that stopped it.
    """
    try:
        with quietly(), torch.no_grad():
            graph = _exported(module, example)
    except (Exception, SystemExit) as error:  # the model's own code ran: whatever it raised is told as a line of it
        raise retell(error) from None
    inputs = [n for n in graph.graph.nodes if n.op == "placeholder"]
    fixed = {n: _fixed_dimensions(n.meta.get("val")) for n in inputs}
    if not agreements(Outputs(module, example), graph, LARGER, enough=3, narrower=False):
        fixed = {n: list(range(x.dim())) for n, x in zip(inputs, example, strict=False) if isinstance(x, torch.Tensor)}
    _guard(graph, fixed, example)
    told = [f"{n.name} is {'x'.join(map(str, x.shape))}" for n, x in zip(inputs, example, strict=False) if fixed.get(n)]
    return graph, (f"traced for sizes of which some are fixed: {', '.join(told)}",) if told else ()


_LINE = re.compile(r'File "(.+)", line (\d+)')  # of the model, in what torch remembers of where a node came from


def _exported(module: nn.Module, example: tuple[Any, ...]) -> fx.GraphModule:
    free = [_free(x) for x in example]
    twice = tuple(x.repeat(2, 1, 1, 1) if isinstance(x, torch.Tensor) and x.dim() == 4 else x for x in example)
    program = None
    for given, dynamic in (
        (twice, free),
        (example, free),
        (example, None),
    ):  # torch takes a batch of one for a constant
        try:
            program = torch.export.export(module, given, dynamic_shapes=dynamic, strict=False)
            break
        except Exception as error:  # some sizes cannot be free: try with fewer
            last = error
    if program is None:
        raise last
    made = program.module(check_guards=False)
    assert isinstance(made, fx.GraphModule)
    for node in made.graph.nodes:
        lines = _LINE.findall(node.meta.get("stack_trace") or "")
        if lines:
            node.meta["source"] = lines[-1][0], int(lines[-1][1])
    names = [n for n in made.graph.nodes if n.op == "placeholder"]
    made.graph.set_codegen(fx.graph.CodeGen())  # plain inputs and outputs instead of flattened ones
    if len(names) != len(pytree.tree_leaves(example)):
        raise TraceError("its inputs are nested")
    for node in list(made.graph.nodes):
        if node.op == "call_module" and not any(made.get_submodule(str(node.target)).parameters()):
            made.graph.erase_node(node) if not node.users else None
    _unpack_output(made, program)
    made.recompile()
    return made


def _unpack_output(made: fx.GraphModule, program: Any) -> None:
    """A flat list of outputs → the module's own nesting."""
    last = next(n for n in made.graph.nodes if n.op == "output")
    flat = last.args[0]
    last.args = (pytree.tree_unflatten(list(flat), program.call_spec.out_spec),)


def _free(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return None
    return dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO) if value.dim() == 4 else None


def _fixed_dimensions(value: Any) -> list[int]:
    """Batch, height and width where the export could not leave them free."""
    if not isinstance(value, torch.Tensor) or value.dim() != 4:
        return []
    return [d for d in (0, 2, 3) if isinstance(value.shape[d], int)]


def _guard(graph: fx.GraphModule, fixed: dict[fx.Node, Any], example: tuple[Any, ...]) -> None:
    """A check for every dimension of an input that is fixed."""
    inputs = [n for n in graph.graph.nodes if n.op == "placeholder"]
    with graph.graph.inserting_before(inputs[-1].next):
        for node, value in zip(inputs, example, strict=False):
            for dim in fixed.get(node, ()):
                message = f"{GUARD} {'x'.join(map(str, value.shape))}; give fxprune an example of this size"
                size = graph.graph.call_method("size", (node, dim))
                same = graph.graph.call_function(operator.eq, (size, value.shape[dim]))
                graph.graph.call_function(torch._assert, (same, message))
    graph.recompile()
