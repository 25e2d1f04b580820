"""A graph → for each of its nodes, the earlier stretches of nodes that look like what begins there.

Two nodes look alike if they do the same with the same literals, to layers with the same settings and with tensors of
the same kind. From where their inputs come, and what these carry, is for `repeats` to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from fxprune.internals import fake_facts

__all__ = ["Node", "Twins", "read_nodes"]

# functions of these do the same whenever they are given the same
_TRUSTED = ("_operator", "builtins", "math", "torch")
_EXACT = (int, bool, str, type(None))
_HELD = ("_parameters", "_buffers")
_HOOKS = frozenset(key for key, value in vars(nn.Module()).items() if isinstance(value, (dict, set)))


class Node:
    """What is known of an fx node before it is run."""

    __slots__ = ("inputs", "kind", "tensors")

    def __init__(self, kind: int, inputs: list[int], tensors: list[torch.Tensor]) -> None:
        self.kind = kind  # equal for nodes that look alike
        self.inputs = inputs  # the nodes it takes its arguments from, in order, by their place in the graph
        self.tensors = tensors  # parameters and buffers it uses, in order


class _IncomparableError(Exception):
    """The node is like no other."""


def read_nodes(
    nodes: Sequence[fx.Node],
    held: Callable[[str], Any],
    fake: Callable[[torch.Tensor], torch.Tensor],
) -> list[Node]:
    """Look at every node of a graph.

    Args:
        nodes: the nodes, in order.
        held: what a target of the graph stands for: a layer, a tensor.
        fake: the fake tensor that stands for one of the graph's.
    """
    index = {node: k for k, node in enumerate(nodes)}
    kinds: dict[Any, int] = {}
    layers: dict[int, Any] = {}
    found = []
    for k, node in enumerate(nodes):
        inputs: list[int] = []
        tensors: list[torch.Tensor] = []
        try:
            what = _target(node, held, fake, tensors, layers)
            key = (node.op, what, _literals(node.args, index, inputs), _literals(node.kwargs, index, inputs))
            kind = kinds.setdefault(key, len(kinds))
        except (_IncomparableError, TypeError):
            kind = -1 - k
        found.append(Node(kind, inputs, tensors))
    return found


def _target(
    node: fx.Node,
    held: Callable[[str], Any],
    fake: Callable[[torch.Tensor], torch.Tensor],
    tensors: list[torch.Tensor],
    layers: dict[int, Any],
) -> Any:
    """What a node does, without the values of parameters, which are added to `tensors`."""
    if node.op == "call_method":
        return node.target
    if node.op == "call_function":
        if isinstance(node.target, torch._ops.OpOverload):
            return node.target
        if str(getattr(node.target, "__module__", "")).partition(".")[0] in _TRUSTED:
            return node.target
    if node.op in ("get_attr", "call_module"):
        thing = held(str(node.target))
        settings: Any = "tensor"
        if isinstance(thing, nn.Module) and node.op == "call_module":
            if id(thing) not in layers:
                layers[id(thing)] = _layer(thing)
            settings = layers[id(thing)]
            tensors.extend(map(fake, _tensors(thing)))
        elif isinstance(thing, torch.Tensor):
            tensors.append(fake(thing))
        facts = tuple(map(fake_facts, tensors))
        if settings is not None and (tensors or node.op == "call_module") and None not in facts:
            return settings, facts
    raise _IncomparableError


def _layer(layer: nn.Module) -> Any:
    """Type and settings of one of torch's layers; of settings that are not plain, which object it is."""
    if not type(layer).__module__.startswith("torch.nn."):
        raise _IncomparableError
    found: list[Any] = [type(layer)]
    for key, value in vars(layer).items():
        if key == "_modules":
            found += [(name, None if child is None else _layer(child)) for name, child in value.items()]
        elif key in _HELD:
            found += [(name, tensor is None) for name, tensor in value.items()]
        elif value or key not in _HOOKS:
            found.append((key, _setting(value)))
    return tuple(found)


def _setting(value: Any) -> Any:
    kind = type(value)
    if kind in _EXACT:
        return kind, value
    if kind is tuple or kind is list:
        return kind, *map(_setting, value)
    return (kind, repr(value)) if kind is float else ("this very", id(value))


def _tensors(layer: nn.Module) -> Iterator[torch.Tensor]:
    for kind in (layer._parameters, layer._buffers):
        yield from (t for t in kind.values() if t is not None)
    for child in layer._modules.values():
        yield from _tensors(child) if child is not None else ()


def _literals(value: Any, index: dict[fx.Node, int], inputs: list[int]) -> Any:
    """Arguments with a mark in place of every node; the nodes are added to `inputs`."""
    kind = type(value)
    if kind is fx.Node:
        inputs.append(index[value])
        return kind
    if kind in _EXACT:
        return kind, value
    if isinstance(value, (tuple, list)):
        return kind, *[_literals(v, index, inputs) for v in value]
    if isinstance(value, dict):
        return dict, *[(k, _literals(v, index, inputs)) for k, v in value.items()]
    if isinstance(value, slice):
        return slice, *[_literals(v, index, inputs) for v in (value.start, value.stop, value.step)]
    if isinstance(value, torch.Tensor):
        raise _IncomparableError
    return kind, repr(value) if isinstance(value, (float, complex)) else value


Ranks = NDArray[np.int64]


class Twins:
    """Earlier stretches that look like what begins at a node.

    Ranks of stretches of 1, 2, 4, ... nodes, each from those of half the length: equal stretches, equal ranks.
    """

    def __init__(self, kinds: Sequence[int]) -> None:
        self.ranks: list[Ranks] = []
        rank = np.unique(np.array(kinds, np.int64), return_inverse=True)[1].reshape(-1)
        length = 1
        while len(rank) and int(rank.max()) < len(rank) - 1:  # some are equal
            self.ranks.append(rank)
            both = rank[: max(0, len(rank) - length)] * (len(kinds) + 1) + rank[length:]
            rank = np.unique(both, return_inverse=True)[1].reshape(-1)
            length *= 2

    def rank(self, node: int, length: int) -> int:
        """Equal for nodes from which on a few look alike, `length` or fewer; -1 where none does."""
        level = min(length.bit_length(), len(self.ranks)) - 1
        return int(self.ranks[level][node]) if level >= 0 and node < len(self.ranks[level]) else -1

    def of(self, node: int, among: Sequence[int], most: int = 4) -> list[tuple[int, int]]:
        """(first node, length) of stretches that end before `node` and look like what begins there, the longest first.

        Args:
            node: where the later stretch begins.
            among: where the earlier may begin, in order.
            most: of those that are about equally long only so many, the last.
        """
        if len(among) > most:
            among = self._longest(node, np.array(among), most)
        found = [(other, min(self.alike(other, node), node - other)) for other in among]
        return sorted(found, key=lambda item: -item[1])

    def _longest(self, node: int, among: Ranks, most: int) -> list[int]:
        """So many, the last, of those of which the longest stretch looks alike, to a power of two."""
        found: list[int] = []
        for level in range(len(self.ranks) - 1, -1, -1):
            rank = self.ranks[level]
            if node < len(rank) and len(found) < most:
                ended = among[: np.searchsorted(among, node - (1 << level), "right")]
                alike = ended[rank[ended] == rank[node]][-most:].tolist()
                found += [other for other in alike if other not in found]
        return found[:most]

    def alike(self, a: int, b: int) -> int:
        """How many nodes from `a` on look like those from `b` on."""
        length = 0
        for level in range(len(self.ranks) - 1, -1, -1):
            rank = self.ranks[level]
            if max(a, b) + length < len(rank) and rank[a + length] == rank[b + length]:
                length += 1 << level
        return length
