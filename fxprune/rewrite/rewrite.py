"""`Groups` + removed units → the compact graph: sliced tensors, mended sizes, exact reductions."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.errors import RewriteError
from fxprune.groups.dispatch import Value
from fxprune.groups.labels import Axis, Labels
from fxprune.internals import garbage_waits
from fxprune.rewrite import helpers
from fxprune.rewrite.layers import rebuild
from fxprune.rewrite.mends import MENDS
from fxprune.rewrite.sizes import RESIZE, Site, constant
from fxprune.rewrite.slicing import Kept, Slicer
from fxprune.trace import has_effects, module_at, op_name

__all__ = ["Rewritten", "rewrite"]


@dataclass(frozen=True, slots=True, eq=False)
class Rewritten:
    """A compact network and what became of every original tensor."""

    module: fx.GraphModule
    kept: Kept
    slicer: Slicer
    node_of: dict[str, str]  # original node → node of the compact graph that holds its value


@garbage_waits()
def rewrite(slicer: Slicer, *, exact: bool = True) -> Rewritten:
    """Slice every tensor and copy the graph, mending what a cut makes wrong. The original is left as it is.

    Args:
        slicer: what lives.
        exact: keep reductions over channels as they were; otherwise they run over what is left (`norm native`).

    Raises:
        RewriteError: a node cannot be mended; names it.
    """
    return _Rewriter(slicer, exact).run()


class _Rewriter:
    def __init__(self, slicer: Slicer, exact: bool) -> None:
        self.slicer = slicer
        self.exact = exact
        self.old = slicer.groups.traced.graph
        self.labelled = slicer.groups.labelled
        self.tensors = slicer.tensors()
        self.graph = fx.Graph()
        self.env: dict[fx.Node, fx.Node] = {}
        self.after: dict[fx.Node, Any] = {}  # new node → its value, with a shape for each tensor
        self.tensor_nodes: set[fx.Node] = set()  # new nodes whose value is one tensor
        self.axes: dict[fx.Node, tuple[Axis | None, ...]] = {}  # of these nodes
        self.before: dict[fx.Node, Any] = {}  # new node → its value in the original, with a shape for each tensor
        self.layers: dict[str, nn.Module] = {}

    def run(self) -> Rewritten:
        """Copy node by node, then put modules and tensors under the graph."""
        for node in self.old.graph.nodes:
            try:
                self.env[node] = self.copy(node)
            except (
                TypeError,
                ValueError,
                IndexError,
                KeyError,
                ZeroDivisionError,
                AttributeError,
                RuntimeError,
            ) as error:
                what = f"`{op_name(node, self.old)}` ({node.name}) cannot be resized: {error}"
                raise RewriteError(what, node=node.name) from error
        self.graph.eliminate_dead_code(lambda node: has_effects(node, self.layers.get(str(node.target))))
        module = fx.GraphModule(self.attributes(), self.graph, class_name=type(self.old).__name__)
        node_of = {old.name: new.name for old, new in self.env.items()}
        modes = self.slicer.groups.traced.modes
        for path, part in module.named_modules():
            vars(part)["training"] = modes.get(path, self.slicer.groups.traced.training)
        return Rewritten(module, self.slicer.kept(), self.slicer, node_of)

    def copy(self, node: fx.Node) -> fx.Node:
        """One node, mended if the cut touches it."""
        new = self.graph.node_copy(node, self.env.__getitem__)
        before = self.labelled.values[node.name]
        one = isinstance(before, Value)
        self.before[new] = before.shape if one else pytree.tree_map_only(Value, lambda value: value.shape, before)
        leaves = [before] if one else _values(before)
        shapes = tuple(self.shape(leaf) for leaf in leaves)
        name = op_name(node, self.old)
        if not leaves and node.op in ("call_function", "call_method") and name != "setitem":
            self.after[new] = self.evaluate(new) if _numbers(before) else before
            checked = node.args[0] if node.target is torch._assert else None
            if isinstance(checked, fx.Node) and self.after[self.env[checked]] is False:  # it was about a width
                self.graph.erase_node(new)
                return self.env[checked]
            return new
        if one:
            self.after[new] = shapes[0]
            self.tensor_nodes.add(new)
            self.axes[new] = before.labels.axes
        else:
            self.after[new] = pytree.tree_map_only(Value, self.shape, before)
        site = self.site(node, new, shapes)
        if node.op == "call_module":
            self.layer(node, site)
        if site is None or (
            shapes == tuple(leaf.shape for leaf in leaves) and site.old_in == site.new_in and not self.stale(node)
        ):
            return new
        kinds = self.labelled.needs.get(node.name, frozenset()) if self.exact else frozenset()
        result = new
        if kinds:
            layer = module_at(self.old, str(node.target)) if node.op == "call_module" else None
            for kind in sorted(kinds):
                result = MENDS[name, kind](site, layer)
        elif node.op != "call_module" and name in RESIZE:
            RESIZE[name](site)
        elif node.op in ("call_function", "call_method"):
            self.keep_numbers(node, new)
        else:
            result = self.levelled(node, new)
        self.after[result], self.before[result] = self.after[new], self.before[new]
        if new in self.tensor_nodes:
            self.tensor_nodes.add(result)
            self.axes[result] = self.axes[new]
        return result

    def site(self, node: fx.Node, new: fx.Node, shapes: tuple[tuple[int, ...], ...]) -> Site | None:
        """What a resizer needs to know of this place; None where nothing flows in."""
        source = next((a for a in node.all_input_nodes if isinstance(self.labelled.values[a.name], Value)), None)
        if source is None and RESIZE.get(op_name(node, self.old)) is not constant:
            return None
        value = Value((), Labels(())) if source is None else self.labelled.values[source.name]

        def asks(part: int) -> bool:
            return any(user.args[1:2] in ((part,), (("values", "indices")[part],)) for user in node.users)

        return Site(
            node=new,
            old_in=value.shape,
            new_in=() if source is None else self.after[self.env[source]],
            lives_in=tuple(self.slicer.lives(axis) for axis in value.labels.axes),
            new_out=shapes,
            now=self.now,
            was=self.was,
            floats=self.floats,
            asks=asks,
            ghost=lambda back: new if source is None else self.ghost(source, back),
        )

    def ghost(self, node: fx.Node, back: int) -> fx.Node:
        """A node of the compact graph that holds one removed coordinate of a value along a dimension.

        `back` counts dimensions from the last. Zeros are made from the survivors; what is alike is made by the same
        elementwise ops, from the ghosts of their operands. Each stands right after the value it belongs to, before
        anything is overwritten.
        """
        made: dict[fx.Node, fx.Node] = {}
        waiting = [node]
        while waiting:
            at = waiting[-1]
            axis = self.along(at, back)
            missing = [n for n in at.all_input_nodes if n not in made] if axis is not None and not axis.zero else []
            if missing and at not in made:
                waiting.extend(missing)
                continue
            waiting.pop()
            if at not in made:
                made[at] = self.env[at] if axis is None else self.removed(at, back, made, axis.zero)
        return made[node]

    def along(self, node: fx.Node, back: int) -> Axis | None:
        """The axis of a value along a dimension counted from the last, if it has one that lost something."""
        value = self.labelled.values[node.name]
        return value.labels.axes[-back] if isinstance(value, Value) and back <= len(value.shape) else None

    def removed(self, node: fx.Node, back: int, made: dict[fx.Node, fx.Node], zero: bool) -> fx.Node:
        """One removed coordinate of one value, its operands' known."""
        with self.graph.inserting_after(self.env[node]):
            if not zero:
                return self.graph.node_copy(node, made.__getitem__)
            rank = len(self.labelled.values[node.name].shape)
            one = self.graph.call_method("narrow", (self.env[node], rank - back, 0, 1))
        with self.graph.inserting_after(one):
            return self.graph.call_function(torch.zeros_like, (one,))

    def floats(self, argument: Any) -> bool:
        """Is it computed from a dimension that no layer sets: batch, height, width?"""
        waiting: list[tuple[Any, tuple[Any, ...]]] = [(argument, ())] if isinstance(argument, fx.Node) else []
        seen: set[Any] = set()
        while waiting:
            node, picks = waiting.pop()  # what is picked of the node's sizes, the first last
            if (node, str(picks)) in seen:
                continue
            seen.add((node, str(picks)))
            source = next((a for a in node.all_input_nodes if a in self.tensor_nodes), None)
            if source is None:
                picked = node.target is operator.getitem and not isinstance(node.args[1], fx.Node)
                waiting += [(a, (*picks, node.args[1]) if picked else ()) for a in node.all_input_nodes]
            elif any(axis is None for axis in _picked(self.axes[source], (*picks, *node.args[1:2]))):
                return True
        return False

    def stale(self, node: fx.Node) -> bool:
        """Does an integer argument come from a size that changed?"""
        return any(self.changed(a) for a in node.all_input_nodes)

    def changed(self, node: fx.Node) -> bool:
        """Is it a plain value that comes out differently in the compact network?"""
        before = self.labelled.values[node.name]
        if isinstance(before, Value) or _values(before):
            return False
        return bool(self.after.get(self.env[node]) != before)

    def keep_numbers(self, node: fx.Node, new: fx.Node) -> None:
        """A number that was computed from a width, and is not a size, stays the original's: √d in attention, x / C."""
        if any(self.changed(number) for number in node.all_input_nodes):
            new.args = fx.node.map_arg(node.args, self.original)
            new.kwargs = fx.node.map_arg(node.kwargs, self.original)

    def original(self, node: fx.Node) -> Any:
        """In the compact graph, the number that `node` had in the original; sizes of images are still free."""
        if not self.changed(node):
            return self.env[node]
        before = self.labelled.values[node.name]
        reads = node.target in ("size", torch.ops.aten.sym_size.int) or (
            node.target is operator.getitem and isinstance(before, int)
        )
        source = node.args[0]
        if reads and isinstance(before, int) and isinstance(source, fx.Node):
            return before
        if any(isinstance(self.labelled.values[a.name], Value) for a in node.all_input_nodes):
            raise ValueError(f"it uses a number computed from a width by `{op_name(node, self.old)}`")
        with self.graph.inserting_before(self.env[node]):
            return self.graph.node_copy(node, self.original)

    def shape(self, value: Value) -> tuple[int, ...]:
        """The shape of a value in the compact network."""
        lives = (self.slicer.lives(axis) for axis in value.labels.axes)
        return tuple(size if a is None else int(a.sum()) for size, a in zip(value.shape, lives, strict=True))

    def now(self, argument: Any) -> Any:
        """An argument's value in the compact network; for a tensor, its shape."""
        return fx.node.map_arg(argument, lambda n: self.after[n])

    def was(self, argument: Any) -> Any:
        """An argument's value in the original network; for a tensor, its shape."""
        return fx.node.map_arg(argument, lambda n: self.before[n])

    def evaluate(self, node: fx.Node) -> Any:
        """A number, size or other plain value, computed again from the new shapes."""

        def stand_in(n: fx.Node) -> Any:
            return torch.empty(self.after[n], device="meta") if n in self.tensor_nodes else self.after[n]

        args = fx.node.map_arg(node.args, stand_in)
        kwargs = fx.node.map_arg(node.kwargs, stand_in)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def layer(self, node: fx.Node, site: Site | None) -> None:
        """The leaf layer of this node, rebuilt once."""
        path = str(node.target)
        if path in self.layers:
            return
        old = module_at(self.old, path)
        shapes = (site.new_in, site.new_out[0]) if site is not None and site.new_out else None
        self.layers[path] = rebuild(old, self.tensors, f"{path}.", *shapes) if shapes else old

    def levelled(self, node: fx.Node, new: fx.Node) -> fx.Node:
        """The node, or the last of those that a grouped convolution needs whose groups keep unequally many channels.

        Its blocks are as large as the fullest: the others are filled up with zeros, and what these make is dropped.
        """
        labels = self.labelled.names.get(f"{node.target}.weight")
        if labels is None or labels.narrow is None:
            return new
        dim = 1 - self.tensors[f"{node.target}.weight"].dim()
        seen, made = (self.in_blocks(axis, labels.blocks) for axis in (labels.narrow, labels.axes[0]))
        if len(set(seen)) > 1:
            with self.graph.inserting_before(new):
                filled = self.graph.call_function(helpers.blocks_filled, (new.all_input_nodes[0], seen, dim))
            new.args, new.kwargs = (filled,), {}
        if len(set(made)) > 1:
            with self.graph.inserting_after(new):
                return self.graph.call_function(helpers.blocks_emptied, (new, made, dim))
        return new

    def in_blocks(self, axis: Axis | None, blocks: int) -> list[int]:
        """How many live in each block of an axis."""
        assert axis is not None
        living: list[int] = self.slicer.alive[axis.ids].reshape(blocks, -1).sum(1).tolist()
        return living

    def attributes(self) -> dict[str, Any]:
        """What the compact graph refers to, by path."""
        found: dict[str, Any] = {}
        for node in self.graph.nodes:
            target = str(node.target)
            if node.op == "call_module":
                found[target] = self.layers[target]
            elif node.op == "get_attr":
                found[target] = self.tensors[target] if target in self.tensors else attrgetter(target)(self.old)
        return found


def _values(value: Any) -> list[Value]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Value)]


def _numbers(value: Any) -> bool:
    """A number, or a tuple of numbers: what can follow from a width."""
    return bool(pytree.tree_leaves(value)) and all(isinstance(v, (int, float)) for v in pytree.tree_leaves(value))


def _picked(axes: tuple[Axis | None, ...], picks: tuple[Any, ...]) -> tuple[Axis | None, ...]:
    """Of the axes of a tensor, those whose sizes are picked; the first pick is the last."""
    for pick in reversed(picks):
        if isinstance(pick, slice) and all(end is None or isinstance(end, int) for end in (pick.start, pick.stop)):
            axes = axes[pick.start : pick.stop]
        elif isinstance(pick, int) and len(axes) > 1:
            axes = (axes[pick],)
    return axes
