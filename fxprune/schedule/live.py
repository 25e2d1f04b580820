"""Names that discovery uses → the parameters of a live model that hold them, weight-normed ones too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from fxprune.errors import PlanError

__all__ = ["Held", "add_weight_norm", "held"]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """How a live model holds a tensor along one of its dimensions."""

    parameter: nn.Parameter  # the tensor itself; or its scale γ, of which w = γ·v/‖v‖ is made
    dim: int
    scale: bool  # whether it is such a scale

    def norms(self) -> Tensor:
        """‖w_j‖₂ of each slice along the dimension; |γ_j| where that is known."""
        values = self.parameter.detach()
        if self.scale:
            return values.flatten().abs()
        lengths: Tensor = torch.linalg.vector_norm(values.movedim(self.dim, 0).flatten(1), dim=1)
        return lengths


def held(model: nn.Module, tensor: str, dim: int) -> Held | None:
    """The parameter of a model behind a tensor's name; None for a buffer, or a parameter that is not trained.

    Raises:
        PlanError: the tensor is made by a parametrisation other than weight norm along this dimension.
    """
    path, _, name = tensor.rpartition(".")
    part = model.get_submodule(path)
    if parametrize.is_parametrized(part, name):
        chain: Any = part.parametrizations[name]  # type: ignore[index]
        if len(chain) == 1 and type(chain[0]).__name__ == "_WeightNorm" and chain[0].dim % chain.original1.dim() == dim:
            return _trained(chain.original0, dim, True)
        made_by = ", ".join(type(step).__name__.lstrip("_") for step in chain)
        raise PlanError(
            f"{tensor} is made by a parametrisation ({made_by}) that cannot be shrunk",
            hint="remove it with torch.nn.utils.parametrize.remove_parametrizations, or protect the layer",
        )
    parameters = part._parameters
    if name not in parameters and f"{name}_g" in parameters:  # torch.nn.utils.weight_norm, the hook of old
        return _trained(parameters[f"{name}_g"], dim, True)
    return _trained(parameters.get(name), dim, False)


def _trained(parameter: Any, dim: int, scale: bool) -> Held | None:
    return Held(parameter, dim, scale) if isinstance(parameter, nn.Parameter) and parameter.requires_grad else None


def add_weight_norm(model: nn.Module, tensors: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """Write weights as scale times direction, w = γ·v/‖v‖ with γ = ‖w‖₂: the function stays the same.

    Args:
        tensors: names of weights and the dimension of their filters. Those that are made by a parametrisation already
            are left as they are. A filter of zeros gets γ = 0 and a direction that is not.

    Returns:
        the names of the weights that were changed.
    """
    done = []
    for tensor, dim in tensors:
        path, _, name = tensor.rpartition(".")
        part = model.get_submodule(path)
        weight = part._parameters.get(name)
        if weight is None or parametrize.is_parametrized(part, name):
            continue
        weight_norm(part, name, dim)
        chain: Any = part.parametrizations[name]  # type: ignore[index]
        with torch.no_grad():
            chain.original1.add_((chain.original0 == 0).to(weight.dtype))
        chain.original0.requires_grad_(weight.requires_grad)
        chain.original1.requires_grad_(weight.requires_grad)
        done.append(tensor)
    return tuple(done)
