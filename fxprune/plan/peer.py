"""A torch-pruning importance + groups found here → one score for each unit; the least goes first."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fxprune.errors import PlanError
from fxprune.groups import Group, Groups, Member
from fxprune.plan.calibration import Calibration, private_copy
from fxprune.plan.measures import MEASURES

__all__ = ["PEER_CRITERIA", "Calibration", "PeerCriterion", "peer_scores"]

Scores = NDArray[np.float64]
Need = Literal["weights", "gradients", "activations"]


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError("it is a number above zero")
    return number


def _switch(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError("it is yes or no")
    return bool(value)


def _normalizer(value: Any) -> str | None:
    if value not in _NORMALIZERS:
        raise ValueError(f"there are {', '.join(sorted(map(str, _NORMALIZERS)))}")
    return None if value in (None, "none") else str(value)


_NORMALIZERS = (None, "none", "sum", "mean", "max", "gaussian", "lamp", "standarization")

_AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {  # members × units → units
    "mean": lambda rows: rows.sum(0) / len(rows),
    "sum": lambda rows: rows.sum(0),
    "max": lambda rows: rows.amax(0),
    "min": lambda rows: rows.amin(0),
    "product": lambda rows: rows.prod(0),
    "first": lambda rows: rows[0],
}


@dataclass(frozen=True, slots=True)
class PeerCriterion:
    """A criterion that torch-pruning computes."""

    importance: str  # class in torch_pruning.pruner.importance
    args: Mapping[str, Callable[[Any], Any]]  # argument → its check, which returns the value or raises ValueError
    needs: Need = "weights"  # what must be measured on data before

    @property
    def gradients(self) -> bool:
        """Does it need gradients?"""
        return self.needs == "gradients"


PEER_CRITERIA: dict[str, PeerCriterion] = {
    "activation": PeerCriterion("ActivationImportance", {"normalizer": _normalizer}, "activations"),
    "bn_scale": PeerCriterion("BNScaleImportance", {"normalizer": _normalizer}),
    "fpgm": PeerCriterion("FPGMImportance", {"p": _positive, "normalizer": _normalizer}),
    "hessian": PeerCriterion("GroupHessianImportance", {"normalizer": _normalizer, "bias": _switch}, "gradients"),
    "lamp": PeerCriterion("LAMPImportance", {"p": _positive, "bias": _switch}),
    "magnitude": PeerCriterion(
        "GroupMagnitudeImportance", {"p": _positive, "normalizer": _normalizer, "bias": _switch}
    ),
    "obdc": PeerCriterion("OBDCImportance", {"normalizer": _normalizer}, "gradients"),
    "taylor": PeerCriterion(
        "GroupTaylorImportance",
        {"normalizer": _normalizer, "multivariable": _switch, "bias": _switch},
        "gradients",
    ),
}


@dataclass(frozen=True, slots=True)
class _Target:
    module: nn.Module


@dataclass(frozen=True, slots=True)
class _Dependency:
    """What an importance asks of torch-pruning's `Dependency`, under both of the names it uses."""

    layer: nn.Module
    pruning_fn: Any  # which dimension of the layer: one of torch_pruning's functions

    @property
    def target(self) -> _Target:
        return _Target(self.layer)

    @property
    def handler(self) -> Any:
        return self.pruning_fn


@dataclass(frozen=True, slots=True)
class _Item:
    """One dimension of one layer; unpacks as torch-pruning's `GroupItem` does."""

    dep: _Dependency
    idxs: list[int]  # coordinates along that dimension, ascending
    root_idxs: list[int] = field(repr=False)  # of each, the position of its unit in the group

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dep, self.idxs))


def peer_scores(
    groups: Groups,
    which: Sequence[Group],
    name: str,
    *,
    args: Mapping[str, object],
    aggregate: str,
    calibration: Calibration | None,
) -> dict[int, Scores]:
    """Scores of each unit, in the order of `group.units`, by group index.

    Every layer dimension in a group is scored by torch-pruning, channel by channel; a unit with several channels in a
    layer (four filters before a pixel shuffle by 2) gets their sum, `aggregate` combines the layers, and torch-pruning
    normalises the group (by its mean, unless `normalizer` says otherwise). Parameters that belong to no layer of
    torch.nn are not scored. `hessian` is the mean over samples of squared gradients, as its paper has it
    (torch-pruning's own `accumulate_grad` keeps the last sample only).

    Args:
        groups: all groups of the network.
        which: those to score.
        name: a key of `PEER_CRITERIA`.
        args: its arguments.
        aggregate: how layers are combined: mean, sum, max, min, product or first (the first producer).
        calibration: what gradients and activations are measured on; the network itself is left as it is.

    Raises:
        PlanError: an argument that does not fit, data that is needed and not given, a group with nothing to score.
    """
    criterion = PEER_CRITERIA[name]
    checked = {key: _checked(name, criterion, key, value) for key, value in args.items()}
    if aggregate not in _AGGREGATES:
        raise PlanError(f"there is no aggregate `{aggregate}`", hint=f"there are {', '.join(sorted(_AGGREGATES))}")
    if criterion.needs != "weights" and calibration is None:
        raise PlanError(
            f"`by {name}` needs {criterion.needs}",
            hint="give data, or a calibration batch with fxprune.compile(..., calibration=...)",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch-pruning's: nothing in them concerns who wrote the spec
        from torch_pruning.pruner import function
        from torch_pruning.pruner import importance as peer

        importance = getattr(peer, criterion.importance)(**checked)
        root = groups.traced.module
        if calibration is not None and criterion.needs != "weights":
            root = private_copy(root)
            MEASURES[name](root, calibration)
        return {group.index: _score(importance, function, root, groups, group, name, aggregate) for group in which}


def _checked(name: str, criterion: PeerCriterion, key: str, value: object) -> Any:
    if key not in criterion.args:
        known = ", ".join(sorted(criterion.args))
        raise PlanError(f"`{name}` takes no argument `{key}`", hint=f"it takes {known}")
    try:
        return criterion.args[key](value)
    except (TypeError, ValueError) as error:
        raise PlanError(f"`{value}` does not fit `{key}` of `{name}`", hint=str(error)) from None


def _score(
    importance: Any, function: ModuleType, root: nn.Module, groups: Groups, group: Group, name: str, aggregate: str
) -> Scores:
    """One group's scores, with torch-pruning's own reduction (one channel to a unit, at most) replaced."""
    items = tuple(_items(groups, group, root, function))
    if name == "obdc":
        items = tuple(item for item in items if _with_fisher(importance, item, function))

    def reduce(found: list[Tensor], places: list[list[int]]) -> Tensor:
        rows = [_per_unit(values, place, group.width) for values, place in zip(found, places, strict=True)]
        return _AGGREGATES[aggregate](torch.stack([row.to(rows[0].device) for row in rows]))

    def normalize(scores: Tensor, how: str | None) -> Tensor:
        # 0 / 0 where nothing in the group counts: all of it is equally worthless
        return type(importance)._normalize(importance, scores, how) if scores.any() else scores

    importance._reduce, importance._normalize = reduce, normalize
    found = importance(items)
    if found is None:
        raise PlanError(
            f"`by {name}` says nothing about the group `{group.name}`: it holds no layer that {name} can score",
            hint="rank it by l1, or protect it",
        )
    scores: Scores = found.detach().to("cpu", torch.float64).numpy()
    if not np.isfinite(scores).all():
        raise PlanError(
            f"`by {name}` gives the group `{group.name}` scores that are not finite",
            hint="look for NaN and infinities in the weights and, where it is used, in the calibration batch",
        )
    return scores


def _per_unit(values: Tensor, place: list[int], width: int) -> Tensor:
    """Channels' scores → the sum over each unit's channels."""
    index = torch.tensor(place, device=values.device)
    return torch.zeros(width, dtype=torch.float32, device=values.device).index_add_(0, index, values.float())


def _items(groups: Groups, group: Group, root: nn.Module, function: ModuleType) -> Iterator[_Item]:
    """The group's layer dimensions, that of the first producer first: the group has its name, and `#2` if need be."""
    first = group.name.partition("#")[0]

    def follows(member: Member) -> bool:
        return member.role != "out" or (member.path or member.tensor) != first

    for member in sorted(group.members, key=follows):
        if member.tensor.rpartition(".")[2] != "weight":
            continue  # a bias goes with its weight
        layer = root.get_submodule(member.path)
        named = _function(layer, member.dim)
        if named is not None:
            coordinates, places = _places(groups, group, member)
            narrow = groups.labelled.names[member.tensor].narrow is not None and member.dim == 1
            dep = _Dependency(_ungrouped(layer, narrow), getattr(function, named))
            yield _Item(dep, coordinates.tolist(), places.tolist())


def _ungrouped(layer: nn.Module, by_input: bool) -> nn.Module:
    """The layer with the same tensors, said to have one group.

    Coordinates are those of the weight; torch-pruning would take them for input channels and repeat what it finds for
    each group, which for FPGM fails. `by_input`: they are input channels, each of which one group sees: the weight is
    that of a layer of one group, zero where the groups do not meet.
    """
    if not isinstance(layer, nn.modules.conv._ConvNd) or layer.groups == 1:
        return layer
    twin = copy.copy(layer)
    twin.groups = 1
    if by_input:
        weight, grad = nn.Parameter(_dense(layer.weight.detach(), layer.groups)), layer.weight.grad
        weight.grad = None if grad is None else _dense(grad, layer.groups)
        twin._parameters = {**layer._parameters, "weight": weight}
    elif hasattr(layer, "_importance") and not layer.transposed:
        twin._importance = layer._importance.reshape(layer.groups, -1).sum(0)  # type: ignore[operator]
    return twin


def _dense(weight: Tensor, groups: int) -> Tensor:
    """The weight (g·n, m, …) of a grouped convolution as (g·n, g·m, …)."""
    blocks = weight.reshape(groups, -1, *weight.shape[1:])
    dense = blocks.new_zeros(groups, blocks.shape[1], groups, *blocks.shape[2:])
    at = torch.arange(groups, device=weight.device)
    dense[at, :, at] = blocks
    return dense.flatten(0, 1).flatten(1, 2)


_NORMS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.modules.batchnorm._BatchNorm,), "prune_batchnorm_out_channels"),
    ((nn.modules.instancenorm._InstanceNorm,), "prune_instancenorm_out_channels"),
    ((nn.LayerNorm,), "prune_layernorm_out_channels"),
    ((nn.GroupNorm,), "prune_groupnorm_out_channels"),
    ((nn.PReLU,), "prune_prelu_out_channels"),
)


def _function(layer: Any, dim: int) -> str | None:
    """The name of torch-pruning's function for a dimension of a layer's weight; None if it has none."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        if 1 < layer.groups == layer.in_channels == layer.out_channels:
            return "prune_depthwise_conv_out_channels" if dim == 0 else None
        made = 1 if layer.transposed else 0
        return {made: "prune_conv_out_channels", 1 - made: "prune_conv_in_channels"}.get(dim)
    if isinstance(layer, nn.Linear):
        return "prune_linear_out_channels" if dim == 0 else "prune_linear_in_channels"
    return next((named for kinds, named in _NORMS if isinstance(layer, kinds)), None)


def _places(groups: Groups, group: Group, member: Member) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The coordinates of a member that belong to the group, and the position of each one's unit in it."""
    unit = groups.units_along(member.tensor, member.dim)
    order = np.argsort(group.units)
    at = np.minimum(np.searchsorted(group.units, unit, sorter=order), group.width - 1)
    place = order[at]
    mine = group.units[place] == unit
    return np.flatnonzero(mine), place[mine]


def _with_fisher(importance: Any, item: _Item, function: ModuleType) -> bool:
    """Give OBDC the Fisher information of the filters of an item; False for an item it does not score.

    torch-pruning gathers it from hooks, for every filter of a layer and one column more for a bias, and multiplies it
    with the weights of the filters in the group; here both have the same shape.
    """
    layer = item.dep.layer
    if item.dep.pruning_fn not in (function.prune_conv_out_channels, function.prune_linear_out_channels):
        return False
    assert isinstance(layer.weight, Tensor)
    assert layer.weight.grad is not None
    by_filter = layer.weight.grad.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight.grad
    importance.Fisher[layer] = by_filter[item.idxs].flatten(1)
    importance.steps = 1
    importance.num_classes = None  # it would skip a linear layer of that width, taking it for a classifier
    return True
