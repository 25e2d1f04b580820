"""The options of a spec's statements and phases → how each is trained; every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fxprune.errors import PlanError
from fxprune.lang import Limit, Option, Phase, Spec
from fxprune.lang.ast import plain
from fxprune.lang.words import nearest
from fxprune.schedule import Cosine, Drops, Program, Rate, Run, Warmup
from fxprune.train.optim import LOSSES, OPTIMIZERS, Loss, Optimizing
from fxprune.train.settings import Data, Settings, Source, Training
from fxprune.train.values import Values

__all__ = ["training"]

PRECISIONS = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true", "full": "32-true"}
PHASE = {
    "batch": "batch 16",
    "clip": "clip 1",
    "cosine": "cosine to 1e-7",
    "ema": "ema 0.999",
    "halve": "halve every 200k",
    "init": "init new",
    "log": "log every 100",
    "lr": "lr 1e-4",
    "patch": "patch 48",
    "precision": "precision bf16",
    "times": "times 0.1 at 200k, 400k",
    "validate": "validate every 1000",
    "warmup": "warmup 2k",
}
DATA = {
    "batch": "batch 16",
    "dead_leaves": "data dead_leaves",
    "flips": "flips yes",
    "patch": "patch 48",
    "rotations": "rotations yes",
    "seed": "seed 0",
    "train": 'data train "DIV2K"',
    "validate": 'data train "DIV2K" validate "Set5"',
    "workers": "workers 2",
}
LEAVES = ("count", "seed", "size")


def training(program: Program) -> Training:
    """Read how to train from a spec.

    Raises:
        PlanError: every option that is unknown or has no sensible value, at once.
    """
    reader = _Reader()
    spec = program.spec
    data = reader.data(next((s for s in _phases(spec) if s.word == "data"), None))
    loss = reader.loss(next((s for s in _phases(spec) if s.word == "loss"), None))
    optimizer = reader.optimizer(next((s for s in _phases(spec) if s.word == "optimizer"), None))
    phases: dict[int, Settings] = {}
    precisions: dict[str, Option] = {}
    for number, item in enumerate(program.items):
        if isinstance(item, Run):
            phases[number] = reader.phase(item, data, optimizer)
            for option in item.options:
                if option.name == "precision":
                    precisions.setdefault(reader.precision(option), option)
    if len(precisions) > 1:
        reader.refuse("the precision is one for the whole run", list(precisions.values())[1].span)
    if reader.wrong:
        raise PlanError(dict.fromkeys(reader.wrong))
    return Training(data, loss, optimizer, next(iter(precisions), "32-true"), phases)


def _phases(spec: Spec) -> list[Phase]:
    return [statement for statement in spec if isinstance(statement, Phase)]


def _named(options: Sequence[Option]) -> list[Option]:
    """The options of `data`, where `--set pictures=DIV2K` has put a bare name behind a role: it is a source."""
    found: list[Option] = []
    for option in options:
        if found and found[-1].name in ("train", "validate") and not found[-1].values and not option.values:
            found[-1] = replace(found[-1], values=(option.name,), clauses=option.clauses)
        else:
            found.append(option)
    return found


class _Reader(Values):
    def loss(self, statement: Phase | None) -> Loss:
        """`loss l1`."""
        if statement is None or statement.subject is None:
            return Loss("l1")
        name, args = statement.subject.name, statement.subject.keywords()
        if name not in LOSSES:
            meant = nearest(name, LOSSES)
            hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(LOSSES))}"
            self.refuse(f"there is no loss `{name}`", statement.subject.span, hint)
            return Loss("l1")
        return Loss(name, **self.arguments(statement, args, LOSSES[name]))

    def optimizer(self, statement: Phase | None) -> Optimizing:
        """`optimizer adam(lr=1e-4, betas=[0.9, 0.99])`."""
        if statement is None or statement.subject is None:
            return Optimizing("adam")
        name, args = statement.subject.name, statement.subject.keywords()
        if name not in OPTIMIZERS:
            meant = nearest(name, OPTIMIZERS)
            hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(OPTIMIZERS))}"
            self.refuse(f"there is no optimizer `{name}`", statement.subject.span, hint)
            return Optimizing("adam")
        given = self.arguments(statement, args, ("lr", *OPTIMIZERS[name]))
        rate = given.pop("lr", 1e-4)
        return Optimizing(name, rate, tuple(sorted(given.items())))

    def precision(self, option: Option) -> str:
        """`precision bf16`."""
        name = option.values[0] if option.values else None
        if not isinstance(name, str) or name not in PRECISIONS:
            self.refuse("a precision is bf16, fp16 or full", option.span, "precision bf16")
            return "32-true"
        return PRECISIONS[name]

    def data(self, statement: Phase | None) -> Data:
        """`data train "DIV2K" validate "Set5" { patch 48, batch 16 }`."""
        if statement is None:
            return Data()
        options = self.known(_named(statement.options), DATA, "data")
        found: dict[str, Any] = {}
        for name, role in (("train", "training"), ("dead_leaves", "training"), ("validate", "validation")):
            if name in options:
                found[role] = found.get(role, ()) + self.sources(options[name])
        for name in ("patch", "batch", "workers", "seed"):
            if name in options:
                least = 0 if name in ("workers", "seed") else 1
                found[name] = self.first(options[name], DATA[name], whole=True, least=least)
        for name in ("flips", "rotations"):
            if name in options:
                found[name] = self.yes(options[name], DATA[name])
        return Data(**found)

    def sources(self, option: Option) -> tuple[Source, ...]:
        """Folders, or dead leaves with a count, a size and a seed."""
        given = {name: value for name, value in option.clauses if name in LEAVES}
        if len(given) < len(option.clauses) or not all(isinstance(v, int) and v >= 0 for v in given.values()):
            self.refuse("dead leaves have a count, a size and a seed", option.span, "dead_leaves(count=100, size=192)")
            given = {}
        if option.name == "dead_leaves":
            return (Source("dead_leaves", **given),)  # type: ignore[arg-type]
        names = [value for value in option.values if isinstance(value, str)]
        if not names or len(names) < len(option.values):
            self.refuse(f"`{option.name}` needs folders of images", option.span, DATA[option.name])
        return tuple(Source(name, **(given if name == "dead_leaves" else {})) for name in names)  # type: ignore[arg-type]

    def phase(self, run: Run, data: Data, optimizer: Optimizing) -> Settings:
        """The options of a phase."""
        options = self.known(run.options, PHASE, "training")
        found: dict[str, Any] = {"batch": data.batch, "patch": data.patch}
        for name in ("batch", "patch"):
            if name in options:
                found[name] = self.first(options[name], PHASE[name], whole=True, least=1)
        for name in ("ema", "clip"):
            if name in options:
                found[name] = self.first(options[name], PHASE[name])
        if found.get("ema", 0) >= 1:
            self.refuse("the decay of a running mean is less than 1", options["ema"].span, PHASE["ema"])
        for name in ("log", "validate"):
            if name in options:
                found[name] = self.every(options[name], PHASE[name])
        if "init" in options:
            found["init"] = options["init"].values == ("new",)
            if not found["init"]:
                self.refuse("`init` is `new`, or left out", options["init"].span, PHASE["init"])
        found.update(self.ends(run.until))
        return Settings(self.rate(options, optimizer.rate), **found)

    def rate(self, options: Mapping[str, Option], base: float) -> Rate:
        """`lr 1e-4, halve every 200k, warmup 2k`."""
        if "lr" in options:
            base = self.first(options["lr"], PHASE["lr"])
        drops = []
        if "halve" in options:
            drops.append(Drops(0.5, *self.steps(options["halve"], PHASE["halve"])))
        if "times" in options:
            factor = self.first(options["times"], PHASE["times"])
            drops.append(Drops(factor, *self.steps(options["times"], PHASE["times"])))
        cosine = warmup = None
        if "cosine" in options:
            clauses = dict(options["cosine"].clauses)
            to = self.number(options["cosine"], clauses.get("to", 0), PHASE["cosine"])
            at, every = (), None
            if "at" in clauses or "every" in clauses:
                at, every = self.steps(options["cosine"], "cosine every 250k to 1e-7")  # type: ignore[assignment]
            cosine = Cosine(to, every, at)
        if "warmup" in options:
            steps = self.first(options["warmup"], PHASE["warmup"], whole=True, least=1)
            start = dict(options["warmup"].clauses).get("from", 0)
            warmup = Warmup(steps, self.number(options["warmup"], start, "warmup 2k from 1e-6"))
        return Rate(base, tuple(drops), cosine, warmup)

    def ends(self, until: Limit | None) -> dict[str, float]:
        """`until psnr >= 34`, `until loss <= 2.5`."""
        if until is None:
            return {}
        sign = {"psnr": ">=", "loss": "<="}.get(until.metric)
        value = plain(until.value)
        if sign is None or until.comparison != sign or not isinstance(value, (int, float)):
            self.refuse("training ends at a PSNR or a loss", until.span, "until psnr >= 34, until loss <= 2.5")
            return {}
        return {until.metric: float(value)}
