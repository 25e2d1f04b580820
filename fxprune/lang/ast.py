"""What a spec means, as frozen values with exact numbers: the hand-over from the language to the compiler.

```
Spec
└── statements
    ├── about the file    ModelRef  Input  Attention  Norm  Multiple  Emit  Let  Use
    ├── choosing          Protect  Mark  Cut          (Mark and Cut may hold Choices)
    └── the rest          Repeat  Phase               (train, shrink, hold, save ...: Phase.word says which)
```
Every node has a `span` into its source, which takes no part in comparisons; it is None in a node made by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Literal, TypeVar

from fxprune.lang import tree
from fxprune.source import Source, Span

__all__ = [
    "NM",
    "Amount",
    "Attention",
    "Budget",
    "Choice",
    "Criterion",
    "Cut",
    "Emit",
    "Granularity",
    "Input",
    "KeepCount",
    "Let",
    "Limit",
    "Mark",
    "ModelRef",
    "Multiple",
    "Node",
    "Norm",
    "Option",
    "Percent",
    "Phase",
    "Protect",
    "Repeat",
    "Role",
    "Scope",
    "Selecting",
    "Selection",
    "Share",
    "Size",
    "Spec",
    "Statement",
    "Steps",
    "Term",
    "Use",
    "Value",
    "Variable",
    "flat",
    "plain",
]

Granularity = Literal["filters", "kernels", "weights"]
Scope = Literal["local", "global"]  # ranked within each group or layer, or all of them in one list
Role = Literal["free", "constrained", "first", "last"]
Rounding = Literal["up", "down", "nearest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Anything that stands somewhere in a source."""

    span: Span | None = field(default=None, compare=False, repr=False)


# -- values ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Percent(Node):
    """A percentage that is not an amount, such as an option's value."""

    share: Fraction  # of 1: 25% is 1/4


@dataclass(frozen=True, slots=True)
class Size(Node):
    """`1280x720`."""

    sides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """A loop variable: stands for a value until `bind` gives it one. Never outside a `repeat`."""

    name: str
    keep: bool = False  # as an amount: the value is what is kept, not what is removed


@dataclass(frozen=True, slots=True)
class NM(Node):
    """N:M sparsity, `2:4`. In every `out_of` neighbouring weights along the input, `kept` stay."""

    kept: int
    out_of: int


Value = bool | int | Fraction | str | Percent | Size | NM | Variable | None | tuple["Value", ...]


# -- amounts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share(Node):
    """`50%`, `keep 25%`, `50% rounded down`."""

    removed: Fraction  # share of the units removed, in [0, 1)
    rounding: Rounding = "up"  # of the number of units *removed*
    kept: bool = False  # written as what is kept: `keep 25%` is removed=3/4, kept=True


@dataclass(frozen=True, slots=True)
class KeepCount(Node):
    """`keep 32`."""

    count: int  # units that stay in each group, at least 1


@dataclass(frozen=True, slots=True)
class Budget(Node):
    """`until params <= 700K`, `until macs <= 40.6G at 1280x720`, `until macs <= 50%`."""

    metric: Literal["params", "macs"]
    limit: int | Fraction  # parameters or MACs at most; a Fraction is a share of the dense network's, in (0, 1)
    at: tuple[int, int] | None = None  # width and height of the output image the MACs are counted for


Amount = Share | KeepCount | Budget | NM | Variable


# -- measures and selections -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Criterion(Node):
    """A name with arguments: `l1`, `random(seed=1)`, `adam(lr=1e-4)`."""

    name: str
    args: tuple[tuple[str, Value], ...] = ()  # in the order written

    def keywords(self) -> dict[str, object]:
        """The arguments as plain Python values: fractions and percentages as floats, lists as tuples."""
        return {name: plain(value) for name, value in self.args}


@dataclass(frozen=True, slots=True)
class Term(Node):
    """One part of a selection."""

    what: Literal["path", "kind", "group", "role"]
    name: str  # a glob over layer paths; a class name such as Conv2d; a group's name; a Role


@dataclass(frozen=True, slots=True)
class Selection(Node):
    """What any of `terms` matches and none of `excluded` does. Without terms, everything but the excluded."""

    terms: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Steps(Node):
    """`300k steps`."""

    count: int | Variable
    unit: Literal["steps", "epochs"] = "steps"


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """Where a phase ends or a ramp stops: `until params <= 8.5%`, `until 0.5` (then without metric)."""

    metric: str  # words, separated by one space; empty when only a value is given
    comparison: str  # "<=", ">=" or, without a metric, ""
    value: Value


@dataclass(frozen=True, slots=True)
class Option(Node):
    """One entry of a `{ lr 1e-4, halve every 200k }` block."""

    name: str
    values: tuple[Value, ...] = ()
    clauses: tuple[tuple[str, Value], ...] = ()  # ("every", 200000)


# -- statements --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelRef(Node):
    """`model edsr(blocks=16, scale=2) from "edsr.safetensors"`."""

    word: ClassVar[str] = "model"
    name: str  # a zoo name, or a reference: "net.py", "net.py:build", "pkg.mod:factory", "zoo:edsr"
    args: tuple[tuple[str, Value], ...] = ()  # constructor arguments, in the order written
    weights: str | None = None  # a file of weights

    def keywords(self) -> dict[str, object]:
        """The arguments as plain Python values: fractions and percentages as floats, lists as tuples."""
        return {name: plain(value) for name, value in self.args}


@dataclass(frozen=True, slots=True)
class Input(Node):
    """`input 1x3x48x48, 1x1`."""

    word: ClassVar[str] = "input"
    shapes: tuple[tuple[int, ...], ...]  # one per argument of the model's forward

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first input."""
        return self.shapes[0]


@dataclass(frozen=True, slots=True)
class Protect(Node):
    """`protect tail.*, sub_mean`."""

    word: ClassVar[str] = "protect"
    what: Selection


@dataclass(frozen=True, slots=True)
class Choice(Node):
    """One line of a `mark ... { free by l1 }` block: for its selection it replaces what the statement says.

    Where several choices match, the first one counts. What a choice leaves out is as the statement says.
    """

    selection: Selection
    amount: Amount | None = None
    criterion: Criterion | None = None
    scope: Scope | None = None
    aggregate: str | None = None
    multiple_of: int | Variable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting(Node):
    """What every statement that chooses units can say."""

    granularity: Granularity | None = None  # None: filters
    selection: Selection | None = None  # None: everything
    amount: Amount | None = None
    criterion: Criterion | None = None
    scope: Scope = "local"
    aggregate: str | None = None  # how the members of a constrained group are combined; None: mean
    multiple_of: int | Variable | None = None  # what is kept is rounded up to a multiple of this
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark(Selecting):
    """Choose units, to be removed later."""

    word: ClassVar[str] = "mark"


@dataclass(frozen=True, slots=True)
class Cut(Selecting):
    """Choose units and remove them; without an amount and choices, remove what is marked."""

    word: ClassVar[str] = "cut"

    @property
    def bakes(self) -> bool:
        """Whether it only removes what earlier statements marked."""
        return self.amount is None and not self.choices


@dataclass(frozen=True, slots=True)
class Attention(Node):
    """Which way channels that are split into heads × head_dim may shrink; without it, whichever leaves more units."""

    word: ClassVar[str] = "attention"
    mode: Literal["heads", "head_dim"]


@dataclass(frozen=True, slots=True)
class Norm(Node):
    """Whether norms over channels keep the original statistics, or use the stock kernel on what is left."""

    word: ClassVar[str] = "norm"
    mode: Literal["exact", "native"]


@dataclass(frozen=True, slots=True)
class Multiple(Node):
    """`multiple of 8` on a line of its own: for every mark and cut that does not say its own."""

    word: ClassVar[str] = "multiple"
    of: int


@dataclass(frozen=True, slots=True)
class Emit(Node):
    """`emit safetensors, python`: only these formats."""

    word: ClassVar[str] = "emit"
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`let r = 50%`; the value is the one in force, which the command line may have given."""

    word: ClassVar[str] = "let"
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Use(Node):
    """`use "common.prune"`: the statements of another file, in place."""

    word: ClassVar[str] = "use"
    path: str  # as written, relative to the file it is written in
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Selecting):
    """Any other statement: `word` says which; each fills the fields that its entry in words.py takes."""

    word: str
    subject: Criterion | None = None  # shrink l2, optimizer adam(lr=1e-4)
    steps: Steps | None = None
    until: Limit | None = None
    on: str | None = None  # shrink l2 on scale
    label: str | None = None  # save as start, rewind to start
    factor: Fraction | None = None  # widen 2x
    options: tuple[Option, ...] = ()
    meanwhile: Phase | None = None  # what runs at the same time: while shrink ...


@dataclass(frozen=True, slots=True)
class Repeat(Node):
    """`repeat 8 { ... }`, or `repeat for kept in 70%, 50% { ... }`."""

    word: ClassVar[str] = "repeat"
    times: int | Variable | None = None  # None in a loop over values
    variable: str | None = None
    values: tuple[Value, ...] = ()
    body: tuple[Statement, ...] = ()


Statement = ModelRef | Input | Protect | Mark | Cut | Attention | Norm | Multiple | Emit | Let | Use | Phase | Repeat
S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file."""

    statements: tuple[Statement, ...]
    source: Source = field(default=Source(""), compare=False, repr=False)
    lines: tuple[tree.Line, ...] = field(default=(), compare=False, repr=False)  # as written; () when made by hand
    given: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # values from outside, as `--set` wrote them

    def of(self, kind: type[S]) -> tuple[S, ...]:
        """The top-level statements of one class, those of used files in place."""
        return tuple(statement for statement in self if isinstance(statement, kind))

    @property
    def variables(self) -> dict[str, Value]:
        """The variables defined by `let`, with the values in force."""
        return {let.name: let.value for let in self.of(Let)}

    def __iter__(self) -> Iterator[Statement]:
        """The top-level statements, those of used files in place of their `use`."""
        return flat(self.statements)


def flat(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    """Statements in order, those of used files in place of their `use`."""
    for statement in statements:
        if isinstance(statement, Use):
            yield from flat(statement.statements)
        else:
            yield statement


def plain(value: Value) -> object:
    """A value as Python's own: int, float, bool, str, None or a tuple of these."""
    match value:
        case Fraction():
            return float(value)
        case Percent(share=share):
            return float(share)
        case Size(sides=sides):
            return sides
        case NM(kept=kept, out_of=out_of):
            return (kept, out_of)
        case tuple():
            return tuple(plain(item) for item in value)
        case Variable(name=name):
            raise ValueError(f"the loop variable {name} has no value here")
        case _:
            return value
