"""A private copy of a network + a calibration batch → gradients and activations where torch-pruning looks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fxprune.plan.calibration import Calibration

__all__ = ["MEASURES", "activations", "first_order", "second_order"]


def first_order(root: nn.Module, calibration: Calibration) -> None:
    """`.grad` of every parameter: the gradient of the batch's loss, zero where none arrives."""
    calibration.measure(root).backward()  # type: ignore[no-untyped-call]
    for parameter in root.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def second_order(root: nn.Module, calibration: Calibration) -> None:
    """`.grad` of every parameter: the mean of g² over samples, which stands for the diagonal of the Hessian."""
    squares = {parameter: torch.zeros_like(parameter) for parameter in root.parameters()}
    for sample in calibration.samples():
        root.zero_grad()
        sample.measure(root).backward()  # type: ignore[no-untyped-call]
        for parameter, square in squares.items():
            if parameter.grad is not None:
                square += parameter.grad.square()
    for parameter, square in squares.items():
        parameter.grad = square / calibration.size


def activations(root: nn.Module, calibration: Calibration) -> None:
    """`_importance` of every convolution and linear layer: |input| by channel, as torch-pruning reduces it.

    The mean over all else for a convolution, the sum for a linear layer; a layer used several times adds up.
    """

    def watch(layer: Any, given: tuple[Tensor, ...], out: Tensor) -> None:
        at = -1 if isinstance(layer, nn.Linear) else 1 - layer.weight.dim() + given[0].dim()
        rows = given[0].abs().movedim(at, 0).flatten(1)
        seen = rows.sum(1) if isinstance(layer, nn.Linear) else rows.mean(1)
        layer._importance = getattr(layer, "_importance", 0) + seen

    handles = [
        part.register_forward_hook(watch)
        for part in root.modules()
        if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd))
    ]
    try:
        calibration.observe(root)
    finally:
        for handle in handles:
            handle.remove()


MEASURES: dict[str, Callable[[nn.Module, Calibration], None]] = {
    "activation": activations,
    "hessian": second_order,
    "obdc": second_order,
    "taylor": first_order,
}
