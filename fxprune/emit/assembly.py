"""A lowered graph in, the exported program out: parameters as inputs, and for every value a shape in symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from math import prod
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind, OutputSpec, TensorArgument
from torch.utils import _pytree as pytree

from fxprune.emit.lowering import Lowered
from fxprune.emit.sizes import SizeError
from fxprune.internals import free_number, mode_of

__all__ = ["assembled"]

FIRST = 1000  # number of the first symbol that is not torch's own


class _Same(nn.Module):
    """Holds what a network holds, by the same names, and gives its first input back: what torch makes inputs of."""

    def __init__(self, module: nn.Module, constants: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        kept = set(module.state_dict())
        for name, parameter in module.named_parameters():
            part_of(self, name).register_parameter(name.rpartition(".")[2], parameter)
        for name, buffer in module.named_buffers():
            part_of(self, name).register_buffer(name.rpartition(".")[2], buffer, persistent=name in kept)
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return given[0] + 0


def part_of(whole: nn.Module, name: str) -> nn.Module:
    """The part of a module that a name is of, made if there is none."""
    for own in name.split(".")[:-1]:
        if own not in dict(whole.named_children()):
            whole.add_module(own, nn.Module())
        whole = whole.get_submodule(own)
    return whole


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
        raise SizeError(f"a value of type {type(first).__name__}")

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

    torch.export makes one of a network that holds the same and does next to nothing; its graph is replaced.

    Args:
        module: what the graph was lowered from.
        example: the inputs of the first run.
        free: dimensions of images, the inputs of four dimensions, that differ between the runs.
    """
    axes = pytree.tree_map(lambda x: dict.fromkeys(free, Dim.AUTO) if x.dim() == 4 else {}, example)
    bare = torch.export.export(_Same(module, lowered.constants), example, dynamic_shapes=(axes,), strict=False)
    holders = {node.name: node for node in bare.graph.nodes if node.op == "placeholder"}
    ours = {name: node for node, name in lowered.held.items()}
    inputs = iter(lowered.inputs)
    graph, twin, known = fx.Graph(), {}, {}
    mode: Any = None
    for spec in bare.graph_signature.input_specs:
        holder = holders[spec.arg.name]
        made = graph.node_copy(holder)
        if spec.kind == InputKind.USER_INPUT:
            node = next(inputs)
            mode = mode_of(holder.meta["val"])
            columns = zip(*(run.shape for run in lowered.values[node]), strict=True)
            pairs = zip(columns, holder.meta["val"].shape, strict=True)
            known.update({row: size for row, size in pairs if isinstance(size, torch.SymInt)})
        else:
            node = ours[str(spec.target)]
        twin[node] = made
    shapes = _Shapes(known, mode)
    for node in lowered.graph.nodes:
        if node.op != "placeholder":
            twin[node] = graph.node_copy(node, twin.__getitem__)
            if node.op != "output":
                twin[node].meta["val"] = shapes.of(lowered.values[node])
    return _program(bare, graph, lowered, shapes.ranges)


def _program(bare: ExportedProgram, graph: fx.Graph, lowered: Lowered, ranges: Mapping[Any, Any]) -> ExportedProgram:
    """A program with another graph, of other outputs."""
    last = next(node for node in graph.nodes if node.op == "output")
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in last.args[0]]
    whole = bare.module_call_graph[0]
    assert whole.signature is not None
    whole.signature.outputs, whole.signature.out_spec = [spec.arg for spec in outputs], lowered.outputs
    return ExportedProgram(
        bare.graph_module,
        graph,
        ExportGraphSignature(bare.graph_signature.input_specs, outputs),
        bare.state_dict,
        {**bare.range_constraints, **ranges},
        bare.module_call_graph,
        constants=bare.constants,
        verifiers=bare.verifiers,
    )
