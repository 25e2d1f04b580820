"""How a run goes → events for the metrics and for who watches: losses, norms, PSNR; and an end to a broken run."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from fxprune.errors import OutputError
from fxprune.schedule import Pruner
from fxprune.train.evaluate import evaluate
from fxprune.train.events import Beat, Event, Kind, Metrics, TrainError, Watch
from fxprune.train.learner import Learner
from fxprune.train.pictures import ImageSet
from fxprune.train.upscaling import Setup

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Reporter"]


class Reporter:
    """Tells what happens; only the first process does.

    Args:
        fabric: of the run.
        watch: called with every event.
        beat: called after every step.
        validation: what PSNR is measured on; none: it is not.
    """

    def __init__(self, fabric: Fabric, watch: Watch, beat: Beat, validation: Sequence[ImageSet]) -> None:
        self.fabric, self.watch, self.beat, self.validation = fabric, watch, beat, validation
        self.metrics = Metrics(None)
        self.done = 0  # training steps
        self.phase = ""  # the word of the present one
        self.psnr: float | None = None  # of the last validation
        self.total, self.counted = torch.zeros((), device=fabric.device), 0  # losses since the last report
        self.clock = (time.perf_counter(), 0)

    def tell(self, kind: Kind, **data: Any) -> None:
        """Hand an event on."""
        if self.fabric.global_rank == 0:
            event = Event(kind, self.done, self.phase, data)
            try:
                self.metrics(event)
            except OutputError as error:
                self.watch(Event("note", self.done, self.phase, {"text": f"no more metrics are written: {error}"}))
            self.watch(event)

    def begin(self, word: str, **data: Any) -> None:
        """A phase begins, or goes on."""
        self.phase = word
        self.clock = (time.perf_counter(), self.done)
        self.tell("phase", **data)

    def stepped(self, loss: Tensor, pruner: Pruner) -> None:
        """A step was made. On a CPU, where looking costs nothing, its loss is looked at."""
        self.done += 1
        if self.fabric.global_rank == 0:
            self.beat(pruner.step + 1, pruner.length)
        self.total, self.counted = self.total + loss, self.counted + 1
        if self.total.device.type == "cpu":
            self.check()

    def report(self, pruner: Pruner, rate: float) -> float:
        """Tell how training goes; returns the mean loss since the last report, over all processes."""
        self.check()
        mean = self.mean(float(self.total) / self.counted)
        now, (before, since) = time.perf_counter(), self.clock
        speed = (self.done - since) / max(1e-9, now - before)
        data: dict[str, Any] = {"loss": mean, "lr": rate, "speed": speed, "of": [pruner.step + 1, pruner.length]}
        if len(pruner.marked):
            data["alpha"] = pruner.strongest
            data["kept_norm"], data["marked_norm"] = pruner.norms()
        if pruner.aligners:
            data["agreement"] = pruner.agreement()
        self.tell("step", **data)
        self.clock = (now, self.done)
        self.total, self.counted = torch.zeros_like(self.total), 0
        return mean

    def validate(self, learner: Learner) -> None:
        """Measure PSNR: on Y, the mean over the sets."""
        if not self.validation:
            return
        if self.fabric.global_rank == 0:
            with learner.averaged():
                found = evaluate(learner.model, self.validation, setup=Setup(device=str(self.fabric.device)))
            scores = {one.name: one.means[0] for one in found.sets}
            self.psnr = sum(score.psnr for score in scores.values()) / len(scores)
            sets = {name: {"psnr": score.psnr, "ssim": score.ssim} for name, score in scores.items()}
            self.tell("validate", psnr=self.psnr, sets=sets)
        if self.fabric.world_size > 1:
            self.psnr = self.fabric.broadcast(self.psnr)

    def check(self) -> None:
        """Stop at the first loss that is not a number.

        Raises:
            TrainError: with the step.
        """
        if not math.isfinite(float(self.total)):
            message = f"the loss of `{self.phase}` is not a number at step {self.done}"
            raise TrainError(message, hint="a lower learning rate, or clip 1, may help")

    def mean(self, value: float) -> float:
        """The mean over all processes."""
        if self.fabric.world_size == 1:
            return value
        return float(cast(Tensor, self.fabric.all_reduce(torch.tensor(value), reduce_op="mean")))

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        losses = [self.total.cpu(), self.counted]
        return {"done": self.done, "psnr": self.psnr, "losses": losses, "metrics": self.metrics.size}

    def load_state_dict(self, state: dict[str, Any], metrics: Metrics) -> None:
        """The inverse; `metrics` is the file, cut to the size it had."""
        self.done, self.psnr, self.metrics = state["done"], state["psnr"], metrics
        self.total, self.counted = state["losses"][0].to(self.fabric.device), state["losses"][1]
