"""A network, its optimizer and its running mean, on some device: one training step at a time, and its whole state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fxprune.train.optim import Loss, Optimizing

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Learner"]


class Learner:
    """What is trained. Replaced by another after a cut.

    Args:
        fabric: devices and precision.
        model: the network, raw; it is moved to the device.
    """

    def __init__(self, fabric: Fabric, model: nn.Module) -> None:
        self.fabric = fabric
        self.model = model.to(fabric.device).train()
        self.wrapped: Any = None
        self.optimizer: Any = None
        self.ema: dict[str, Tensor] | None = None

    def wrap(self) -> None:
        """Make ready for steps, after the parameters have become others: under DDP, wrapped anew."""
        self.wrapped = self.optimizer = self.ema = None
        self.wrapped = self.fabric.setup_module(self.model)

    def restart(self, optimizing: Optimizing) -> None:
        """A new optimizer. It has the parameters by name: its state goes by their order, and a cut made again on a
        network without weight norm leaves weights and biases in another one."""
        parameters = (parameter for _, parameter in sorted(self.model.named_parameters(), key=lambda pair: pair[0]))
        self.optimizer = self.fabric.setup_optimizers(optimizing.make(parameters))

    def step(
        self, given: Tensor, target: Tensor, loss: Loss, rate: float, clip: float | None, regularise: Callable[[], None]
    ) -> Tensor:
        """One optimizer step; the loss, without its graph.

        `regularise` adds to the gradients after they were unscaled and clipped: the clip is the loss's.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        value = loss(self.wrapped(given), target)
        self.fabric.backward(value)
        if clip is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        else:
            self.fabric.strategy.precision.unscale_gradients(self.optimizer.optimizer)
        regularise()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return value.detach()

    # -- the running mean ----------------------------------------------------------------------------------------------

    def average(self, decay: float) -> None:
        """Take the present weights into the running mean: m ← decay·m + (1 − decay)·w."""
        weights = dict(self.model.named_parameters())
        with torch.no_grad():
            if self.ema is None:
                self.ema = {name: weight.detach().clone() for name, weight in weights.items()}
            else:
                torch._foreach_lerp_(list(self.ema.values()), [weights[name] for name in self.ema], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the weights are their running mean, where there is one."""
        weights = dict(self.model.named_parameters()) if self.ema is not None else {}
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_((self.ema or {})[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.copy_(before[name])

    def settle(self) -> None:
        """The running mean becomes the weights."""
        if self.ema is not None:
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    weight.copy_(self.ema[name])
            self.ema = None

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer, running mean, scaler."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": None if self.optimizer is None else self.optimizer.optimizer.state_dict(),
            "ema": self.ema,
            "scaler": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], optimizing: Optimizing) -> None:
        """The inverse; the model has the right shape already."""
        self.model.load_state_dict(state["model"])
        self.wrap()
        if state["optimizer"] is not None:
            self.restart(optimizing)
            self.optimizer.optimizer.load_state_dict(state["optimizer"])
        if state["ema"] is not None:
            self.ema = {name: value.to(self.fabric.device) for name, value in state["ema"].items()}
        if state["scaler"]:
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
