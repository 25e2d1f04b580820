"""`Spec` → the phases of a network's life in one flat row: marks, runs of training steps, cuts; loops unrolled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction

from fxprune.errors import Diagnostic, PlanError
from fxprune.lang import Cut, Limit, Mark, Multiple, Option, Phase, Protect, Repeat, Selection, Spec, Statement, Steps
from fxprune.lang.ast import Amount, Selecting, Variable
from fxprune.lang.values import written
from fxprune.lang.variables import bind
from fxprune.schedule.ramp import Ramp
from fxprune.source import Span

__all__ = ["Align", "Item", "Program", "Rewind", "Run", "Save", "Shrink", "WeightNorm", "program", "trains"]

SETTINGS = ("data", "loss", "optimizer")  # words that say how to train, not what happens
RUNS = ("train", "finetune", "align", "shrink", "hold")
AVAILABLE = "train, finetune, mark, align, shrink, hold, cut, weight_norm, repeat, save and rewind"
OWN = {"shrink": ("step", "until"), "align": ("weight",)}  # options that the phase itself reads; others set training


@dataclass(frozen=True, slots=True)
class Shrink:
    """What drives marked units towards zero: the gradient of ½α‖·‖², α growing."""

    ramp: Ramp
    on_scale: bool = False  # on the scales of weight norm (and biases) alone
    selection: Selection | None = None  # which of the marked groups; None: all


@dataclass(frozen=True, slots=True)
class Align:
    """What makes the layers of constrained groups agree (`alignment.py`)."""

    amount: Amount
    selection: Selection | None = None
    weight: float = 1.0  # of the alignment loss
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Run:
    """A phase that takes training steps."""

    word: str  # train, finetune, align, shrink, hold
    steps: Steps | None = None  # None: as long as its shrinking takes
    until: Limit | None = None  # what ends it before
    shrink: Shrink | None = None
    align: Align | None = None
    options: tuple[Option, ...] = ()  # learning rate and the like, which the trainer reads
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def penalised(self) -> bool:
        """Whether the penalty stands on what is marked: in every phase of pruning, not in plain training."""
        return self.word not in ("train", "finetune")

    def length(self, starts: tuple[Fraction, ...] = (Fraction(0),), epoch: int | None = None) -> int | None:
        """Training steps it takes, if that is known.

        Args:
            starts: the penalty's α of each group before it.
            epoch: steps of an epoch.
        """
        if self.steps is not None:
            count = self.steps.count
            assert isinstance(count, int)  # `bind` has put values in the place of loop variables
            if self.steps.unit == "steps":
                return count
            return None if epoch is None else count * epoch
        if self.shrink is None:
            return None
        lengths = [self.shrink.ramp.length(start) for start in starts]
        return max((n for n in lengths if n is not None), default=0)


@dataclass(frozen=True, slots=True)
class WeightNorm:
    """Layers of open groups are written as scale times direction."""

    selection: Selection | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Save:
    """The weights are remembered under a name."""

    label: str


@dataclass(frozen=True, slots=True)
class Rewind:
    """The weights that are left go back to what they were."""

    label: str


Item = Mark | Cut | WeightNorm | Save | Rewind | Run


@dataclass(frozen=True, slots=True)
class Program:
    """A spec's phases, in order."""

    items: tuple[Item, ...]
    standing: tuple[Protect | Multiple, ...]  # what holds throughout
    spec: Spec

    def alone(self, statement: Cut) -> Spec:
        """A spec that makes one cut under the standing statements."""
        return Spec((*self.standing, statement), self.spec.source)


def trains(spec: Spec) -> bool:
    """Whether a spec has phases beyond marking and cutting, for which a trainer is needed."""
    statements = list(_all(tuple(spec)))
    return any(isinstance(s, Phase) and s.word in (*RUNS, "save", "rewind", "weight_norm") for s in statements)


def _all(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        if isinstance(statement, Repeat):
            yield from _all(statement.body)


def program(spec: Spec) -> Program:
    """Lay a spec's phases out in one row.

    Raises:
        PlanError: every statement that cannot be run, at once.
    """
    maker = _Maker()
    items = tuple(maker.items(tuple(spec), {}))
    if maker.wrong:
        raise PlanError(dict.fromkeys(maker.wrong))
    return Program(items, (*spec.of(Protect), *spec.of(Multiple)), spec)


class _Maker:
    def __init__(self) -> None:
        self.wrong: list[Diagnostic] = []

    def refuse(self, message: str, span: Span | None, hint: str | None = None) -> None:
        self.wrong.append(Diagnostic(message, span, hint))

    def items(self, statements: tuple[Statement, ...], known: Mapping[str, str]) -> Iterator[Item]:
        """The items of some statements; `known` holds loop variables as written, for labels."""
        for statement in statements:
            if isinstance(statement, Repeat):
                yield from self.loop(statement, known)
            elif isinstance(statement, (Mark, Cut)):
                if self.filters(statement):
                    yield statement
            elif isinstance(statement, Phase) and statement.word not in SETTINGS:
                yield from self.phase(statement, known)

    def loop(self, repeat: Repeat, known: Mapping[str, str]) -> Iterator[Item]:
        """A block again and again."""
        if repeat.variable is None:
            assert isinstance(repeat.times, int)
            for _ in range(repeat.times):
                yield from self.items(repeat.body, known)
            return
        for value in repeat.values:
            yield from self.items(bind(repeat.body, repeat.variable, value), {**known, repeat.variable: written(value)})

    def filters(self, statement: Selecting) -> bool:
        """Whether it is about filters; else refused."""
        if statement.granularity in (None, "filters"):
            return True
        word = getattr(statement, "word", "cut")
        self.refuse(
            f"`{word}` of {statement.granularity} is not available in this version",
            statement.span,
            "what can be marked, shrunk and cut is filters: mark filters 50%",
        )
        return False

    def phase(self, phase: Phase, known: Mapping[str, str]) -> Iterator[Item]:
        """The items of a phase; a shrink that chooses its units marks them first."""
        label = phase.label or ""
        for name, value in known.items():
            label = label.replace(f"{{{name}}}", value)
        match phase.word:
            case "weight_norm":
                yield WeightNorm(phase.selection, span=phase.span)
            case "save":
                yield Save(label)
            case "rewind":
                yield Rewind(label)
            case word if word in RUNS:
                if self.filters(phase):
                    yield from self.run(phase)
            case word:
                self.refuse(f"`{word}` is not available in this version", phase.span, f"there are {AVAILABLE}")

    def run(self, phase: Phase) -> Iterator[Item]:
        """A phase that takes steps."""
        parts = [part for part in (phase, phase.meanwhile) if part is not None]
        shrinks = [part for part in parts if part.word == "shrink"]
        aligns = [part for part in parts if part.word == "align"]
        if len({part.word for part in parts}) < len(parts) or not {p.word for p in parts[1:]} <= {"shrink", "align"}:
            self.refuse(f"`{parts[-1].word}` cannot run at the same time as `{phase.word}`", parts[-1].span)
            return
        for part in shrinks:
            if part.amount is not None:
                shared = {f.name for f in fields(Selecting)}
                yield Mark(**{name: getattr(part, name) for name in shared})
        shrink = self.shrink(shrinks[0]) if shrinks else None
        align = self.align(aligns[0]) if aligns else None
        if phase.steps is None and phase.until is None and (shrink is None or shrink.ramp.until is None):
            self.refuse("how long?", phase.span, f"{phase.word} 1000 steps")
        if phase.steps is not None and isinstance(phase.steps.count, Variable):
            self.refuse("this number of steps has no value", phase.steps.span)
        own = [name for part in parts for name in OWN.get(part.word, ())]
        options = tuple(o for part in parts for o in part.options if o.name not in own)
        yield Run(phase.word, phase.steps, phase.until, shrink, align, options, span=phase.span)

    def shrink(self, phase: Phase) -> Shrink:
        """`shrink l2 on scale { step 1e-4 every 20, until 0.5 }`."""
        options = {option.name: option for option in phase.options}
        if phase.subject is not None and phase.subject.name != "l2":
            self.refuse(f"there is no penalty `{phase.subject.name}`", phase.subject.span, "shrink l2")
        if phase.on not in (None, "scale"):
            self.refuse(f"a penalty cannot work on `{phase.on}`", phase.span, "on scale, or leave it out")
        for name in ("times", "mark"):
            if name in options:
                told = "mark again" if name == "mark" else name
                self.refuse(
                    f"`{told}` is not available in this version",
                    options[name].span,
                    "filters shrink by a growing penalty: shrink l2 { step 1e-4 every 20, until 0.5 }",
                )
        step = options.get("step", Option("step", (Fraction(1, 10**4),), (("every", 20),)))
        until = options.get("until")
        delta = _number(step.values[0] if step.values else None)
        every = _whole(dict(step.clauses).get("every", 20))
        ceiling = None if until is None else _number(until.values[0] if until.values else None)
        if delta is None or delta <= 0 or every is None or every < 1:
            self.refuse("a penalty grows by a number every so many steps", step.span, "step 1e-4 every 20")
            delta, every = Fraction(1), 1
        if until is not None and (ceiling is None or ceiling <= 0):
            self.refuse("a penalty grows until it passes a number above 0", until.span, "until 0.5")
        selected = None if phase.amount is not None else phase.selection
        return Shrink(Ramp(delta, every, ceiling), phase.on == "scale", selected)

    def align(self, phase: Phase) -> Align:
        """`align constrained 81.25% for 17260 steps`."""
        if phase.amount is None:
            self.refuse("how much is to go?", phase.span, "align constrained 50% for 17260 steps")
        if phase.criterion is not None and phase.criterion.name != "scale":
            self.refuse("layers are aligned by their scales", phase.criterion.span, "leave `by` out")
        weight = next((o for o in phase.options if o.name == "weight"), None)
        value = Fraction(1) if weight is None else _number(weight.values[0] if weight.values else None)
        if value is None or value <= 0:
            self.refuse("a weight is a number above 0", weight.span if weight else None, "weight 1")
            value = Fraction(1)
        amount = phase.amount
        return Align(amount, phase.selection, float(value), span=phase.span)  # type: ignore[arg-type]


def _number(value: object) -> Fraction | None:
    return Fraction(value) if isinstance(value, (int, Fraction)) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
