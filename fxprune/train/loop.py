"""A spec with phases + a network + pictures → the compact network, trained; resumable at any step, bit by bit."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from fxprune.errors import InputError, OutputError
from fxprune.groups import discover
from fxprune.lang import Cut, Norm, Spec, format_spec
from fxprune.models import check_example, example_for
from fxprune.plan import Calibration, Plan
from fxprune.rewrite import Check, Kept, Verified, can_mend
from fxprune.schedule import Cutting, Pruner, Rewind, Run, Save, compose, gone, plan_of, program
from fxprune.schedule.cutting import cut, in_names
from fxprune.trace import trace
from fxprune.train.checkpoints import Checkpoints
from fxprune.train.devices import launched
from fxprune.train.evaluate import Setup, evaluate
from fxprune.train.events import METRICS, Event, Kind, Metrics, StoppedError, TrainError, Watch
from fxprune.train.learner import Learner
from fxprune.train.material import material
from fxprune.train.memory import Memory
from fxprune.train.optim import renew
from fxprune.train.patches import PatchSource
from fxprune.train.settings import Settings, training
from fxprune.train.signals import Flag, interruptible
from fxprune.train.state import FORMAT, check_spec, plain_names, random_state, replay, restore_random

__all__ = ["Trained", "train"]

CHECKPOINT_EVERY = 1000  # steps
AGREE_EVERY = 10  # steps between two looks at whether any process was asked to stop


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a run ended with."""

    module: fx.GraphModule  # compact, trained; in the mode of the model it was made from, on the device it ran on
    kept: Kept  # original name → dimension → kept indices
    plan: Plan  # in terms of the original network
    verified: Verified | None  # masked ≡ compact at the cuts; None: nothing was cut in this process
    native_difference: float | None
    psnr: float | None  # PSNR-Y in dB of the last validation, the mean over its sets
    steps: int
    notes: tuple[str, ...]  # pictures left out, leaks, checkpoints that could not be read


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
    checkpoint_every: int = CHECKPOINT_EVERY,
    seed: int = 0,
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
        checkpoint_every: steps between two checkpoints.
        seed: of all that is random but the data, which have their own.

    Raises:
        PlanError, InputError: the spec, the data or the network won't do; a run that was begun before is in the way.
        TrainError: the loss is not a number.
        StoppedError: asked to stop (Ctrl-C, SIGTERM); a checkpoint was written.
    """
    on = device or str(next((p.device for p in model.parameters()), torch.device("cpu")))
    with torch.random.fork_rng(devices=[on] if on.startswith("cuda") else []):
        torch.manual_seed(seed)
        trainer = Trainer(spec, model, example, on, watch, run, seed)
        trainer.checkpoint_every = checkpoint_every
        trainer.gather(data, folder)
        trainer.begin(resume)
        with interruptible() as flag:
            return trainer.train(flag)


class Trainer:
    """One run of a spec. `train` is the way to use it."""

    def __init__(
        self, spec: Spec, model: nn.Module, example: Any, device: str, watch: Watch, run: Path | None, seed: int
    ) -> None:
        self.spec, self.original, self.watch, self.seed = spec, model, watch, seed
        self.program = program(spec)
        self.training = training(self.program)
        self.fabric = launched(device, self.training.precision)
        self.run = run
        self.checkpoints = Checkpoints(run) if run is not None else None
        self.checkpoint_every = CHECKPOINT_EVERY
        fresh = copy.deepcopy(model).to(self.fabric.device)
        given = example_for(fresh) if example is None else example
        given = given if isinstance(given, (tuple, list)) else (given,)
        self.example = tuple(x.to(self.fabric.device) if isinstance(x, Tensor) else x for x in given)
        check_example(fresh, self.example)
        self.groups = discover(trace(fresh, self.example), can_mend)  # of the network as it came
        self.scale = _scale(fresh, self.example)
        self.learner = Learner(self.fabric, fresh)
        self.memory = Memory()
        self.native = any(norm.mode == "native" for norm in spec.of(Norm))
        self.done = 0  # training steps
        self.cuts: list[Any] = []  # filters removed by each cut, as plain names
        self.kept: Kept = {}
        self.why: dict[str, str] = {}
        self.cuttings: list[Cutting] = []
        self.psnr: float | None = None
        self.notes: tuple[str, ...] = ()
        self.total, self.counted = torch.zeros((), device=self.fabric.device), 0  # losses since the last report
        self.sources: dict[tuple[int, int], PatchSource] = {}
        self.generation = -1
        self.clock = (time.perf_counter(), 0)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.fabric.global_rank == 0

    # -- beginning -----------------------------------------------------------------------------------------------------

    def gather(self, data: Path | None, folder: Path) -> None:
        """Find the pictures."""
        found = material(self.training.data, self.scale, root=data, folder=folder)
        self.images, self.notes = found, found.notes
        for settings in self.training.phases.values():
            self.source(settings)  # wrong sizes are told before any step
        self.epoch = next((s.steps_per_epoch for s in self.sources.values()), 1)

    def source(self, settings: Settings) -> PatchSource:
        """The batches of a phase."""
        key = (settings.batch, settings.patch)
        if key not in self.sources:
            self.sources[key] = self._patches(*key, self.fabric.global_rank, self.fabric.world_size)
        return self.sources[key]

    def _patches(self, batch: int, patch: int, rank: int, world: int) -> PatchSource:
        data = self.training.data
        return PatchSource(
            self.images.training,
            patch=patch,
            batch=batch,
            seed=data.seed,
            rank=rank,
            world=world,
            flip=data.flips,
            rotate=data.rotations,
        )

    def begin(self, resume: bool) -> None:
        """Start anew, or go on from the last checkpoint."""
        state, notes = (None, ()) if self.checkpoints is None else self.checkpoints.latest()
        if state is not None and not resume and not state["finished"]:
            hint = f"go on with --resume, or delete {self.run}"
            raise InputError(f"{self.run} holds a run that was stopped at step {state['done']}", hint=hint)
        self.fabric.barrier()  # all have looked before the first one writes
        self.notes += notes
        if resume and state is not None:
            check_spec(state, self.spec)
            self.restore(state)
        else:
            if self.checkpoints is not None and self.first:
                self.checkpoints.clear()
            self.metrics = self._metrics(0)
            self.pruner = self._pruner(0)
        if self.fabric.global_rank:
            torch.manual_seed(self.seed + 1_000_003 * self.fabric.global_rank + self.done)
        lengths = [item.length(epoch=self.epoch) for item in self.program.items if isinstance(item, Run)]
        self.tell("start", steps=sum(n for n in lengths if n is not None), resumed=self.done > 0)
        for note in self.notes:
            self.tell("note", text=note)

    def _metrics(self, size: int) -> Metrics:
        if self.run is None or not self.first:
            return Metrics(None)
        try:
            self.run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.run}: {error.strerror or error}") from None
        return Metrics(self.run / METRICS, size)

    def _pruner(self, at: int, resuming: bool = False) -> Pruner:
        return Pruner(
            self.program,
            self.learner.model,
            self.example,
            calibration=self.calibration,
            at=at,
            epoch=self.epoch,
            act=self.act,
            agree=lambda decided: self.fabric.broadcast(decided),
            resuming=resuming,
        )

    def calibration(self) -> Calibration:
        """The coming batch, for criteria that need data; the same in all processes."""
        settings = next(iter(self.training.phases.values()))
        given, target = self._patches(settings.batch, settings.patch, 0, 1).batch(self.done)
        return Calibration((given.to(self.fabric.device),), target.to(self.fabric.device))

    # -- the run -------------------------------------------------------------------------------------------------------

    def train(self, flag: Flag) -> Trained:
        """Phase by phase."""
        while self.pruner.item is not None:
            if self.pruner.run is not None:
                self.phase(self.pruner.run, flag)
            else:
                self.cut()
        return self.finish()

    def phase(self, run: Run, flag: Flag) -> None:
        """One phase that takes steps."""
        number = self.pruner.item_number
        settings = self.training.phases[number]
        if settings.init and self.pruner.step == 0:
            renew(self.learner.model, self.seed + number)
            self.learner.optimizer = None
        if self.learner.wrapped is None or self.generation != self.pruner.generation:
            self.learner.wrap()
            self.generation = self.pruner.generation
        if self.learner.optimizer is None:
            self.learner.restart(self.training.optimizer)
        self.tell("phase", length=self.pruner.length, marked=len(self.pruner.marked))
        self.clock = (time.perf_counter(), self.done)
        batches = self.source(settings).steps(self.done, workers=self.training.data.workers)
        try:
            for _, given, target in batches:
                self.step(run, settings, given, target)
                over = self.pruner.item_number != number
                stop = self.asked(flag)
                if stop or (self.checkpoint_every and self.done % self.checkpoint_every == 0):
                    self.save()
                if stop:
                    raise StoppedError(f"stopped after step {self.done}", hint=self._going_on())
                if over:
                    return
        finally:
            batches.close()  # type: ignore[attr-defined]

    def step(self, run: Run, settings: Settings, given: Tensor, target: Tensor) -> None:
        """One training step, and what is due after it."""
        pruner, device = self.pruner, self.fabric.device
        rate = settings.rate(pruner.step, pruner.length or 0)
        value = self.learner.step(
            given.to(device, non_blocking=True),
            target.to(device, non_blocking=True),
            self.training.loss,
            rate,
            settings.clip,
            pruner.before_step,
        )
        if settings.ema is not None:
            self.learner.average(settings.ema)
        self.done += 1
        self.total, self.counted = self.total + value, self.counted + 1
        if device.type == "cpu":
            self.check_loss()
        number, at = pruner.item_number, pruner.step + 1
        last = pruner.length is not None and at >= pruner.length
        met = False
        if last or at % self._interval(settings) == 0:
            mean = self.report(rate)
            met = settings.loss is not None and mean <= settings.loss
        if not last and settings.validate is not None and at % settings.validate == 0:
            self.validate()
            met = met or (settings.psnr is not None and self.psnr is not None and self.psnr >= settings.psnr)
        if last or met:
            self.learner.settle()
            self.validate()
        pruner.after_step()
        if met and pruner.item_number == number:
            pruner.end_run()

    def _interval(self, settings: Settings) -> int:
        """Steps between two reports: by default ten in a short phase, one every hundred steps in a long one."""
        return settings.log or max(1, min(100, (self.pruner.length or 1000) // 10))

    def cut(self) -> None:
        """Cut, and go on with the compact network."""
        statement = self.pruner.item
        assert isinstance(statement, Cut)
        made = self.pruner.cut()
        self.cuttings.append(made)
        self.cuts.append(plain_names(in_names(self.pruner.groups, made.plan.removed)))
        self.kept = compose(self.kept, made.kept)
        self.memory.cut(made.kept)
        self.why = {**self.pruner.why, **self.why}
        at = self.pruner.item_number + 1
        self.learner = Learner(self.fabric, made.module)
        params = sum(p.numel() for p in made.module.parameters())
        self.tell("cut", params=params, difference=made.verified.difference if made.verified else None)
        self.validate()
        self.pruner, self.generation = self._pruner(at), -1
        self.save()

    def act(self, item: Save | Rewind) -> None:
        """What the pruner leaves to the trainer."""
        model = self.learner.model
        if isinstance(item, Rewind):
            self.memory.rewind(item.label, model)
            return
        weights = self.memory.save(item.label, model)
        if self.run is not None and self.first:
            from safetensors.torch import save_file

            path = self.run / f"{item.label.replace('/', '-')}.safetensors"
            self.run.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, path)
        self.tell("save", label=item.label, psnr=self.psnr)

    def finish(self) -> Trained:
        """The run's result."""
        self.save(finished=True)
        if self.cuttings or self.cuts:
            module = self.learner.model
        else:
            groups = discover(trace(self.learner.model, self.example), can_mend)
            module = cut(plan_of(groups, groups.unit_of[:0]), check=False).module
        assert isinstance(module, fx.GraphModule)
        modes = {path: part.training for path, part in self.original.named_modules()}
        for path, part in module.named_modules():
            part.training = modes.get(path, self.original.training)
        plan = plan_of(self.groups, gone(self.groups, self.kept), self.why)
        checked = [made.verified for made in self.cuttings if made.verified is not None]
        checks: tuple[Check, ...] = tuple(check for one in checked for check in one.checks)
        refused = tuple(dict.fromkeys(size for one in checked for size in one.refused))
        apart = [made.native_difference for made in self.cuttings if made.native_difference is not None]
        self.tell("finish", psnr=self.psnr)
        return Trained(
            module,
            self.kept,
            plan,
            Verified(checks, refused) if checks else None,
            max(apart) if apart else None,
            self.psnr,
            self.done,
            self.notes,
        )

    # -- telling -------------------------------------------------------------------------------------------------------

    def tell(self, kind: Kind, **data: Any) -> None:
        """Hand an event to the metrics and to who watches."""
        if self.first:
            item = self.pruner.item if hasattr(self, "pruner") else None
            event = Event(kind, self.done, getattr(item, "word", ""), data)
            self.metrics(event)
            self.watch(event)

    def report(self, rate: float) -> float:
        """Tell how training goes; the mean loss since the last report."""
        self.check_loss()
        mean = self.mean(float(self.total) / self.counted)
        now, (before, since) = time.perf_counter(), self.clock
        data: dict[str, Any] = {"loss": mean, "lr": rate, "speed": (self.done - since) / max(1e-9, now - before)}
        data["of"] = [self.pruner.step + 1, self.pruner.length]
        if len(self.pruner.marked):
            data["alpha"] = self.pruner.strongest
            data["kept_norm"], data["marked_norm"] = self.pruner.norms()
        if self.pruner.aligners:
            data["agreement"] = self.pruner.agreement()
        self.tell("step", **data)
        self.clock = (now, self.done)
        self.total, self.counted = torch.zeros_like(self.total), 0
        return mean

    def mean(self, value: float) -> float:
        """The mean over all processes."""
        if self.fabric.world_size == 1:
            return value
        return float(cast(Tensor, self.fabric.all_reduce(torch.tensor(value), reduce_op="mean")))

    def check_loss(self) -> None:
        """Stop at the first loss that is not a number.

        Raises:
            TrainError: with the step and where the last good checkpoint is.
        """
        if math.isfinite(float(self.total)):
            return
        word = self.pruner.run.word if self.pruner.run else ""
        good = next(iter(self.checkpoints.steps()), None) if self.checkpoints else None
        hint = "a lower learning rate, or clip 1, may help"
        if good is not None:
            hint = f"{hint}; the last good checkpoint is that of step {good} in {self.run}"
        raise TrainError(f"the loss of `{word}` is not a number at step {self.done}", hint=hint)

    def validate(self) -> None:
        """Measure PSNR on the validation sets."""
        if not self.images.validation:
            return
        if self.first:
            with self.learner.averaged():
                found = evaluate(
                    self.learner.model, self.images.validation, setup=Setup(device=str(self.fabric.device))
                )
            scores = {one.name: one.means[0] for one in found.sets}
            self.psnr = sum(score.psnr for score in scores.values()) / len(scores)
            sets = {name: {"psnr": score.psnr, "ssim": score.ssim} for name, score in scores.items()}
            self.tell("validate", psnr=self.psnr, sets=sets)
        if self.fabric.world_size > 1:
            self.psnr = self.fabric.broadcast(self.psnr)

    # -- saving --------------------------------------------------------------------------------------------------------

    def asked(self, flag: Flag) -> bool:
        """Whether any process was asked to stop; all of them say the same."""
        if self.fabric.world_size == 1:
            return flag.raised
        if self.done % AGREE_EVERY:
            return False
        return self.mean(float(flag.raised)) > 0

    def _going_on(self) -> str:
        if self.run is None:
            return "nothing was saved: there is no folder for it"
        return f"what was done is saved in {self.run}; the same command with --resume goes on"

    def save(self, *, finished: bool = False) -> None:
        """Write a checkpoint; if that fails, say so and go on with what was there."""
        if self.checkpoints is None:
            return
        if self.counted:
            self.check_loss()
        if self.first:
            state = self.state_dict()
            try:
                path = self.checkpoints.write(self.done, {**state, "finished": finished})
                self.tell("checkpoint", path=str(path))
            except OutputError as error:
                self.tell("note", text=f"no checkpoint was written at step {self.done}: {error}")
        self.fabric.barrier()

    def state_dict(self) -> dict[str, Any]:
        """Everything."""
        learner = self.learner.state_dict()
        if self.generation != self.pruner.generation:  # the parameters are others: a new optimizer is due
            learner["optimizer"] = None
        return {
            "format": FORMAT,
            "spec": format_spec(self.spec),
            "done": self.done,
            "cuts": self.cuts,
            "why": self.why,
            "pruner": self.pruner.state_dict(),
            "learner": learner,
            "memory": self.memory.state_dict(),
            "random": random_state(self.fabric.device),
            "psnr": self.psnr,
            "losses": [self.total.cpu(), self.counted],
            "metrics": self.metrics.size,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        fresh = copy.deepcopy(self.original).to(self.fabric.device).train()
        self.cuts, self.why, self.done = list(state["cuts"]), dict(state["why"]), state["done"]
        model, self.kept = replay(fresh, self.example, self.cuts, self.native)
        self.learner = Learner(self.fabric, model)
        self.memory.load_state_dict(state["memory"], self.fabric.device)
        self.metrics = self._metrics(state["metrics"])
        self.pruner = self._pruner(0, resuming=True)
        self.pruner.load_state_dict(state["pruner"])
        self.learner.load_state_dict(state["learner"], self.training.optimizer)
        self.generation = self.pruner.generation
        self.psnr = state["psnr"]
        self.total, self.counted = state["losses"][0].to(self.fabric.device), state["losses"][1]
        restore_random(state["random"], self.fabric.device)


def _scale(model: nn.Module, example: tuple[Any, ...]) -> int:
    """How many times larger the output is than the input.

    Raises:
        InputError: the network does not make a picture of a picture.
    """
    modes = [(part, part.training) for part in model.modules()]
    with torch.no_grad():
        out = model.eval()(*(x.clone() if isinstance(x, Tensor) else x for x in example))
    for part, mode in modes:
        part.training = mode
    x = example[0]
    if (
        len(example) != 1
        or not isinstance(out, Tensor)
        or out.dim() != 4
        or out.shape[1] != 3
        or x.shape[1] != 3
        or out.shape[2] % x.shape[2]
        or out.shape[2] * x.shape[3] != out.shape[3] * x.shape[2]
    ):
        hint = "train it in a loop of your own, with fxprune.Pruner"
        raise InputError(
            "the trainer is for networks that make one colour picture of one, of a multiple size", hint=hint
        )
    return int(out.shape[2] // x.shape[2])
