"""The fx graph of a network → its `Flow`: one walk that keeps layers and the ops that matter, and contracts the rest.

Laws:
- A node is kept if it has parameters whose coordinates are followed, if several values meet in it, if it splits, picks
  or resizes, or if it ties or protects channels. Everything else (activations, views, …) becomes part of an edge.
- What happens inside a module with parameters of its own and no modules in it is one node: a layer its author wrote.
- Widths and groups are read off the values that flow, so a layer written with `torch.nn.functional` looks like any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.groups import Groups
from fxprune.groups.dispatch import Value
from fxprune.groups.labels import FIXED, Ids
from fxprune.trace import module_path, op_name
from fxprune.view.flow import Edge, Flow, Portion, Stop

__all__ = ["flow_of"]

ADDS = frozenset({"add", "iadd", "sub", "isub"})


def flow_of(groups: Groups, removed: Ids | None = None) -> Flow:
    """The contracted graph of a network.

    Args:
        groups: what was found.
        removed: units that a plan takes away; None: there is no plan.
    """
    return _Reader(groups, removed).read()


class _Reader:
    """Walks the fx graph once."""

    def __init__(self, groups: Groups, removed: Ids | None) -> None:
        self.groups = groups
        self.removed = removed
        self.alive = groups.alive(np.empty(0, np.int64) if removed is None else removed)
        self.root: nn.Module = groups.traced.graph
        self.group_of = np.full(int(groups.unit_of.max(initial=0)) + 1, -1)
        for group in groups:
            self.group_of[group.units] = group.index
        ties = groups.labelled.ties
        self.tied = {event.place.node for event in ties.events if _crosses(event.a, event.b)}
        self.barred = {p.place.node for p in ties.protections if p.reason is not None}
        self.tensors_of, self.owner_of = _tensors(groups)
        self.layered: dict[str, bool] = {}
        self.member_of: dict[str, list[int]] = defaultdict(list)
        for group in groups:
            for name in dict.fromkeys(member.tensor for member in group.members):
                self.member_of[name].append(group.index)

    def read(self) -> Flow:
        """Every node of the graph, in order."""
        stops: list[Stop] = []
        edges: dict[tuple[int, int], bool] = {}
        arrives: dict[str, tuple[int, ...]] = {}  # fx node → the stops that its value comes from
        before: list[set[int]] = []  # of each stop, the stops that feed it
        layers: dict[str, int] = {}  # call of a layer its author wrote → its stop
        for node in self.groups.traced.graph.graph.nodes:
            value = self.groups.labelled.values.get(node.name)
            if node.op != "output" and not self._flows(value):
                continue
            inputs = [n for n in dict.fromkeys(node.all_input_nodes) if n.name in arrives]
            if not inputs and node.op != "placeholder":
                continue  # made of sizes and numbers alone
            sources = tuple(dict.fromkeys(stop for n in inputs for stop in arrives[n.name]))
            tensors = self._parameters(node)
            if not self._matters(node, inputs, value, tensors):
                arrives[node.name] = sources
                continue
            stop = self._stop(node, inputs, value, tensors)
            call = self._written(stop)
            if call in layers:
                at = layers[call]
                stops[at] = _merged(stops[at], stop)
                for source in sources:
                    if source != at:
                        edges[source, at] = False
                        before[at].add(source)
                arrives[node.name] = (at,)
                continue
            if call:
                layers[call] = len(stops)
                stop = replace(stop, boxes=stop.boxes[:-1], path=stop.boxes[-1][1], what=self._class(stop.boxes[-1][1]))
            for source in sources:
                edges[source, len(stops)] = False
            if stop.what in ADDS and len(sources) > 1:
                for source in sources:
                    others = [other for other in sources if other != source]
                    edges[source, len(stops)] = any(_reaches(before, source, other) for other in others)
            before.append(set(sources))
            arrives[node.name] = (len(stops),)
            stops.append(stop)
        made = tuple(Edge(a, b, residual) for (a, b), residual in edges.items())
        return Flow(self.groups, tuple(stops), made, self.removed is not None, self.alive)

    def _written(self, stop: Stop) -> str:
        """The call of a module with parameters of its own and no modules in it; empty if the stop is in none."""
        if not stop.boxes or stop.kind not in ("layer", "op"):
            return ""
        call, path = stop.boxes[-1]
        if path not in self.layered:
            inside = self._module(path)
            bare = inside is not None and not any(True for _ in inside.children())
            self.layered[path] = bare and path in self.tensors_of
        return call if self.layered[path] else ""

    def _module(self, path: str) -> nn.Module | None:
        """A module of the model as it was given; the graph itself keeps only the layers it calls."""
        try:
            return self.groups.traced.module.get_submodule(path)
        except AttributeError:
            return None

    def _class(self, path: str) -> str:
        return type(self._module(path)).__name__

    def _flows(self, value: Any) -> bool:
        found = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Value)]
        return any(not leaf.labels.weight for leaf in found)

    def _parameters(self, node: fx.Node) -> tuple[str, ...]:
        """Names of the parameters and buffers that are used at a node: its module's, or those that flow straight in."""
        if node.op == "call_module":
            return tuple(dict.fromkeys(self.tensors_of.get(str(node.target), ())))
        found: dict[str, None] = {}
        waiting = [n for n in node.all_input_nodes if not self._flows(self.groups.labelled.values.get(n.name))]
        seen: set[str] = set()
        while waiting:
            source = waiting.pop(0)
            if source.name in seen:
                continue
            seen.add(source.name)
            if source.op == "get_attr":
                found.update(dict.fromkeys([self.owner_of.get(str(source.target), str(source.target))]))
            elif self._weight(source):
                waiting.extend(source.all_input_nodes)
        return tuple(found)

    def _weight(self, node: fx.Node) -> bool:
        leaves = pytree.tree_leaves(self.groups.labelled.values.get(node.name))
        return any(isinstance(leaf, Value) for leaf in leaves)

    def _matters(self, node: fx.Node, inputs: list[fx.Node], value: Any, tensors: tuple[str, ...]) -> bool:
        if node.op in ("placeholder", "output") or len(inputs) > 1:
            return True
        if any(name in self.member_of for name in tensors):
            return True
        if node.name in self.tied or node.name in self.barred:
            return True
        return bool(inputs) and self._reshapes(inputs[0], value)

    def _reshapes(self, source: fx.Node, value: Any) -> bool:
        """Splits, picks channels, or changes the size of a picture."""
        given = self.groups.labelled.values.get(source.name)
        if not isinstance(given, Value):
            return False
        if not isinstance(value, Value):
            return True
        if len(given.shape) == len(value.shape) == 4 and given.shape[:2] == value.shape[:2]:
            return int(np.prod(given.shape)) != int(np.prod(value.shape))
        mine, theirs = _widest(given), _widest(value)
        return mine is not None and theirs is not None and len(np.unique(theirs)) < len(np.unique(mine))

    def _stop(self, node: fx.Node, inputs: list[fx.Node], value: Any, tensors: tuple[str, ...]) -> Stop:
        members = tuple(dict.fromkeys(index for name in tensors for index in self.member_of.get(name, ())))
        if node.op == "placeholder":
            kind, what = "input", str(node.target)
        elif node.op == "output":
            kind, what = "output", "output"
        else:
            kind, what = ("layer" if members else "op"), self._what(node)
        leaves = self._portions(value)
        enters = self._portions(self.groups.labelled.values.get(inputs[0].name)) if inputs else ()
        reasons = [self.groups.groups[p.group].reason for p in leaves if p.group is not None]
        boxes = _boxes(node)
        path = str(node.target) if node.op == "call_module" else boxes[-1][1] if boxes else ""
        if kind == "layer" and node.op != "call_module":
            path = _common(tensors)
        tied = node.name in self.tied and kind == "op"
        reason = next((reason for reason in reasons if reason), None)
        return Stop(node.name, path, kind, what, boxes, tensors, enters, leaves, members, tied, reason)

    def _what(self, node: fx.Node) -> str:
        name = op_name(node, self.root)
        if node.op != "call_module":
            return {"getitem": "slice", "iadd": "add", "imul": "mul", "conv2d": "Conv2d", "linear": "Linear"}.get(
                name, name
            )
        layer = self.root.get_submodule(str(node.target))
        kernel = getattr(layer, "kernel_size", None)
        if isinstance(kernel, tuple):
            name += " " + "×".join(map(str, kernel))
        parts = getattr(layer, "groups", 1)
        if isinstance(parts, int) and parts > 1:
            name += " depthwise" if parts == getattr(layer, "in_channels", 0) else f" in {parts} groups"
        return name

    def _portions(self, value: Any) -> tuple[Portion, ...]:
        """Groups along the dimension that carries channels, in channel order."""
        leaves = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Value) and not leaf.labels.weight]
        if not leaves:
            return ()
        total: dict[int, list[int]] = {}
        for leaf in leaves:
            for index, count in self._counts(leaf).items():
                held = total.setdefault(index, [0, 0])
                held[0] += count[0]
                held[1] += count[1]
        return tuple(Portion(None if k < 0 else k, before, after) for k, (before, after) in total.items())

    def _counts(self, value: Value) -> dict[int, tuple[int, int]]:
        ids = _widest(value)
        if ids is None:
            shape = value.shape
            width = 1 if len(shape) < 2 else shape[1] if len(shape) in (4, 5) else shape[-1]
            return {-1: (width, width)}
        index = self.group_of[self.groups.unit_of[ids]]
        index = np.where(ids == FIXED, -1, index)
        found: dict[int, tuple[int, int]] = {}
        for k in dict.fromkeys(index.tolist()):
            mine = index == k
            found[k] = (int(mine.sum()), int(self.alive[ids[mine]].sum()))
        return found


def _merged(first: Stop, later: Stop) -> Stop:
    """One layer, from what it gets to what it gives."""
    return replace(
        first,
        kind="layer" if first.groups or later.groups else "op",
        tensors=tuple(dict.fromkeys((*first.tensors, *later.tensors))),
        groups=tuple(dict.fromkeys((*first.groups, *later.groups))),
        leaves=later.leaves,
        ties=first.ties or later.ties,
        reason=first.reason or later.reason,
    )


def _tensors(groups: Groups) -> tuple[Mapping[str, list[str]], dict[str, str]]:
    """Module path → names of its tensors as groups know them; and every name → the name groups know it by."""
    first: dict[int, str] = {}
    owner: dict[str, str] = {}
    held: dict[str, list[str]] = defaultdict(list)
    for name, tensor in groups.labelled.tensors.items():
        owner[name] = first.setdefault(id(tensor), name)
        parts = name.split(".")
        for depth in range(1, len(parts)):
            held[".".join(parts[:depth])].append(owner[name])
    return held, owner


def _boxes(node: fx.Node) -> tuple[tuple[str, str], ...]:
    """The modules that were called to get to a node, itself left out."""
    stack = node.meta.get("nn_module_stack")
    if stack:
        calls = [(str(call), str(entry[0])) for call, entry in stack.items() if entry[0]]
    else:
        parts = module_path(node).split(".") if module_path(node) else []
        calls = [(".".join(parts[:depth]), ".".join(parts[:depth])) for depth in range(1, len(parts) + 1)]
    return tuple(calls[:-1] if node.op == "call_module" and calls and calls[-1][1] == node.target else calls)


def _common(names: tuple[str, ...]) -> str:
    """The deepest module that holds all these tensors; of one tensor, its own name."""
    if len(names) == 1:
        return names[0].removesuffix(".weight")
    split = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _widest(value: Value) -> NDArray[np.int64] | None:
    """Ids along the dimension that carries most of them; None if no dimension does."""
    axes = [axis.ids for axis in value.labels.axes if axis is not None]
    return max(axes, key=len) if axes else None


def _crosses(a: Ids, b: Ids) -> bool:
    """Whether a tie joins different coordinates."""
    return bool(((a != b) & (a != FIXED) & (b != FIXED)).any())


def _reaches(before: list[set[int]], source: int, stop: int) -> bool:
    """Whether `stop` is fed, however indirectly, by `source`. Stops are numbered in the order of execution."""
    waiting, seen = [stop], {stop}
    while waiting:
        for other in before[waiting.pop()]:
            if other == source:
                return True
            if other > source and other not in seen:
                seen.add(other)
                waiting.append(other)
    return False
