"""Marked units of a live model → the penalty ½α‖·‖² on what makes them, its gradient added in one fused call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from fxprune.errors import PlanError
from fxprune.groups import Group, Groups
from fxprune.groups.labels import Ids
from fxprune.schedule.live import Held, held
from fxprune.schedule.ramp import Ramp

NORMS = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)  # layers with scales

__all__ = ["Cohort", "Penalty", "norms"]


@dataclass(frozen=True, slots=True, eq=False)
class Penalty:
    """½α Σ m·p², summed over the parameters that make and carry some units; m is 1 on their slices."""

    parameters: tuple[nn.Parameter, ...]
    masks: tuple[Tensor, ...]  # 0 and 1, each of its parameter's type; broadcast on the CPU, of full size elsewhere

    @classmethod
    def on(cls, model: nn.Module, groups: Groups, which: Iterable[Group], units: Ids, on_scale: bool) -> Penalty:
        """The penalty on the given units of some groups.

        It works on what makes a unit and what is carried along with it: filters, biases, norms. Not on what consumes
        it. Of a weight-normed filter it takes the scale, which alone decides ‖w‖; `on_scale` insists on that.

        Raises:
            PlanError: `on_scale`, and a layer without a scale.
        """
        masks: dict[nn.Parameter, Tensor] = {}
        for group in which:
            _refuse_without_scale(model, group, on_scale)
            for member in group.members:
                if member.role == "in":
                    continue
                found = held(model, member.tensor, member.dim)
                hit = np.isin(groups.units_along(member.tensor, member.dim), np.intersect1d(group.units, units))
                if found is None or not hit.any() or (on_scale and member.role == "out" and not found.scale):
                    continue
                mask = _mask(found, hit)
                known = masks.get(found.parameter)
                masks[found.parameter] = mask if known is None else torch.maximum(known, mask)
        full = [m if p.device.type == "cpu" else m.expand_as(p).contiguous() for p, m in masks.items()]
        return cls(tuple(masks), tuple(full))

    def add_gradient(self, alpha: float) -> None:
        """`.grad` += α·m·p, for all parameters at once."""
        if not self.parameters or alpha == 0:
            return
        grads = []
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
        with torch.no_grad():
            torch._foreach_addcmul_(grads, list(self.parameters), list(self.masks), value=alpha)

    def value(self, alpha: float) -> Tensor:
        """½α Σ m·p², a scalar without gradient."""
        with torch.no_grad():
            parts = [(m * p.square()).sum() for p, m in zip(self.parameters, self.masks, strict=True)]
            return alpha / 2 * torch.stack(parts).sum() if parts else torch.zeros(())


def _refuse_without_scale(model: nn.Module, group: Group, on_scale: bool) -> None:
    if not on_scale:
        return
    makers = [held(model, m.tensor, m.dim) for m in group.members if m.role == "out"]
    carried = any(m.role == "along" and isinstance(model.get_submodule(m.path), NORMS) for m in group.members)
    if not carried and any(maker is not None and not maker.scale for maker in makers):
        raise PlanError(
            f"`on scale`: {group.name} has no scale", hint="add a line `weight_norm` before it, or shrink l2 alone"
        )


def _mask(found: Held, hit: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Tensor:
    shape = [1] * found.parameter.dim()
    shape[found.dim] = -1
    return torch.from_numpy(hit).to(found.parameter.device, found.parameter.dtype).reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Groups whose penalty stands at one strength, and grows together or not at all."""

    keys: tuple[str, ...]  # of the groups
    penalty: Penalty
    start: Fraction  # α before the phase
    ramp: Ramp | None  # None: it stands

    def alpha(self, step: int) -> Fraction:
        """α at a step of the phase; at -1, before it."""
        return self.start if self.ramp is None else self.ramp.alpha(step, self.start)


def norms(model: nn.Module, groups: Groups, marked: Ids) -> tuple[float, float]:
    """Mean ‖w_j‖₂ of the filters that are kept and of those that are marked, over groups with marks; NaN of none."""
    kept, gone = [], []
    for group in groups:
        if not np.isin(group.units, marked).any():
            continue
        for member in group.members:
            found = held(model, member.tensor, member.dim) if member.role == "out" else None
            if found is None:
                continue
            along = groups.units_along(member.tensor, member.dim)
            lengths = found.norms().double().cpu().numpy()
            kept.append(lengths[np.isin(along, group.units) & ~np.isin(along, marked)])
            gone.append(lengths[np.isin(along, np.intersect1d(group.units, marked))])
    return _mean(kept), _mean(gone)


def _mean(parts: list[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> float:
    values = np.concatenate(parts) if parts else np.empty(0)
    return float(values.mean()) if values.size else float("nan")
