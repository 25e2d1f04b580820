"""A graph of torch's functions and layers, and inputs of several sizes, in; a graph of ATen ops for all sizes out.

The graph is run once, on tensors without memory that have a shape for each of the inputs. What torch.export finds out
by algebra, which part of a shape follows from which, is read off those: a number that is the same in all runs is one,
any other is computed in the graph as the network computes it, or asked of the tensor that has it. Where the network
asks whether a size is this or that, and the runs do not agree on the answer, nothing comes out.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxprune.emit.sizes import Undecided, number, symbolic
from fxprune.internals import (
    EveryCall,
    Memo,
    bodiless,
    every_call,
    fake_like,
    fake_mode,
    is_whole,
    no_functions,
    shell,
    without_arithmetic,
)

__all__ = ["Lowered", "NotTaken", "lower"]

ATEN = torch.ops.aten
NUMERIC: dict[Any, Callable[..., Any]] = {  # what Python must know the number for → what need not
    int: math.trunc,
    float: torch.sym_float,
    math.sqrt: lambda number: number**0.5,
    min: lambda *numbers: reduce(torch.sym_min, numbers),
    max: lambda *numbers: reduce(torch.sym_max, numbers),
}
UNSEEN = ("_enter_autocast", "_exit_autocast", "_set_grad_enabled")  # change torch's state, with no ATen call


class NotTaken(Exception):  # noqa: N818, a finding: no user meets it
    """The network does not take the input of one of the runs."""

    def __init__(self, run: int) -> None:
        super().__init__(f"the input of run {run} is not taken")
        self.run = run


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A graph of ATen ops; its placeholders are the parameters and buffers, the constants, then the inputs."""

    graph: fx.Graph
    held: dict[fx.Node, str]  # placeholder → name of a parameter, buffer or constant
    constants: dict[str, torch.Tensor]  # name → a tensor that is none of the network's parameters and buffers
    inputs: tuple[fx.Node, ...]
    values: dict[fx.Node, tuple[Any, ...]]  # node → what it gave in each run: fake tensors, tuples of them, integers
    outputs: Any  # the network's nesting of its outputs


class Standin(torch.Tensor):
    """A tensor of a shape for each run; it has no memory, and nothing can be computed from it but by `_Recorder`."""

    node: fx.Node
    runs: tuple[torch.Tensor, ...]

    __torch_function__ = no_functions  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, shape: Any, stride: Any, like: torch.Tensor, grad: bool) -> Any:
        return bodiless(cls, shape, stride, like, grad)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise Undecided(f"{func} is called where it is not seen")


class _Recorder(EveryCall):  # type: ignore[no-untyped-call]
    """Makes every call in each run, and writes it down once."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.runs = range(runs)
        self.now = 0  # the run that a call is made in; 0 between calls
        self.graph = fx.Graph()
        self.fake = Memo(fake_mode())
        self.values: dict[fx.Node, tuple[Any, ...]] = {}
        self.held: dict[fx.Node, str] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self.tensors: dict[int, Standin] = {}  # id of a parameter, buffer or constant → what stands for it
        self.numbers: dict[Any, fx.Node] = {}  # (function, arguments) → node: each number is computed once
        self.fixed: set[int] = set()  # memory of what was there before the first call
        self.first: fx.Node | None = None  # the first input: what is held goes before it, and so before all calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].device
        if func is ATEN.lift_fresh.default:
            func = ATEN.lift_fresh_copy.default  # a constant stays what it is, whatever is written to its copy
        leaves, spec = pytree.tree_flatten((args, kwargs or {}))
        given = [self.tensor(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        outs = []
        with without_arithmetic(self.fake):
            for k in self.runs:
                self.now = k
                positional, named = pytree.tree_unflatten([in_run(value, k) for value in given], spec)
                outs.append(func(*positional, **named))
        self.now = 0
        self.check_writes(func, args, kwargs or {})
        positional, named = pytree.tree_unflatten([written(value) for value in given], spec)
        changed = given if func._schema.is_mutable else []
        return self.recorded(self.graph.call_function(func, positional, named), outs, changed)

    def recorded(self, node: fx.Node, outs: list[Any], changed: list[Any]) -> Any:
        """What a call gave, each tensor of it by a stand-in; one of those that it wrote to by the stand-in it has."""
        self.values[node] = tuple(outs)
        if isinstance(outs[0], torch.Tensor):
            found = next((v for v in changed if isinstance(v, Standin) and v.runs[0] is outs[0]), None)
            return self.standin(node, outs) if found is None else found
        if outs[0] is None:
            return None
        if not isinstance(outs[0], (list, tuple)) or len({len(out) for out in outs}) > 1:
            raise Undecided(f"{node.target} gives a number, or as many tensors as the input's size says")
        made = []
        for place, row in enumerate(zip(*outs, strict=True)):
            if not isinstance(row[0], torch.Tensor):
                raise Undecided(f"{node.target} gives a number")
            part = self.graph.call_function(operator.getitem, (node, place))
            made.append(self.standin(part, row))
        return type(outs[0])(made)

    def standin(self, node: fx.Node, runs: Sequence[torch.Tensor], grad: bool = False) -> Standin:
        """A stand-in for what a node gives."""

        def asked(function: Any, of: Sequence[Sequence[int]]) -> list[Any]:
            columns = enumerate(zip(*of, strict=True))
            return [number(sizes, self.write, asking(self.write, function, (node, d), sizes)) for d, sizes in columns]

        shape = asked(ATEN.sym_size.int, [run.shape for run in runs])
        stride = asked(ATEN.sym_stride.int, [run.stride() for run in runs])
        made: Standin = Standin(shape, stride, runs[0], grad)
        made.node, made.runs = node, tuple(runs)
        self.values[node] = made.runs
        return made

    def write(self, function: Callable[..., Any], args: tuple[Any, ...], values: tuple[Any, ...]) -> fx.Node:
        """The node that computes a number.

        Raises:
            Undecided: it is no number, but an answer.
        """
        if type(values[0]) not in (int, float):
            raise Undecided("the network asks whether a size is this or that")
        key = function, args
        if key not in self.numbers:
            self.numbers[key] = self.graph.call_function(function, args)
            self.values[self.numbers[key]] = values
        return self.numbers[key]

    def tensor(self, tensor: torch.Tensor) -> Standin:
        """What stands for a tensor; one that is new is a constant.

        Raises:
            Undecided: it has no memory, or is not of a plain kind.
        """
        if isinstance(tensor, Standin) and hasattr(tensor, "runs"):
            return tensor
        if id(tensor) not in self.tensors:
            if not is_whole(tensor):
                raise Undecided(f"a {type(tensor).__name__} is not a constant")
            name = f"lifted_tensor_{len(self.constants)}"
            self.constants[name] = tensor
            self.hold(name, tensor)
        return self.tensors[id(tensor)]

    def hold(self, name: str, tensor: torch.Tensor) -> None:
        """Let a tensor be an input of the graph."""
        with nullcontext() if self.first is None else self.graph.inserting_before(self.first):
            node = self.graph.placeholder(f"held_{len(self.held)}")
        self.held[node] = name
        fake = fake_like(tensor, self.fake.mode)
        self.fixed.add(memory(fake))
        self.tensors[id(tensor)] = self.standin(node, [fake for _ in self.runs], tensor.requires_grad)

    def take(self, place: int, row: tuple[torch.Tensor, ...]) -> Standin:
        """An input, given one tensor for each run."""
        fakes = [fake_like(tensor, self.fake.mode) for tensor in row]
        self.fixed.add(memory(fakes[0]))
        return self.standin(self.graph.placeholder(f"given_{place}"), fakes)

    def check_writes(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse to write to what was there before the first call.

        Raises:
            Undecided: that is what the call does.
        """
        given = {**{a.name: value for a, value in zip(func._schema.arguments, args, strict=False)}, **kwargs}
        written_to = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        for value in pytree.tree_leaves([given.get(name) for name in written_to]):
            if isinstance(value, torch.Tensor) and memory(self.tensor(value).runs[0]) in self.fixed:
                raise Undecided(f"{func} writes to an input, a parameter or a buffer")


class _Runner(fx.Interpreter):
    """Runs a graph with stand-ins for everything that its network holds."""

    def __init__(self, module: fx.GraphModule, recorder: _Recorder) -> None:
        super().__init__(module)
        self.recorder = recorder

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        found = self.fetch_attr(target)
        return self.recorder.tensor(found) if isinstance(found, torch.Tensor) else found

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in NUMERIC and any(map(symbolic, args)):
            return NUMERIC[target](*args)
        return super().call_function(target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target == "contiguous" and isinstance(args[0], Standin):  # torch leaves the call out where it need not be
            return ATEN.contiguous.default(*args, **kwargs)
        return super().call_method(target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        return shell(self.fetch_attr(target), self.recorder.tensor)(*args, **kwargs)


def lower(module: fx.GraphModule, inputs: Sequence[tuple[Any, ...]]) -> Lowered:
    """Write a network down in ATen ops, the composite ones whole, as torch.export does.

    Args:
        module: in evaluation mode; it is not changed.
        inputs: tensors, of a shape for each run.

    Raises:
        Undecided: sizes matter in a way that the runs do not agree on; something is written to that is not the
            network's to write to; a value is asked for.
        NotTaken: the network does not take one of the inputs after the first.
        Exception: whatever it raises for the first.
    """
    if any(getattr(node.target, "__name__", "") in UNSEEN for node in module.graph.nodes):
        raise Undecided("gradients or types are switched within the network")
    recorder = _Recorder(len(inputs))
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        recorder.hold(name, tensor)
    rows = list(zip(*(pytree.tree_leaves(given) for given in inputs), strict=True))
    if not all(isinstance(tensor, torch.Tensor) for row in rows for tensor in row):
        raise Undecided("an input is no tensor")
    given = [recorder.take(place, row) for place, row in enumerate(rows)]
    recorder.first = given[0].node
    arguments = pytree.tree_unflatten(given, pytree.tree_structure(inputs[0]))
    with every_call(recorder), torch.enable_grad():
        try:
            out = _Runner(module, recorder).run(*arguments)
        except Exception:
            if recorder.now:
                raise NotTaken(recorder.now) from None
            raise
    leaves = pytree.tree_leaves(out)
    if not all(isinstance(leaf, Standin) and leaf.node.op == "call_function" for leaf in leaves):
        raise Undecided("an output is no tensor, or one that was there before")
    recorder.graph.output(tuple(leaf.node for leaf in leaves))
    places = tuple(value.node for value in given)
    return Lowered(
        recorder.graph, recorder.held, recorder.constants, places, recorder.values, pytree.tree_structure(out)
    )


def in_run(value: Any, k: int) -> Any:
    """A value as it is in one of the runs."""
    if isinstance(value, Standin):
        return value.runs[k]
    return value.node.values[k] if symbolic(value) else value


def written(value: Any) -> Any:
    """A value as an argument in the graph."""
    if isinstance(value, Standin):
        return value.node
    return value.node.node() if symbolic(value) else value


def asking(write: Callable[..., fx.Node], function: Any, args: tuple[Any, ...], values: Any) -> Callable[[], fx.Node]:
    return lambda: write(function, args, tuple(values))


def memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
