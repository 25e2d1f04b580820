"""lark's parse tree -> frozen lines of items, exactly as written: what the formatter prints and the reader reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from lark import Token, Transformer, Tree, v_args

from fxprune.source import Source, Span

__all__ = [
    "Argument",
    "Atom",
    "Block",
    "Bound",
    "Builder",
    "Call",
    "Clause",
    "Duration",
    "Item",
    "Let",
    "Line",
    "ListOf",
    "Marker",
    "Multiple",
    "Number",
    "Operand",
    "Path",
    "Percent",
    "Ratio",
    "Size",
    "Text",
    "Times",
    "Until",
    "Value",
    "Word",
    "items",
    "lines_of",
    "single_value",
]

SUFFIX = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word: `cut`, `l1`, `tail`."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Path:
    """A layer path with dots or wildcards: `tail.*`. Also every token that looks like a number and is none."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text, without its quotes."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    """`48`, `1e-4`, `700K`."""

    value: Fraction  # exact, the suffix multiplied in
    text: str  # as written
    span: Span


@dataclass(frozen=True, slots=True)
class Percent:
    """`50%`."""

    share: Fraction  # of 1
    text: str  # as written
    span: Span


@dataclass(frozen=True, slots=True)
class Size:
    """`1x3x48x48`."""

    sides: tuple[int, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Ratio:
    """`2:4`."""

    left: int
    right: int
    span: Span


@dataclass(frozen=True, slots=True)
class Times:
    """`2x`."""

    factor: Fraction
    text: str  # as written
    span: Span


@dataclass(frozen=True, slots=True)
class Bound:
    """A word that names a loop's variable, which has no value yet (see variables.py)."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[6, 6, 6]`."""

    values: tuple[Value, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Duration:
    """`300k steps`."""

    count: Number | Word | Bound
    unit: str  # step, steps, epoch, epochs
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """`seed=1`, or `4` without a name."""

    name: str | None
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`random(seed=1)`."""

    callee: Word | Path | Text
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Clause:
    """A preposition and what it governs: `by l1`."""

    word: str
    operand: Operand
    span: Span


@dataclass(frozen=True, slots=True)
class Until:
    """`until params <= 700K`; without a metric and comparison, `until 0.5`."""

    metric: tuple[Word, ...]
    comparison: str
    limit: Atom
    span: Span


@dataclass(frozen=True, slots=True)
class Multiple:
    """`multiple of 8`."""

    value: Atom
    span: Span


@dataclass(frozen=True, slots=True)
class Let:
    """`let r = 50%`."""

    name: Word
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Marker:
    """A word that says how to take what follows: `in`, `except`, `while`, `globally`, `per layer`."""

    word: str
    span: Span


@dataclass(frozen=True, slots=True)
class Line:
    """One line: parts with commas between them, and perhaps a block."""

    parts: tuple[tuple[Item, ...], ...]
    block: Block | None
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    """Lines in braces."""

    lines: tuple[Line, ...]
    span: Span


Atom = Word | Path | Text | Number | Percent | Size | Ratio | Times | Bound
Value = Atom | ListOf
Operand = Atom | Call | Duration
Item = Operand | Clause | Until | Multiple | Let | Marker


def items(line: Line) -> Iterator[Item]:
    """The items of a line, in order, whatever the commas."""
    for part in line.parts:
        yield from part


@v_args(meta=True)
class Builder(Transformer[Token, "tuple[Line, ...] | Value"]):
    """Builds the lines of one source. It cannot fail on anything the grammar lets through."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def _at(self, token: Token) -> Span:
        start = token.start_pos or 0
        return Span(self.source, start, token.end_pos or start)

    def _over(self, meta: Any) -> Span:
        if meta.empty:
            return Span(self.source, 0, 0)
        end = len(self.source.text)  # a brace that closes what was left open stands behind the text
        return Span(self.source, min(meta.start_pos, end), min(meta.end_pos, end))

    def NAME(self, token: Token) -> Word:  # noqa: N802 - lark looks terminals up by name
        return Word(str(token), self._at(token))

    def PATH(self, token: Token) -> Path:  # noqa: N802
        return Path(str(token), self._at(token))

    def STRING(self, token: Token) -> Text:  # noqa: N802
        return Text(str(token)[1:-1], self._at(token))

    def NUMBER(self, token: Token) -> Number:  # noqa: N802
        text = str(token)
        factor = SUFFIX.get(text[-1], 1)
        digits = text[:-1] if text[-1] in SUFFIX else text
        return Number(Fraction(digits) * factor, text, self._at(token))

    def PERCENT(self, token: Token) -> Percent:  # noqa: N802
        digits = str(token)[:-1].rstrip(" \t")
        return Percent(Fraction(digits) / 100, f"{digits}%", self._at(token))

    def SIZE(self, token: Token) -> Size:  # noqa: N802
        return Size(tuple(int(side) for side in str(token).replace("×", "x").split("x")), self._at(token))

    def RATIO(self, token: Token) -> Ratio:  # noqa: N802
        left, right = str(token).split(":")
        return Ratio(int(left), int(right), self._at(token))

    def TIMES(self, token: Token) -> Times:  # noqa: N802
        return Times(Fraction(str(token)[:-1]), str(token), self._at(token))

    def start(self, meta: Any, children: list[Line]) -> tuple[Line, ...]:
        return tuple(children)

    def line(self, meta: Any, children: list[Any]) -> Line:
        block = children.pop() if isinstance(children[-1], Block) else None
        return Line(tuple(children), block, self._over(meta))

    def part(self, meta: Any, children: list[Item]) -> tuple[Item, ...]:
        return tuple(children)

    def block(self, meta: Any, children: list[Line]) -> Block:
        return Block(tuple(children), self._over(meta))

    def clause(self, meta: Any, children: list[Any]) -> Clause:
        return Clause(str(children[0]), children[1], self._over(meta))

    def until(self, meta: Any, children: list[Any]) -> Until:
        *metric, comparison, limit = children if len(children) > 1 else ("", *children)
        return Until(tuple(cast(list[Word], metric)), str(comparison), limit, self._over(meta))

    def multiple(self, meta: Any, children: list[Any]) -> Multiple:
        return Multiple(children[0], self._over(meta))

    def let(self, meta: Any, children: list[Any]) -> Let:
        return Let(children[0], children[1], self._over(meta))

    def marker(self, meta: Any, children: list[Token]) -> Marker:
        return Marker(" ".join(children), self._over(meta))

    def call(self, meta: Any, children: list[Any]) -> Call:
        return Call(children[0], tuple(children[1:]), self._over(meta))

    def argument(self, meta: Any, children: list[Any]) -> Argument:
        name = children[0].text if len(children) == 2 else None
        return Argument(name, children[-1], self._over(meta))

    def duration(self, meta: Any, children: list[Any]) -> Duration:
        return Duration(children[0], str(children[1]), self._over(meta))

    def list(self, meta: Any, children: list[Value]) -> ListOf:
        return ListOf(tuple(children), self._over(meta))


def lines_of(source: Source, parsed: Tree[Token]) -> tuple[Line, ...]:
    """The lines of a whole parse."""
    return cast("tuple[Line, ...]", Builder(source).transform(parsed))


def single_value(source: Source, parsed: Tree[Token] | Token) -> Value:
    """A single value, parsed on its own."""
    builder = Builder(source)
    if isinstance(parsed, Token):
        return cast(Value, getattr(builder, parsed.type)(parsed))
    return cast(Value, builder.transform(parsed))
