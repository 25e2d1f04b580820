"""Names from a spec → loss functions and optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LOSSES", "OPTIMIZERS", "Loss", "Optimizing", "renew"]

LOSSES = {"charbonnier": ("peak", "eps"), "l1": ("peak",), "l2": ("peak",)}  # with their arguments
OPTIMIZERS = {
    "adam": ("betas", "eps", "weight_decay"),
    "adamw": ("betas", "eps", "weight_decay"),
    "sgd": ("momentum", "weight_decay"),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss of pictures in [0, 1], measured on levels of 0 … `peak`.

    255 levels are what the published strengths of penalties are for: against a loss on [0, 1] the same penalty would
    be 255 times as strong.
    """

    name: str  # l1: mean |d|; l2: mean d²; charbonnier: mean √(d² + eps²)
    peak: float = 255.0
    eps: float = 1e-3  # in levels

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean over everything, a scalar, in levels."""
        d = (output.float() - target.float()) * self.peak
        if self.name == "l1":
            return d.abs().mean()
        square = d.square()
        return square.mean() if self.name == "l2" else (square + self.eps**2).sqrt().mean()


@dataclass(frozen=True, slots=True)
class Optimizing:
    """An optimizer to be made."""

    name: str
    rate: float = 1e-4
    args: tuple[tuple[str, Any], ...] = ()

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of all parameters that are trained."""
        trained = [p for p in parameters if p.requires_grad]
        args = dict(self.args)
        if self.name == "sgd":
            return torch.optim.SGD(trained, self.rate, **args)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind(trained, self.rate, **args)


def renew(model: nn.Module, seed: int) -> None:
    """New weights for every layer that knows how to draw them and is trained, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for part in model.modules():
            reset = getattr(part, "reset_parameters", None)
            own = list(part.parameters(recurse=False))
            if callable(reset) and own and all(p.requires_grad for p in own):
                reset()
