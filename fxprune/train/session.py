"""Spec, network and pictures → the parts of a run, and its whole state: saved, and put back bit by bit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fxprune.errors import InputError, OutputError
from fxprune.lang import Norm, Spec, format_spec
from fxprune.models import check_example, inputs_of
from fxprune.plan import Calibration
from fxprune.schedule import Pruner, Rewind, Run, Save, program
from fxprune.schedule.discovery import find_groups
from fxprune.train.batches import Batches
from fxprune.train.checkpoints import Checkpoints
from fxprune.train.devices import launched
from fxprune.train.events import METRICS, Beat, Metrics, Watch
from fxprune.train.learner import Learner
from fxprune.train.material import material
from fxprune.train.memory import Memory
from fxprune.train.reading import training
from fxprune.train.reporter import Reporter
from fxprune.train.state import FORMAT, Record, check_spec, random_state, restore_random, scale_of

__all__ = ["Session"]


class Session:
    """A run's parts, and where it stands.

    Args:
        spec: with phases that take steps.
        model, example: the network, which is not changed, and its input.
        device: cpu, cuda, cuda:1, mps.
        run: folder for checkpoints and metrics; None: nothing is written.
        seed: of all that is random but the data.
        sizes: heights and widths that the network is known to take: cuts are verified there first.
    """

    def __init__(
        self,
        spec: Spec,
        model: nn.Module,
        example: Any,
        device: str,
        run: Path | None,
        seed: int,
        sizes: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.spec, self.original, self.run, self.seed, self.sizes = spec, model, run, seed, tuple(sizes)
        self.program = program(spec)
        self.training = training(self.program)
        self.fabric = launched(device, self.training.precision)
        self.checkpoints = Checkpoints(run) if run is not None else None
        fresh = copy.deepcopy(model).to(self.fabric.device)
        on = self.fabric.device
        self.example = pytree.tree_map_only(Tensor, lambda x: x.to(on), inputs_of(fresh, example))
        check_example(fresh, self.example)
        self.groups = find_groups(fresh, self.example, spec)  # of the network as it came
        self.scale = scale_of(fresh, self.example)
        self.learner = Learner(self.fabric, fresh)
        self.memory = Memory()
        self.record = Record(native=any(norm.mode == "native" for norm in spec.of(Norm)))
        self.notes: tuple[str, ...] = ()
        self.generation = -1  # of the parameters that the optimizer has; the pruner counts them

    # -- beginning -----------------------------------------------------------------------------------------------------

    def gather(self, data: Path | None, folder: Path, watch: Watch, beat: Beat) -> None:
        """Find the pictures."""
        images = material(self.training.data, self.scale, root=data, folder=folder)
        self.batches = Batches(images, self.training.data, self.fabric.global_rank, self.fabric.world_size)
        for settings in self.training.phases.values():
            self.batches.of(settings.batch, settings.patch)  # wrong sizes are told before any step
        self.notes = images.notes
        self.reporter = Reporter(self.fabric, watch, beat, images.validation)

    def begin(self, resume: bool) -> None:
        """Start anew, or go on from the last checkpoint.

        Raises:
            InputError: an unfinished run is in the way; the checkpoint is that of another spec.
        """
        state, notes = (None, ()) if self.checkpoints is None else self.checkpoints.latest()
        if state is not None and not resume and not state["finished"]:
            hint = f"go on with --resume, or delete {self.run}"
            raise InputError(f"{self.run} holds a run that is at step {state['reporter']['done']}", hint=hint)
        self.fabric.barrier()  # all have looked before the first one writes
        self.notes += notes
        if resume and state is not None:
            check_spec(state, self.spec)
            if self.checkpoints is not None and self.fabric.global_rank == 0:
                self.checkpoints.sweep()
            self.restore(state)
        else:
            if self.checkpoints is not None and self.fabric.global_rank == 0:
                self.checkpoints.clear()
            self.reporter.metrics = self._metrics(0)
            self.pruner = self._pruner(0)
        if self.fabric.global_rank:
            torch.manual_seed(self.seed + 1_000_003 * self.fabric.global_rank + self.reporter.done)
        runs = [item for item in self.program.items if isinstance(item, Run)]
        steps = sum(run.length(epoch=self.batches.epoch) or 0 for run in runs)
        self.reporter.tell("start", steps=steps, resumed=resume and state is not None)
        for note in self.notes:
            self.reporter.tell("note", text=note)

    def _metrics(self, size: int) -> Metrics:
        if self.run is None or self.fabric.global_rank:
            return Metrics(None)
        try:
            self.run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.run}: {error.strerror or error}") from None
        return Metrics(self.run / METRICS, size)

    def _pruner(self, at: int, *, resuming: bool = False) -> Pruner:
        return Pruner(
            self.program,
            self.learner.model,
            self.example,
            calibration=self.calibration,
            at=at,
            epoch=self.batches.epoch,
            act=self.act,
            agree=lambda decided: self.fabric.broadcast(decided),
            sizes=self.sizes,
            resuming=resuming,
        )

    def calibration(self) -> Calibration:
        """The coming batch, for criteria that need data; the same in all processes."""
        settings = next(iter(self.training.phases.values()))
        given, target = self.batches.whole(settings.batch, settings.patch, self.reporter.done)
        return Calibration((given.to(self.fabric.device),), target.to(self.fabric.device))

    def act(self, item: Save | Rewind) -> None:
        """What the pruner leaves to the trainer."""
        if isinstance(item, Rewind):
            self.memory.rewind(item.label, self.learner.model)
            return
        self.memory.save(item.label, self.learner.model)
        if self.run is not None and self.fabric.global_rank == 0:
            self.memory.write(item.label, self.run)
        self.reporter.tell("save", label=item.label, psnr=self.reporter.psnr)

    # -- saving --------------------------------------------------------------------------------------------------------

    def save(self, *, finished: bool = False) -> None:
        """Write a checkpoint; if that fails, say so and go on with what was there."""
        if self.checkpoints is None:
            return
        self.reporter.check()
        if self.fabric.global_rank == 0:
            try:
                path = self.checkpoints.write(self.reporter.done, {**self.state_dict(), "finished": finished})
                self.reporter.tell("checkpoint", path=str(path))
            except OutputError as error:
                self.reporter.tell("note", text=f"no checkpoint at step {self.reporter.done}: {error}")
        self.fabric.barrier()

    def state_dict(self) -> dict[str, Any]:
        """Everything."""
        learner = self.learner.state_dict()
        if self.generation != self.pruner.generation:  # the parameters are others: a new optimizer is due
            learner["optimizer"] = None
        return {
            "format": FORMAT,
            "spec": format_spec(self.spec),
            "record": self.record.state_dict(),
            "pruner": self.pruner.state_dict(),
            "learner": learner,
            "memory": self.memory.state_dict(),
            "reporter": self.reporter.state_dict(),
            "random": random_state(self.fabric.device),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`: the cuts are made again, then everything is as it was."""
        fresh = copy.deepcopy(self.original).to(self.fabric.device).train()
        self.learner = Learner(self.fabric, self.record.replay(state["record"], fresh, self.example, self.spec))
        self.memory.load_state_dict(state["memory"], self.fabric.device)
        self.reporter.load_state_dict(state["reporter"], self._metrics(state["reporter"]["metrics"]))
        self.pruner = self._pruner(0, resuming=True)
        self.pruner.load_state_dict(state["pruner"])
        self.learner.load_state_dict(state["learner"], self.training.optimizer)
        self.generation = self.pruner.generation
        restore_random(state["random"], self.fabric.device)
