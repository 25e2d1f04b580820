"""Runs a graph once without arithmetic and lets the rules label every value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import delitem, setitem
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.groups import rules
from fxprune.groups.blocks import blocks_of
from fxprune.groups.labels import FIXED, Axis, Count, Labels, Place, Ties, Value, fresh
from fxprune.groups.movement import Prefer
from fxprune.groups.op import Op
from fxprune.groups.repeats import Repeats
from fxprune.groups.roots import Roots
from fxprune.groups.twins import read_nodes
from fxprune.internals import FakeTensorMode, Memo, Mode, bind, fake_like, fake_mode, quietly, real_arithmetic, shell
from fxprune.trace import Traced, module_at, module_path, op_name, source_line

__all__ = ["Labelled", "Value", "count_macs", "label"]

_NONE = object()  # no input
_SILENT = (setitem, torch._assert)  # give nothing, and change nothing but tensors
_WRITE = (setitem, delitem, *vars(list), *vars(dict))  # what may change a list or dict, or see that it changed

Mends = Callable[[str, str], bool]  # (name of the fx op, kind of reduction) → can the rewrite keep it exact?


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The labelled network."""

    names: dict[str, Labels]  # every parameter, buffer and attribute tensor
    tensors: dict[str, torch.Tensor] = field(repr=False)  # the same names → the tensors themselves
    owners: tuple[tuple[str, int, int], ...]  # (tensor, dimension, first id), ascending by id
    named: int  # ids of named tensors are below this
    size: int  # all ids are below this
    values: dict[str, Any]  # fx node name → its value with `Value` for each tensor
    output: Any  # the network's output, with `Value` for each tensor
    needs: dict[str, frozenset[str]]  # fx node name → kinds of reduction the rewrite promised to keep exact
    ties: Ties


class _Book(Mode):
    """Above the fake mode: what is written while a graph is run."""

    repeats: Repeats  # which the runner brings

    def __init__(self, call: Memo) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.call = call
        self.ties = Ties()
        self.next = 0  # the next free id
        self.needs: dict[str, set[str]] = {}
        self.dirty: dict[int, Any] = {}  # storages overwritten with something that may not be zero, kept alive
        self.place = Place("", "", "")
        self.plain = False  # the node has no parameters of its own

    def read(self, tensor: torch.Tensor) -> Labels:
        """Labels of a tensor."""
        return rules.bare(tensor)


class _Rules(_Book):  # type: ignore[no-untyped-call]
    """After each op, its rule labels what came out."""

    def __init__(self, mends: Mends, call: Memo, prefer: Prefer) -> None:
        super().__init__(call)
        self.mends = mends
        self.prefer = prefer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out, macs = self.call(func, args, kwargs)
        flat = (out,) if isinstance(out, torch.Tensor) else _tensors(out)
        if flat:
            op = Op(func, bind(func, args, kwargs), flat, self.place, self.ties, self.read, self.can_mend)
            op.macs = macs
            op.plain = self.plain
            op.fresh = self.fresh
            op.prefer = self.prefer
            with real_arithmetic():  # or the integers that rules compute with would be fake too
                known = rules.find(func)
                found = known(op)
            for tensor, labels in zip(flat, found, strict=True):
                self.write(tensor, labels, bool(func._schema.is_mutable))
            if not known.__module__.startswith(__package__):
                self.repeats.flow.unlike[self.repeats.flow.now] = (
                    True  # of a user's rule nobody knows what it depends on
                )
        return out

    def fresh(self, shape: tuple[int, ...], zero: bool) -> Labels:
        """Ids for a constant tensor made on the way: every coordinate holds the same, so any may go."""
        labels, self.next = fresh(shape, self.next, zero)
        return Labels(labels.axes)

    def can_mend(self, kind: str) -> bool:
        """Ask the rewrite, and hold it to its promise."""
        if not self.mends(self.place.op, kind):
            return False
        self.needs.setdefault(self.place.node, set()).add(kind)
        return True

    def read(self, tensor: torch.Tensor) -> Labels:
        """Labels of a tensor; a storage that was overwritten is zero nowhere for certain."""
        labels: Labels | None = getattr(tensor, "_fxprune", None)
        if labels is None:
            return rules.bare(tensor)
        if self.dirty and tensor.untyped_storage()._cdata in self.dirty:
            axes = tuple(axis and Axis(axis.ids, False) for axis in labels.axes)
            return Labels(axes, labels.weight)
        return labels

    def write(self, tensor: torch.Tensor, labels: Labels, in_place: bool) -> None:
        """Label an output. Writing in place may take zeros away from every view of the storage."""
        if in_place and any(axis is not None and not axis.zero for axis in labels.axes):
            storage = tensor.untyped_storage()
            self.dirty[storage._cdata] = storage
        tensor._fxprune = labels  # type: ignore[attr-defined]
        if in_place:
            self.repeats.flow.wrote(tensor)


class _Counter(_Book):  # type: ignore[no-untyped-call]
    """Counts every op that multiplies and accumulates, in order."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, macs = self.call(func, args, kwargs or {})
        if macs:
            self.ties.counts.append(Count(self.place.node, macs, ()))
        for tensor in _tensors(out) if func._schema.is_mutable else ():
            self.repeats.flow.wrote(tensor)
        return out


class _Runner:
    """Runs a graph node by node on fake inputs, with fake parameters in place of the real ones.

    As `fx.Interpreter`, without what that does for tracebacks and for memory, which is most of its time; and blocks
    that were run before are not run again.
    """

    def __init__(
        self, graph: fx.GraphModule, fakes: dict[int, torch.Tensor], fake: FakeTensorMode, mode: _Book
    ) -> None:
        self.module = graph
        self.fakes = fakes
        self.mode = mode
        self.shells: dict[str, Any] = {}
        self.nodes = list(graph.graph.nodes)
        self.at = {node: k for k, node in enumerate(self.nodes)}
        self.places: dict[int, Place] = {}
        roots = Roots(fakes.values())
        looks = read_nodes(self.nodes, self._held, roots, {real: k for k, real in enumerate(fakes)})
        names = [node.name for node in self.nodes]
        self.repeats = mode.repeats = Repeats(looks, names, self.place, roots, fake, mode)

    def run(self, inputs: Sequence[Any]) -> None:
        """All nodes, in order; placeholders take the inputs, and their defaults where there is none."""
        given = iter(inputs)
        k = 0
        while k < len(self.nodes):
            told = self.repeats.tell()
            if not told:
                self.mode.place = self.place(k)
                try:
                    out = self.value(self.nodes[k], given)
                except Exception as error:
                    error.fxprune_source = source_line(self.nodes[k].meta.get("source"))  # type: ignore[attr-defined]
                    raise
                self.repeats.flow.end(out, self.labelled(out), self.nodes[k].target in _SILENT)
            k += told or 1

    def place(self, k: int) -> Place:
        """Where a node is."""
        if k not in self.places:
            node = self.nodes[k]
            self.places[k] = Place(node.name, op_name(node, self.module), module_path(node))
        return self.places[k]

    def value(self, node: fx.Node, given: Iterator[Any]) -> Any:
        """What one node gives, the rules told whether it has parameters of its own."""
        target = str(node.target)
        if node.op == "placeholder":
            found = tuple(given) if target.startswith("*") else next(given, node.args[0] if node.args else _NONE)
            if found is _NONE:
                raise TypeError(f"the input {target!r} is missing")
            return found
        if node.op == "get_attr":
            return self.fetch(target)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: self.repeats.flow.real(self.at[n]))
        layer = self.fetch(target) if node.op == "call_module" else None
        self.mode.plain = layer is None or not _weighs(layer)
        if layer is not None:
            return layer(*args, **kwargs)
        if args and isinstance(args[0], (list, dict)) and node.target in _WRITE:
            self.repeats.stop()
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs) if node.op == "call_function" else args[0]  # type: ignore[operator]

    def labelled(self, out: Any) -> Any:
        """A value with `Value` in place of each tensor."""
        if isinstance(out, torch.Tensor):
            return Value(tuple(out.shape), self.mode.read(out))
        return pytree.tree_map_only(torch.Tensor, self.labelled, out)

    def fetch(self, target: str) -> Any:
        """A module shell or fake tensor in place of the real one."""
        if target not in self.shells:
            self.shells[target] = self._shell(self._held(target))
        return self.shells[target]

    def _held(self, target: str) -> Any:
        """What a target of the graph stands for."""
        parent, _, name = target.rpartition(".")
        return getattr(module_at(self.module, parent), name)

    def _shell(self, real: Any) -> Any:
        if isinstance(real, torch.Tensor):
            return self.fakes.get(id(real), real)
        return shell(real, lambda t: self.fakes.get(id(t), t)) if isinstance(real, nn.Module) else real


def _weighs(layer: nn.Module) -> bool:
    """Has it parameters of its own? As `any(layer.parameters())`, at once for a leaf."""
    return any(p is not None for p in layer._parameters.values()) or any(map(_weighs, layer.children()))


def label(traced: Traced, mends: Mends = lambda op, kind: False, prefer: Prefer = "most") -> Labelled:
    """Run the network once on fake tensors and label every value.

    Args:
        traced: the network.
        mends: what the rewrite can keep exact, by fx op and kind of reduction; nothing by default.
        prefer: of channels split into heads × head_dim, which may shrink.

    Raises:
        InputError: the example does not fit the network; names the line and the op.
    """
    fake = fake_mode()
    mode = _Rules(mends, Memo(fake), prefer)
    tensors = traced.tensors()
    masked = traced.named()
    blocks = blocks_of(traced)
    names: dict[str, Labels] = {}
    owners: list[tuple[str, int, int]] = []
    fakes: dict[int, torch.Tensor] = {}
    start = FIXED + 1
    for name, tensor in tensors.items():
        if id(tensor) not in fakes:
            fakes[id(tensor)] = fake_like(tensor, fake)
            labels, _ = fresh(_prunable(tensor), start, name in masked, blocks.get(id(tensor), 1))
            for dim, axis in enumerate(labels.axes):
                held = labels.narrow if dim == 1 and axis is None else axis
                if held is not None:
                    owners.append((name, dim, start))
                    start += len(held.ids)
            fakes[id(tensor)]._fxprune = labels  # type: ignore[attr-defined]
        names[name] = fakes[id(tensor)]._fxprune  # type: ignore[attr-defined]
    mode.next = start
    runner = _Runner(traced.graph, fakes, fake, mode)
    inputs = pytree.tree_map_only(torch.Tensor, lambda x: fake_like(x, fake), traced.example)
    with torch.no_grad(), fake, mode:
        runner.run(inputs)
    values = {node.name: value for node, value in zip(runner.nodes, runner.repeats.flow.values, strict=True)}
    last = next(n.name for n in reversed(runner.nodes) if n.op == "output")
    needs = {node: frozenset(kinds) for node, kinds in mode.needs.items()}
    return Labelled(names, tensors, tuple(owners), start, mode.next, values, values[last], needs, mode.ties)


def _prunable(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape, with 1 for dimensions along which nothing can go: those of long tables of integers, which are indices.

    A table of window positions has more coordinates than all the weights of its network.
    """
    table = not (tensor.is_floating_point() or tensor.is_complex()) and not isinstance(tensor, nn.Parameter)
    return tuple(1 if table and size > TABLE else size for size in tensor.shape)


TABLE = 4000  # integers in a row that are no longer taken for one of each channel


def _tensors(out: Any) -> tuple[torch.Tensor, ...]:
    return tuple(t for t in pytree.tree_leaves(out) if isinstance(t, torch.Tensor))


def count_macs(traced: Traced, example: tuple[Any, ...]) -> list[tuple[str, int]]:
    """(fx node, multiply-accumulates) of every op that has some, in order, for inputs like `example`; no arithmetic."""
    fake = fake_mode()
    mode = _Counter(Memo(fake))
    fakes = {id(tensor): fake_like(tensor, fake) for tensor in traced.tensors().values()}
    inputs = pytree.tree_map_only(torch.Tensor, lambda x: fake_like(x, fake), example)
    with torch.no_grad(), quietly(), fake, mode:
        _Runner(traced.graph, fakes, fake, mode).run(inputs)
    return [(count.node, count.macs) for count in mode.ties.counts]
