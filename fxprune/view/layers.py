"""`Plan` → parameters and MACs of each layer, before and after; identical layers in one row."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fxprune.groups.labels import Count
from fxprune.plan import Plan
from fxprune.trace import module_path
from fxprune.view.folding import fold

__all__ = ["Cost", "LayerRow", "layer_costs", "layer_rows"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one layer costs, before and after."""

    path: str
    params: tuple[int, int]
    macs: tuple[int, int]  # of one image of the plan's size


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Layers whose names differ in numbers only and that cost the same."""

    name: str  # "body.{0..15}.conv1"
    times: int
    params: tuple[int, int]  # of each
    macs: tuple[int, int]  # of each


def layer_costs(plan: Plan) -> tuple[Cost, ...]:
    """Every module that has parameters of its own or multiplies, in the order of execution; ops by their module."""
    groups = plan.groups
    alive = groups.alive(plan.removed)
    params: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    seen: set[int] = set()
    for name, tensor in groups.labelled.tensors.items():
        if isinstance(tensor, nn.Parameter) and id(tensor) not in seen:
            seen.add(id(tensor))
            held = params[name.rpartition(".")[0] or name]
            held[0] += tensor.numel()
            held[1] += prod(groups.labelled.names[name].stored(tensor.shape, alive))
    macs = _macs(plan, alive)
    order = {module_path(node): None for node in groups.traced.graph.graph.nodes}
    paths = [path for path in order if path in params or path in macs]
    paths += [path for path in params if path not in order]
    zero = [0, 0]
    return tuple(Cost(p, _pair(params.get(p, zero)), _pair(macs.get(p, zero))) for p in paths)


def _macs(plan: Plan, alive: NDArray[np.bool_]) -> dict[str, list[int]]:
    places = {node.name: module_path(node) for node in plan.groups.traced.graph.graph.nodes}
    held: dict[str, list[Count]] = defaultdict(list)
    for count in plan.cost.counts:
        held[places[count.node]].append(count)
    everything = np.ones_like(alive)
    costs = {path: replace(plan.cost, counts=tuple(counts)) for path, counts in held.items()}
    return {path: [cost.macs(everything), cost.macs(alive)] for path, cost in costs.items()}


def layer_rows(costs: tuple[Cost, ...]) -> tuple[LayerRow, ...]:
    """The same, folded, in the order of their first layers."""
    classes: dict[tuple[tuple[int, int], tuple[int, int]], list[str]] = defaultdict(list)
    for cost in costs:
        classes[cost.params, cost.macs].append(cost.path)
    place = {cost.path: k for k, cost in enumerate(costs)}
    rows = [
        (place[line.members[0]], LayerRow(str(line) or "the top level", len(line.members), params, macs))
        for (params, macs), paths in classes.items()
        for line in fold(paths)
    ]
    return tuple(row for _, row in sorted(rows, key=lambda entry: entry[0]))


def _pair(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]
