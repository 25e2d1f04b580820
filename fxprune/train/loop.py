"""A spec with phases + a network + pictures → the compact network, trained; resumable at any step, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fxprune.lang import Cut, Spec
from fxprune.schedule import Run
from fxprune.schedule.cutting import in_names
from fxprune.train.events import Beat, StoppedError, TrainError, Watch
from fxprune.train.learner import Learner
from fxprune.train.optim import renew
from fxprune.train.result import Trained, result
from fxprune.train.session import Session
from fxprune.train.settings import Settings
from fxprune.train.signals import Flag, interruptible

__all__ = ["Trained", "train"]

CHECKPOINT_EVERY = 1000  # steps
AGREE_EVERY = 10  # steps between two looks at whether any process was asked to stop


def train(
    spec: Spec,
    model: nn.Module,
    example: Any = None,
    *,
    data: Path | None = None,
    folder: Path = Path(),
    run: Path | None = None,
    device: str | None = None,
    resume: bool = False,
    watch: Watch = lambda event: None,
    beat: Beat = lambda step, length: None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    seed: int = 0,
    sizes: Sequence[tuple[int, int]] = (),
) -> Trained:
    """Take a network through the phases of a spec.

    Args:
        spec: with phases that take steps.
        model: any network that makes of an image one `scale` times its size; it is not changed.
        example: an input tensor, or a tuple of inputs.
        data: folder of training images, or the folder in which those that the spec names are.
        folder: what paths in the spec start from.
        run: folder for checkpoints and metrics; None: nothing is written, and the run cannot be resumed.
        device: cpu, cuda, cuda:1, mps; None: where the model is. Under torchrun, one for each process.
        resume: go on from the last checkpoint in `run`, if there is one.
        watch: told what happens, in the first process.
        beat: told after every step, in the first process.
        checkpoint_every: steps between two checkpoints.
        seed: of all that is random but the data, which have their own.
        sizes: heights and widths of images that the network is known to take: each cut is verified there first.

    Raises:
        PlanError, InputError: the spec, the data or the network won't do; a run that was begun before is in the way.
        TrainError: the loss is not a number.
        StoppedError: asked to stop (Ctrl-C, SIGTERM); a checkpoint was written.
    """
    on = device or str(next((p.device for p in model.parameters()), torch.device("cpu")))
    with torch.random.fork_rng(devices=[on] if on.startswith("cuda") else []):
        torch.manual_seed(seed)
        trainer = Trainer(spec, model, example, on, run, seed, sizes)
        trainer.gather(data, folder, watch, beat)
        trainer.begin(resume)
        with interruptible() as flag:
            return trainer.train(flag, checkpoint_every)


class Trainer(Session):
    """One run of a spec, phase by phase. `train` is the way to use it."""

    def train(self, flag: Flag, checkpoint_every: int) -> Trained:
        """Phase by phase."""
        while self.pruner.item is not None:
            if self.pruner.run is not None:
                self.phase(self.pruner.run, flag, checkpoint_every)
            else:
                self.cut()
        return self.finish()

    def phase(self, run: Run, flag: Flag, checkpoint_every: int) -> None:
        """One phase that takes steps, or what is left of it."""
        number = self.pruner.item_number
        settings = self.training.phases[number]
        self.prepare(settings)
        self.reporter.begin(run.word, length=self.pruner.length, marked=len(self.pruner.marked), at=self.pruner.step)
        source = self.batches.of(settings.batch, settings.patch)
        batches = source.steps(self.reporter.done, workers=self.training.data.workers)
        try:
            for _, given, target in batches:
                self.step(settings, given, target)
                stop = self.asked(flag)
                if stop or self.reporter.done % checkpoint_every == 0:
                    self.save()
                if stop:
                    raise StoppedError(f"stopped after step {self.reporter.done}", hint=self._going_on())
                if self.pruner.item_number != number:
                    return
        except TrainError as error:
            raise TrainError(str(error.diagnostics[0].message), hint=self._what_may_help(error)) from None
        finally:
            batches.close()  # type: ignore[attr-defined]

    def prepare(self, settings: Settings) -> None:
        """Wrap the network and make an optimizer, where those at hand are of other parameters."""
        if settings.init and self.pruner.step == 0:
            renew(self.learner.model, self.seed + self.pruner.item_number)
            self.learner.optimizer = None
        if self.learner.wrapped is None or self.generation != self.pruner.generation:
            self.learner.wrap()
            self.generation = self.pruner.generation
        if self.learner.optimizer is None:
            self.learner.restart(self.training.optimizer)

    def step(self, settings: Settings, given: Tensor, target: Tensor) -> None:
        """One training step, and what is due after it."""
        pruner, learner, reporter, device = self.pruner, self.learner, self.reporter, self.fabric.device
        rate = settings.rate(pruner.step, pruner.length or 0)
        given, target = given.to(device, non_blocking=True), target.to(device, non_blocking=True)
        loss = learner.step(given, target, self.training.loss, rate, settings.clip, pruner.before_step)
        if settings.ema is not None:
            learner.average(settings.ema)
        reporter.stepped(loss, pruner)
        number, done = pruner.item_number, pruner.step + 1
        last = pruner.length is not None and done >= pruner.length
        met = False
        if last or done % settings.interval(pruner.length) == 0:
            mean = reporter.report(pruner, rate)
            met = settings.loss is not None and mean <= settings.loss
        if not last and settings.validate is not None and done % settings.validate == 0:
            reporter.validate(learner)
            met = met or (settings.psnr is not None and (reporter.psnr or 0.0) >= settings.psnr)
        if last or met:
            learner.settle()
            reporter.validate(learner)
        pruner.after_step()
        if met and pruner.item_number == number:
            pruner.end_run()

    def cut(self) -> None:
        """Cut, and go on with the compact network."""
        statement = self.pruner.item
        assert isinstance(statement, Cut)
        self.reporter.phase = statement.word
        made = self.pruner.cut()
        self.record.add(made, in_names(self.pruner.groups, made.plan.removed), self.pruner.why)
        self.memory.cut(made.slicer)
        at = self.pruner.item_number + 1
        self.learner = Learner(self.fabric, made.module)
        params = sum(p.numel() for p in made.module.parameters())
        apart = made.verified.difference if made.verified else None
        self.reporter.tell("cut", params=params, difference=apart)
        self.reporter.validate(self.learner)
        self.pruner, self.generation = self._pruner(at), -1
        self.save()

    def finish(self) -> Trained:
        """The run's result."""
        self.save(finished=True)
        self.reporter.phase = ""
        self.reporter.tell("finish", psnr=self.reporter.psnr)
        return result(
            self.learner.model,
            self.original,
            self.groups,
            self.record,
            self.reporter,
            self.notes,
            example=self.example,
            spec=self.spec,
        )

    def asked(self, flag: Flag) -> bool:
        """Whether any process was asked to stop; all of them say the same."""
        if self.fabric.world_size == 1:
            return flag.raised
        return self.reporter.done % AGREE_EVERY == 0 and self.reporter.mean(float(flag.raised)) > 0

    def _going_on(self) -> str:
        if self.run is None:
            return "nothing was saved: there is no folder for it"
        return f"what was done is saved in {self.run}; the same command with --resume goes on"

    def _what_may_help(self, error: TrainError) -> str:
        hint = error.diagnostics[0].hint or ""
        good = next(iter(self.checkpoints.steps()), None) if self.checkpoints else None
        return hint if good is None else f"{hint}; the last good checkpoint is that of step {good} in {self.run}"
