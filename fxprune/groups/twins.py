"""A graph → for each of its nodes, the earlier stretches of nodes that look like what begins there.

Two nodes look alike if they do the same with the same literals, to layers with the same settings and with tensors of
the same kind. From where their inputs come, and what these carry, is for `repeats` to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from fxprune.groups.labels import Ids
from fxprune.groups.roots import NONE, Roots

__all__ = ["Looks", "Rows", "Twins", "read_nodes"]

# functions of these do the same whenever they are given the same
_TRUSTED = ("_operator", "builtins", "math", "torch")
_EXACT = (int, bool, str, type(None))
_HELD = ("_parameters", "_buffers")
_HOOKS = frozenset(key for key, value in vars(nn.Module()).items() if isinstance(value, (dict, set)))


class Rows:
    """Short lists of whole numbers, one for each node, in one array."""

    def __init__(self, starts: Sequence[int], flat: Sequence[int]) -> None:
        self.starts = np.array(starts, np.int64)
        self.flat = np.array(flat, np.int64)

    def of(self, start: int, count: int = 1) -> Ids:
        """Of so many nodes from one on, one after the other."""
        return self.flat[self.starts[start] : self.starts[start + count]]

    def row(self, start: int, at: int) -> int:
        """The node to which number `at` of those from the node `start` on belongs."""
        return int(np.searchsorted(self.starts, self.starts[start] + at, "right")) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What is known of the nodes of a graph before they are run."""

    kinds: list[int]  # equal for nodes that look alike
    inputs: Rows  # the nodes that each takes its arguments from, in order
    roots: Rows  # parameters and buffers that each uses, in order


class _IncomparableError(Exception):
    """The node is like no other."""


def read_nodes(nodes: Sequence[fx.Node], held: Callable[[str], Any], roots: Roots, number: dict[int, int]) -> Looks:
    """Look at every node of a graph.

    Args:
        nodes: the nodes, in order.
        held: what a target of the graph stands for: a layer, a tensor.
        roots: the tensors that are there from the start.
        number: id of one of the graph's tensors → which of the roots stands for it.
    """
    index = {node: k for k, node in enumerate(nodes)}
    known: dict[Any, int] = {}
    layers: dict[int, Any] = {}
    kinds: list[int] = []
    inputs: list[int] = []
    used: list[int] = []
    starts: list[tuple[int, int]] = [(0, 0)]
    for k, node in enumerate(nodes):
        try:
            what = _target(node, held, number, used, layers)
            alike = [roots.kinds[root] for root in used[starts[-1][1] :]]
            args = [_literals(value, index, inputs) for value in node.args]
            named = _literals(node.kwargs, index, inputs) if node.kwargs else None
            kind = -1 - k if NONE in alike else known.setdefault((what, *alike, named, *args), len(known))
        except (_IncomparableError, KeyError, TypeError):
            kind = -1 - k
        kinds.append(kind)
        starts.append((len(inputs), len(used)))
    return Looks(kinds, Rows([row[0] for row in starts], inputs), Rows([row[1] for row in starts], used))


def _target(
    node: fx.Node, held: Callable[[str], Any], number: dict[int, int], used: list[int], layers: dict[int, Any]
) -> Any:
    """What a node does, without the values of parameters, which are added to `used`."""
    target = node.target
    if node.op == "call_method":
        return target
    if node.op == "call_function":
        if isinstance(target, torch._ops.OpOverload):
            return target
        if str(getattr(target, "__module__", "")).partition(".")[0] in _TRUSTED:
            return target
    if node.op in ("get_attr", "call_module"):
        thing = held(str(target))
        if isinstance(thing, nn.Module) and node.op == "call_module":
            if id(thing) not in layers:
                layers[id(thing)] = _layer(thing)
            used.extend(number[id(tensor)] for tensor in _tensors(thing))
            return layers[id(thing)]
        if isinstance(thing, torch.Tensor):
            used.append(number[id(thing)])
            return node.op
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
    if kind is float:
        return kind, repr(value)
    if isinstance(value, (tuple, list)):
        return kind, *[_literals(v, index, inputs) for v in value]
    if isinstance(value, dict):
        return dict, *[(k, _literals(v, index, inputs)) for k, v in value.items()]
    if isinstance(value, slice):
        return slice, *[_literals(v, index, inputs) for v in (value.start, value.stop, value.step)]
    if isinstance(value, torch.Tensor):
        raise _IncomparableError
    return kind, repr(value) if isinstance(value, complex) else value


class Twins:
    """Earlier stretches that look like what begins at a node.

    Ids of stretches of 1, 2, 4, ... nodes, each from those of half the length: equal stretches, equal ranks.
    """

    def __init__(self, kinds: Sequence[int]) -> None:
        self.size = len(kinds)
        self.ranks: list[Ids] = []
        rank = np.unique(np.array(kinds, np.int64), return_inverse=True)[1].reshape(-1)
        length = 1
        while len(rank) and int(rank.max()) < len(rank) - 1:  # some are equal
            self.ranks.append(rank)
            both = rank[: max(0, len(rank) - length)] * (len(kinds) + 1) + rank[length:]
            rank = np.unique(both, return_inverse=True)[1].reshape(-1)
            length *= 2

    def of_length(self, length: int) -> list[int]:
        """Node → equal for those from which on so many look alike, or fewer; -1 where none does."""
        level = min(length.bit_length(), len(self.ranks)) - 1
        ranks: list[int] = self.ranks[level].tolist() if level >= 0 else []
        return ranks + [-1] * (self.size - len(ranks))

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

    def _longest(self, node: int, among: Ids, most: int) -> list[int]:
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
