"""The options of a spec's phases → how each is trained: rates, batches, averaging; every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from fxprune.errors import Diagnostic, PlanError
from fxprune.lang import Limit, Option, Phase, Spec
from fxprune.lang.ast import plain
from fxprune.lang.words import nearest
from fxprune.schedule import Cosine, Drops, Program, Rate, Run, Warmup
from fxprune.source import Span
from fxprune.train.optim import LOSSES, OPTIMIZERS, Loss, Optimizing

__all__ = ["Data", "Settings", "Source", "Training", "training"]

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


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures, as a spec names them."""

    name: str  # a folder, or dead_leaves
    count: int | None = None  # of dead leaves: how many pictures
    size: int | None = None  # pixels of a side
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The `data` statement. The defaults are the field's."""

    training: tuple[Source, ...] = ()  # none: what the command line gives, or dead leaves
    validation: tuple[Source, ...] = ()
    patch: int = 48  # LR pixels of a side
    batch: int = 16  # patches a step, over all processes
    flips: bool = True
    rotations: bool = True
    workers: int = 2  # threads that prepare batches
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """How one phase is trained."""

    rate: Rate
    batch: int
    patch: int
    ema: float | None = None  # decay of the running mean of the weights, which is the phase's result
    clip: float | None = None  # largest norm of the loss's gradient
    log: int | None = None  # steps between two reports; None: by the length of the phase
    validate: int | None = None  # steps between two validations; None: at the end alone
    init: bool = False  # begins from new weights
    psnr: float | None = None  # ends it when validation reaches this
    loss: float | None = None  # ends it when the mean loss between two reports falls to this

    def interval(self, length: int | None) -> int:
        """Steps between two reports: by default ten in a short phase, one every hundred steps in a long one."""
        return self.log or max(1, min(100, (length or 1000) // 10))


@dataclass(frozen=True, slots=True)
class Training:
    """How a whole spec is trained."""

    data: Data
    loss: Loss
    optimizer: Optimizing
    precision: str  # as lightning-fabric writes it
    phases: Mapping[int, Settings]  # by number of the item in the program


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


class _Reader:
    def __init__(self) -> None:
        self.wrong: list[Diagnostic] = []

    def refuse(self, message: str, span: Span | None, hint: str | None = None) -> None:
        self.wrong.append(Diagnostic(message, span, hint))

    # -- values --------------------------------------------------------------------------------------------------------

    def number(self, option: Option, value: Any, example: str, *, whole: bool = False, least: float = 0) -> Any:
        """A number of at least `least`, as int or float; else refused, and 1."""
        fits = isinstance(value, (int, Fraction)) and not isinstance(value, bool) and value >= least
        if not fits or (whole and not isinstance(value, int)):
            kind = "a whole number" if whole else "a number"
            bound = f" of at least {least:g}" if least else ""
            self.refuse(f"`{option.name}` takes {kind}{bound}", option.span, example)
            return 1
        return int(value) if whole else float(value)

    def first(self, option: Option, example: str, *, whole: bool = False, least: float = 0) -> Any:
        """The option's only value."""
        value = option.values[0] if len(option.values) == 1 else None
        return self.number(option, value, example, whole=whole, least=least)

    def yes(self, option: Option, example: str) -> bool:
        """`yes`, `no`, or nothing, which is yes."""
        value = option.values[0] if option.values else True
        if not isinstance(value, bool):
            self.refuse(f"`{option.name}` is yes or no", option.span, example)
        return bool(value)

    def every(self, option: Option, example: str) -> Any:
        """`every 1000`."""
        return self.number(option, dict(option.clauses).get("every"), example, whole=True, least=1)

    def steps(self, option: Option, example: str) -> tuple[tuple[int, ...], int | None]:
        """`at 250k, 400k` or `every 200k`."""
        clauses = dict(option.clauses)
        if "every" in clauses:
            return (), self.every(option, example)
        at = clauses.get("at")
        values = at if isinstance(at, tuple) else (at,)
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            self.refuse(f"`{option.name}` needs the steps at which", option.span, example)
            return (), None
        return tuple(sorted(v for v in values if isinstance(v, int))), None

    def known(self, options: Sequence[Option], table: Mapping[str, str], what: str) -> dict[str, Option]:
        """Options by name; those that are unknown are refused."""
        for option in options:
            if option.name not in table:
                meant = nearest(option.name, table)
                hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(table))}"
                self.refuse(f"`{option.name}` says nothing about {what}", option.span, hint)
        return {option.name: option for option in options if option.name in table}

    # -- statements ----------------------------------------------------------------------------------------------------

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

    def arguments(self, statement: Phase, args: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
        """Arguments by name, numbers that are not negative."""
        found = {}
        for name, value in args.items():
            numbers = value if isinstance(value, tuple) else (value,)
            pair = name == "betas"
            if name not in known:
                meant = nearest(name, known)
                hint = f"did you mean `{meant}`?" if meant else f"its arguments: {', '.join(known)}"
                self.refuse(f"`{statement.word}` has no argument `{name}`", statement.span, hint)
            elif not all(isinstance(n, (int, float)) and n >= 0 for n in numbers) or pair != (len(numbers) == 2):
                example = "betas=[0.9, 0.99]" if pair else f"{name}=1e-4"
                self.refuse(f"`{name}` cannot be that", statement.span, example)
            else:
                found[name] = value
        return found

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
