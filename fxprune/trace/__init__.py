"""`nn.Module` → `Traced`, by the first rung of a ladder that holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import fx, nn

from fxprune.errors import TraceError
from fxprune.internals import garbage_waits
from fxprune.models import by_position
from fxprune.trace.blame import retell, source_line
from fxprune.trace.concrete import GUARD, concrete
from fxprune.trace.copying import fold, share
from fxprune.trace.elsewhere import elsewhere, held_to
from fxprune.trace.exported import exported
from fxprune.trace.faithful import Outputs, agreements
from fxprune.trace.guards import lift
from fxprune.trace.moot import moot
from fxprune.trace.padded import unpad
from fxprune.trace.symbolic import symbolic
from fxprune.trace.traced import Traced, has_effects, held, module_at, module_path, op_name

__all__ = ["GUARD", "Traced", "has_effects", "module_at", "module_path", "op_name", "retell", "source_line", "trace"]


@garbage_waits()
def trace(module: nn.Module, example: tuple[Any, ...]) -> Traced:
    """Trace a copy of `module`, in eval mode; the module itself is not touched.

    The rungs: *symbolic* (Python sees no values), *concrete* (Python may ask for the example's sizes; what it was told
    is guarded in the graph), concrete once more with decisions that are *moot*, *export* (`torch.export`: ATen ops).

    Args:
        module: any network.
        example: its inputs, as a tuple.

    Raises:
        TraceError: no rung holds; names the line of the model that stopped the last one.
    """
    modes = {name: part.training for name, part in module.named_modules()}
    _nameable(modes)
    _shaped(module)
    _free(module)
    copy = share(module).eval()
    by_position(copy)
    folded = fold(copy)
    notes = [f"folded into plain weights: {', '.join(folded)}"] if folded else []
    outputs = Outputs(share(copy, own=True), example)
    merged = () if _on_meta(copy) else _written(copy, outputs)
    if merged:
        copy = _updated(copy, outputs.module, merged)
        more = f" and {len(merged) - 1} more" if len(merged) > 1 else ""
        notes.append(f"its forward computes weights from others; merged first: {merged[0]}{more}")
    rung, graph, told = _climb(copy, outputs)
    _by_position(graph.graph)
    there = elsewhere(copy, outputs, bool(merged), graph, told) if held_to(graph) else None
    if there is not None:
        graph, told = there
        _by_position(graph.graph)
    lifted = {
        f"traced for {asked}" for asked in (*lift(graph, outputs, None if merged else copy), *unpad(graph, outputs))
    }
    layers = dict(graph.named_modules())
    if graph.graph.eliminate_dead_code(lambda node: has_effects(node, layers.get(str(node.target)))):
        graph.delete_all_unused_submodules()
        graph.recompile()
    told = tuple(dict.fromkeys((*notes, *(note for note in told if note not in lifted))))
    return Traced(graph, copy, tuple(example), rung, module.training, modes, merged, told)


def _written(copy: nn.Module, outputs: Outputs) -> tuple[str, ...]:
    """Names of the parameters that a forward overwrites, found by one; `outputs` is of a copy with its own."""
    # the old memory is held on to, or what takes its place might get it again
    before = {name: (_state(own), own.detach()) for name, own in outputs.module.named_parameters()}
    next((known for scale in outputs.smaller if (known := outputs.at(scale)) is not None), None)
    after = held(outputs.module)
    return tuple(
        name
        for name, original in copy.named_parameters()
        if (now := after.get(name)) is None or _state(now) != before[name][0] or not _equal(now, original)
    )


def _state(tensor: torch.Tensor) -> tuple[int, int]:
    """What changes when other memory is put in a tensor's place (`.data = `), or its own is written to."""
    return tensor.data_ptr(), tensor._version


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Do they hold the same, not-a-number included? `.data.copy_` leaves no other trace."""
    return torch.equal(a, b) or torch.equal(a.detach().nan_to_num(), b.detach().nan_to_num())


def _updated(copy: nn.Module, after: nn.Module, names: Iterable[str]) -> nn.Module:
    """A copy with its own parameters, of which these are as a forward left them."""
    made = share(copy, own=True)
    for name in names:
        made.get_parameter(name).data = after.get_parameter(name).data
    return made


Rung = Callable[[nn.Module, tuple[Any, ...]], tuple[fx.GraphModule, tuple[str, ...]]]

_RUNGS: tuple[tuple[str, Rung], ...] = (
    ("symbolic", lambda module, example: (symbolic(module, len(example)), ())),
    ("concrete", concrete),
    ("concrete", moot),
    ("export", exported),
)


def _climb(copy: nn.Module, outputs: Outputs) -> tuple[str, fx.GraphModule, tuple[str, ...]]:
    """The first rung whose graph agrees with the module: its name, the graph, and what was specialised.

    If none does, the error of the third or the second rung is told: they name the line.
    """
    stopped: list[TraceError] = []
    for name, rung in _RUNGS:
        try:
            graph, told = rung(share(copy), outputs.example)
        except TraceError as error:
            stopped.append(error)
            continue
        if _on_meta(copy) or agreements(outputs, graph, outputs.smaller, enough=1) is not None:
            return name, graph, told
        stopped.append(TraceError("the traced network computes something else than the model"))
    raise next((error for error in stopped[2:1:-1] if str(error).startswith("the model")), stopped[1])


def _on_meta(module: nn.Module) -> bool:
    return any(tensor.device.type == "meta" for tensor in held(module).values())


def _by_position(graph: fx.Graph) -> None:
    """The tensor that a function works on is its first argument, also where it was given by name."""
    for node in graph.nodes:
        for name in ("input", "self"):
            if node.op == "call_function" and not node.args and name in node.kwargs:
                node.args = (node.kwargs[name],)
                node.kwargs = {key: value for key, value in node.kwargs.items() if key != name}


def _shaped(module: nn.Module) -> None:
    """Refuse layers that wait for their first input to know their shape.

    Raises:
        TraceError: names one.
    """
    lazy = next((name for name, tensor in held(module).items() if nn.parameter.is_lazy(tensor)), None)
    if lazy is not None:
        raise TraceError(f"{lazy} has no shape yet: its layer is lazy", hint="run the model once on an example first")


def _nameable(paths: Iterable[str]) -> None:
    """Names end up in generated source: one that could break out of it is refused.

    Raises:
        TraceError: a module's name holds a double quote, a backslash or a line break.
    """
    bad = next((path for path in paths if set(path) & set('"\\\n\r')), None)
    if bad is not None:
        raise TraceError(
            f"a module is called {bad!r}", hint="rename it without double quotes, backslashes and line breaks"
        )


_TAKEN = frozenset(vars(fx.GraphModule)) - frozenset(dir(nn.Module))  # "graph", "code", …


def _free(module: nn.Module) -> None:
    """Refuse what the network itself holds under a name that a graph keeps for its own.

    Raises:
        TraceError: names it.
    """
    own = (*module._modules, *module._parameters, *module._buffers)
    taken = next((name for name in own if name in _TAKEN), None)
    if taken is not None:
        raise TraceError(
            f"the network holds something called {taken!r}, a name that torch.fx keeps for its own",
            hint="put the network into another that holds it under another name, as in nn.Sequential(network)",
        )
