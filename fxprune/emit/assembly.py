"""A lowered graph in, the exported program out: parameters as inputs, and for every value a shape in symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from math import prod
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.utils import _pytree as pytree

from fxprune.emit.lowering import Lowered
from fxprune.emit.sizes import Undecided
from fxprune.internals import free_number, mode_of

__all__ = ["assembled"]

FIRST = 1000  # number of the first symbol that is not torch's own


class _Bare(nn.Module):
    """Does next to nothing with its inputs."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return given[0] + 0


class _Shapes:
    """Tensors of symbolic shapes, made of what was seen in each run."""

    def __init__(self, known: Mapping[tuple[int, ...], torch.SymInt], mode: Any) -> None:
        self.sizes: dict[tuple[int, ...], Any] = dict(known)  # in each run → in symbols
        self.simple = list(known)  # those that others may be multiples and products of
        self.mode = mode
        self.tensors: dict[Any, torch.Tensor] = {}
        self.ranges: dict[Any, Any] = {}

    def of(self, runs: Sequence[Any]) -> Any:
        """A value for what a node gave in each run."""
        first = runs[0]
        if isinstance(first, torch.Tensor):
            return self.tensor(runs)
        if isinstance(first, (list, tuple)):
            return [self.of(row) for row in zip(*runs, strict=True)]
        if type(first) is int:
            return self.size(tuple(runs))
        if type(first) is float:
            return self.fresh(tuple(runs))
        if first is None:
            return None
        raise Undecided(f"a value of type {type(first).__name__}")

    def tensor(self, runs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of the shape, strides and type of a tensor; the same for all that are alike."""
        shape = tuple(zip(*(run.shape for run in runs), strict=True))
        stride = tuple(zip(*(run.stride() for run in runs), strict=True))
        key = shape, stride, runs[0].dtype, runs[0].device
        if key not in self.tensors:
            sizes, steps = [self.size(row) for row in shape], [self.size(row) for row in stride]
            with self.mode:
                self.tensors[key] = torch.empty_strided(sizes, steps, dtype=runs[0].dtype, device=runs[0].device)
        return self.tensors[key]

    def size(self, row: tuple[int, ...]) -> Any:
        """A number where it is the same in all runs; else a multiple, a product, or a symbol of its own."""
        if all(value == row[0] for value in row):
            return row[0]
        if row not in self.sizes:
            self.sizes[row] = self.linear(row) or self.product(row) or self.fresh(row)
        return self.sizes[row]

    def linear(self, row: tuple[int, ...]) -> Any:
        """a · s + b for a symbol s, a > 0."""
        for known in self.simple:
            steps = [(x - known[0], y - row[0]) for x, y in zip(known, row, strict=True)]
            one, more = next(step for step in steps if step[0])
            times, rest = divmod(more, one)
            if times > 0 and not rest and all(y == times * x for x, y in steps):
                return times * self.sizes[known] + (row[0] - times * known[0])
        return None

    def product(self, row: tuple[int, ...]) -> Any:
        """a · s · t, or a · s · t · u, for symbols s, t, u."""
        for many in (2, 3):
            for known in combinations_with_replacement(self.simple, many):
                of = [prod(column) for column in zip(*known, strict=True)]
                a, rest = divmod(row[0], of[0]) if of[0] else (0, 0)
                if a > 0 and not rest and all(y == a * x for x, y in zip(of, row, strict=True)):
                    return a * prod(self.sizes[k] for k in known)
        return None

    def fresh(self, row: tuple[Any, ...]) -> Any:
        """A symbol of its own."""
        made, symbol, span = free_number(self.mode, FIRST + len(self.ranges), row[0], min(row))
        self.ranges[symbol] = span
        if isinstance(made, torch.SymInt):
            self.simple.append(row)
            self.sizes[row] = made
        return made


def assembled(
    module: nn.Module, lowered: Lowered, example: tuple[Any, ...], free: Mapping[int, str]
) -> ExportedProgram:
    """The exported program of a lowered network.

    torch.export makes one of a network that does next to nothing, for its inputs and their symbols; graph, parameters
    and constants are put in their place.

    Args:
        module: what the graph was lowered from.
        example: the inputs of the first run.
        free: dimensions of images, the inputs of four dimensions, that differ between the runs.
    """
    axes = pytree.tree_map(lambda x: dict.fromkeys(free, Dim.AUTO) if x.dim() == 4 else {}, example)
    bare = torch.export.export(_Bare(), example, dynamic_shapes=(axes,), strict=False)
    holders = [node for node in bare.graph.nodes if node.op == "placeholder"]
    shapes = _Shapes(symbols(holders, lowered), mode_of(holders[0].meta["val"]))
    graph, twin = fx.Graph(), {}
    for node, name in lowered.held.items():
        twin[node] = graph.placeholder(re.sub(r"\W", "_", f"held_{name}"))
        twin[node].meta["val"] = shapes.mode.from_tensor(_tensor(module, lowered, name), static_shapes=True)
    inputs = [_spec(module, lowered, name, twin[node].name) for node, name in lowered.held.items()]
    for node, holder in zip(lowered.inputs, holders, strict=True):
        twin[node] = graph.node_copy(holder)
        inputs.append(InputSpec(InputKind.USER_INPUT, TensorArgument(twin[node].name), None))
    for node in lowered.graph.nodes:
        if node.op != "placeholder":
            twin[node] = graph.node_copy(node, twin.__getitem__)
            if node.op != "output":
                twin[node].meta["val"] = shapes.of(lowered.values[node])
    return _program(module, lowered, bare, graph, inputs, shapes.ranges)


def symbols(holders: Sequence[fx.Node], lowered: Lowered) -> dict[tuple[int, ...], torch.SymInt]:
    """What a free dimension of an input was in each run → its symbol."""
    found = {}
    for node, holder in zip(lowered.inputs, holders, strict=True):
        columns = zip(*(run.shape for run in lowered.values[node]), strict=True)
        pairs = zip(columns, holder.meta["val"].shape, strict=True)
        found.update({row: size for row, size in pairs if isinstance(size, torch.SymInt)})
    return found


def _tensor(module: nn.Module, lowered: Lowered, name: str) -> torch.Tensor:
    """What is held by a name."""
    if name in lowered.constants:
        return lowered.constants[name]
    path, _, own = name.rpartition(".")
    found: torch.Tensor = getattr(module.get_submodule(path), own)
    return found


def _spec(module: nn.Module, lowered: Lowered, name: str, placeholder: str) -> InputSpec:
    """What a placeholder stands for."""
    argument = TensorArgument(placeholder)
    if name in lowered.constants:
        return InputSpec(InputKind.CONSTANT_TENSOR, argument, name)
    if isinstance(_tensor(module, lowered, name), nn.Parameter):
        return InputSpec(InputKind.PARAMETER, argument, name)
    return InputSpec(InputKind.BUFFER, argument, name, persistent=name in module.state_dict(keep_vars=True))


def _program(
    module: nn.Module,
    lowered: Lowered,
    bare: ExportedProgram,
    graph: fx.Graph,
    inputs: list[InputSpec],
    ranges: Mapping[Any, Any],
) -> ExportedProgram:
    """The program of a graph, and of what its placeholders stand for."""
    last = next(node for node in graph.nodes if node.op == "output")
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in last.args[0]]
    whole = bare.module_call_graph[0]
    assert whole.signature is not None
    whole.signature.inputs = [spec.arg for spec in inputs if spec.kind == InputKind.USER_INPUT]
    whole.signature.outputs, whole.signature.out_spec = [spec.arg for spec in outputs], lowered.outputs
    saved = {name: _tensor(module, lowered, name) for name in module.state_dict()}
    held = {str(spec.target): _tensor(module, lowered, str(spec.target)) for spec in inputs if spec.target is not None}
    return ExportedProgram(
        nn.Module(),
        graph,
        ExportGraphSignature(inputs, outputs),
        saved,
        {**bare.range_constraints, **ranges},
        bare.module_call_graph,
        constants={name: tensor for name, tensor in held.items() if name not in saved},
        verifiers=bare.verifiers,
    )
