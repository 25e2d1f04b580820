"""The value that tracing hands on: a graph, the module it came from, and what was specialised on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn

__all__ = ["Traced", "held", "module_at", "module_path", "op_name"]


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A network as a graph. Its parameters are the very tensors of the module it came from: never write to them."""

    graph: fx.GraphModule
    module: nn.Module  # the copy it was traced from, same tensors, in eval mode
    example: tuple[Any, ...]  # inputs the network was traced for
    rung: str  # how it was traced: "symbolic", ...
    training: bool  # the mode the module was in, for each module the graph keeps
    modes: dict[str, bool] = field(default_factory=dict)  # module path → training
    merged: tuple[str, ...] = ()  # parameters that `forward` computes from others and overwrites each time it runs
    notes: tuple[str, ...] = ()  # what was specialised or folded, in the user's words

    def named(self) -> frozenset[str]:
        """Names of the parameters and buffers of the module itself: not of constants met on the way."""
        return frozenset(held(self.module))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter, buffer and plain tensor that the graph uses, under each name the module has for it."""
        named: dict[str, torch.Tensor] = {}
        for root in (self.graph, self.module):
            used = {id(tensor) for tensor in named.values()}
            for name, tensor in held(root).items():
                if root is self.graph or id(tensor) in used:
                    named.setdefault(name, tensor)
        for node in self.graph.graph.nodes:
            if node.op == "get_attr" and str(node.target) not in named:
                value = attrgetter(str(node.target))(self.graph)
                if isinstance(value, torch.Tensor):
                    named[str(node.target)] = value
        return named


def held(root: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters, then buffers, by every name they have; as `named_parameters`, which asks each module's parents."""
    parts: list[tuple[str, nn.Module]] = []
    waiting: list[tuple[str, nn.Module]] = [("", root)]
    while waiting:
        prefix, part = waiting.pop()
        parts.append((prefix, part))
        inner = [(f"{prefix}{name}.", child) for name, child in part._modules.items() if child is not None]
        waiting += reversed(inner)
    found: dict[str, torch.Tensor] = {}
    for kind in ("_parameters", "_buffers"):
        for prefix, part in parts:
            found.update({prefix + name: t for name, t in vars(part)[kind].items() if t is not None})
    return found


def op_name(node: fx.Node, root: nn.Module) -> str:
    """What a node does, in the user's words: `Conv2d`, `add`, `view`."""
    if node.op == "call_module":
        return type(module_at(root, str(node.target))).__name__
    if node.op == "call_method":
        return str(node.target)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target.overloadpacket.__name__).rstrip("_")
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", node.target)).rstrip("_") or str(node.target)
    return node.op


_LOGIC = ("and_", "is_", "not_", "or_")  # of the module operator, named so for Python's sake
_SUMS = ("add", "and", "floordiv", "lshift", "mod", "mul", "or", "pow", "rshift", "sub", "truediv", "xor")
_WRITES = frozenset(["setitem", "delitem", *(f"i{name}" for name in _SUMS)])  # `x[0] = y`, `x += y`


def has_effects(node: fx.Node, layer: nn.Module | None) -> bool:
    """Does a node write in place or check something, so that it must stay even if nobody reads its result?"""
    if node.op in ("placeholder", "output") or node.target is torch._assert:
        return True
    if node.op == "call_module":
        return bool(getattr(layer, "inplace", False) or getattr(layer, "track_running_stats", False))
    if isinstance(node.target, torch._ops.OpOverload):
        return bool(node.target._schema.is_mutable)
    name = str(getattr(node.target, "__name__", node.target))
    written = name.strip("_") in _WRITES or (name.endswith("_") and not name.endswith("__") and name not in _LOGIC)
    return written or "out" in node.kwargs or bool(node.kwargs.get("inplace"))


def module_at(root: nn.Module, path: str) -> nn.Module:
    """The module at a path: `root.get_submodule` without its checks of every step, which take most of its time."""
    part: Any = root
    for name in path.split(".") if path else ():
        part = part._modules[name]
    return part  # type: ignore[no-any-return]


def module_path(node: fx.Node) -> str:
    """Path of the module whose forward the node belongs to; of a leaf module, its own."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0]) if stack else ""
