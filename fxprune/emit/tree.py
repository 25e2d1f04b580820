"""The layers, parameters and buffers a graph names in, the tree of containers that gives them the same names out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from fxprune.emit.layers import constructor
from fxprune.emit.program import Path
from fxprune.errors import RewriteError

__all__ = ["Aliases", "Branch", "Leaf", "build_tree", "leaves_of", "lists_of", "same_tensors"]

Aliases = dict[str, str]  # a second name of a tensor → its first name


@dataclass(frozen=True, slots=True)
class Leaf:
    """A layer, parameter or buffer."""

    text: str  # the expression that makes it
    is_tensor: bool  # a parameter or buffer, not a layer


@dataclass(slots=True)
class Branch:
    """A container of layers, parameters, buffers and further containers."""

    members: dict[str, Branch | Leaf] = field(default_factory=dict)

    @property
    def is_list(self) -> bool:
        """Whether the members are 0, 1, 2, … and none is a tensor."""
        digits = {str(i) for i in range(len(self.members))} == set(self.members)
        return digits and not any(isinstance(m, Leaf) and m.is_tensor for m in self.members.values())

    def ordered(self) -> list[tuple[str, Branch | Leaf]]:
        """Members by name; numbers by size, all others in the order of their first use."""
        place = {name: i for i, name in enumerate(self.members)}
        return sorted(
            self.members.items(), key=lambda m: (not m[0].isdigit(), int(m[0]) if m[0].isdigit() else place[m[0]])
        )


def tensor_text(tensor: torch.Tensor) -> str:
    """The expression that makes a parameter or buffer of the same kind, without its values."""
    dtype = "" if tensor.dtype is torch.float32 else f", dtype={tensor.dtype}"
    empty = f"torch.empty({tuple(tensor.shape)}{dtype})"
    if not isinstance(tensor, nn.Parameter):
        return f"nn.Buffer({empty})"
    return f"nn.Parameter({empty}{'' if tensor.requires_grad else ', requires_grad=False'})"


def leaves_of(module: fx.GraphModule) -> Iterator[tuple[str, nn.Module | torch.Tensor]]:
    """Path and value of each layer called and each tensor read, in the order of the graph, once each."""
    layers = {str(node.target): None for node in module.graph.nodes if node.op == "call_module"}
    tensors = {str(node.target): None for node in module.graph.nodes if node.op == "get_attr"}
    known: set[str] = set()
    for path in layers:
        layer = module.get_submodule(path)
        known |= {f"{path}.{name}" for name in layer.state_dict()}
        yield path, layer
    for path in tensors:
        holder, _, name = path.rpartition(".")
        value = getattr(module.get_submodule(holder), name)
        if path not in known and isinstance(value, torch.Tensor):
            yield path, value


def build_tree(module: fx.GraphModule) -> Branch:
    """The containers below the model, with a constructor call at each leaf.

    Raises:
        RewriteError: a layer that cannot be written, or a tensor kept inside a layer that does not know it.
    """
    root = Branch()
    for path, value in leaves_of(module):
        *holders, name = path.split(".")
        branch = root
        for holder in holders:
            below = branch.members.setdefault(holder, Branch())
            if isinstance(below, Leaf):
                raise RewriteError(f"{path}: cannot be kept inside {below.text}")
            branch = below
        if name in branch.members:
            raise RewriteError(f"{path}: the name of both a layer and what it contains")
        is_tensor = isinstance(value, torch.Tensor)
        text = tensor_text(value) if isinstance(value, torch.Tensor) else constructor(value, path)
        branch.members[name] = Leaf(text, is_tensor)
    return root


def lists_of(branch: Branch, path: Path = ()) -> dict[Path, int]:
    """Path of each list of layers below the model → its length."""
    found = {path: len(branch.members)} if path and branch.is_list else {}
    for name, member in branch.members.items():
        if isinstance(member, Branch):
            found |= lists_of(member, (*path, name))
    return found


def tensors_of(module: fx.GraphModule) -> dict[str, torch.Tensor]:
    """Every tensor the emitted model has, by name."""
    found: dict[str, torch.Tensor] = {}
    for path, value in leaves_of(module):
        if isinstance(value, torch.Tensor):
            found[path] = value
        else:
            kept = value.state_dict(keep_vars=True)
            found |= {f"{path}.{name}": tensor for name, tensor in kept.items()}
    return found


def same_tensors(tensors: Mapping[str, torch.Tensor]) -> Aliases:
    """Names that stand for a tensor that already has a name: the very same object, as in tied weights."""
    first: dict[int, str] = {}
    return {name: known for name, t in tensors.items() if (known := first.setdefault(id(t), name)) != name}
