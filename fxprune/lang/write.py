"""Statements -> text, one statement after the other: the inverse of reading, for specs made by hand."""

from __future__ import annotations

import re
from fractions import Fraction

from fxprune.lang.ast import (
    NM,
    Amount,
    Attention,
    Budget,
    Choice,
    Criterion,
    Emit,
    Input,
    KeepCount,
    Let,
    Limit,
    ModelRef,
    Multiple,
    Norm,
    Option,
    Percent,
    Phase,
    Protect,
    Repeat,
    Selecting,
    Selection,
    Share,
    Statement,
    Steps,
    Term,
    Use,
    Value,
    Variable,
)
from fxprune.lang.values import quoted, spell, written
from fxprune.lang.words import CLAUSES, GRANULARITIES, ROLES

__all__ = ["write"]

PATH = re.compile(r"[^\W\d*?][\w*?]*(\.[\w*?]+)*|[*?]+(\.[\w*?]+)*")  # others are quoted
RESERVED = {word.split()[0] for word in CLAUSES} | {*ROLES, *GRANULARITIES, "kind", "group", "let"}


def write(statements: tuple[Statement, ...]) -> str:
    """The text of statements.

    Raises:
        ValueError: for a fraction that no decimal number writes, such as a share of 1/3.
    """
    return "".join(f"{_statement(statement)}\n" for statement in statements)


def _join(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _statement(statement: Statement) -> str:
    match statement:
        case ModelRef(name=name, args=args, weights=weights):
            return _join(
                "model", _call(Criterion(name, args)), f"from {quoted(weights)}" if weights is not None else None
            )
        case Input(shapes=shapes):
            return f"input {', '.join('x'.join(map(str, shape)) for shape in shapes)}"
        case Protect(what=what):
            return _join("protect", _selection(what))
        case Attention(mode=mode):
            return f"attention {mode}"
        case Norm(mode=mode):
            return f"norm {mode}"
        case Multiple(of=of):
            return f"multiple of {of}"
        case Emit(formats=formats):
            return f"emit {', '.join(formats)}"
        case Let(name=name, value=value):
            return f"let {name} = {written(value)}"
        case Use(path=path):
            return f"use {quoted(path)}"
        case Repeat():
            return _repeat(statement)
        case Phase():
            return _phase(statement)
        case _:
            choices = [_choice(choice) for choice in statement.choices]
            return _join(statement.word, _chosen(statement), _block(choices))


def _block(entries: list[str]) -> str:
    return "{\n" + "\n".join(entries) + "\n}" if entries else ""


def _repeat(repeat: Repeat) -> str:
    body = "{\n" + write(repeat.body) + "}"
    if repeat.variable is None:
        times = repeat.times
        return _join("repeat", times.name if isinstance(times, Variable) else str(times), body)
    return _join(f"repeat for {repeat.variable} in", ", ".join(written(value) for value in repeat.values), body)


def _phase(phase: Phase) -> str:
    if phase.word == "data":
        return _join("data", *(_option(option, pair=True) for option in phase.options))
    label = {"save": "as", "rewind": "to"}.get(phase.word)
    return _join(
        phase.word,
        _call(phase.subject) if phase.subject else None,
        f"{spell(phase.factor)}x" if phase.factor is not None else None,
        _chosen(phase),
        f"on {written(phase.on)}" if phase.on is not None else None,
        f"{label} {written(phase.label)}" if label else None,
        _steps(phase),
        _limit(phase.until) if phase.until else None,
        f"while {_phase(phase.meanwhile)}" if phase.meanwhile else None,
        _block([_option(option) for option in phase.options]),
    )


def _steps(phase: Phase) -> str | None:
    match phase.steps:
        case Steps(count=Variable(name=name), unit=unit):
            return f"for {name} {unit}"
        case Steps(count=int(count), unit=unit):
            return f"for {spell(count, thousand='k')} {unit}"
    return None


def _chosen(statement: Selecting) -> str:
    selection = statement.selection
    where = None
    if selection is not None:
        where = _join("in" if selection.terms else None, _selection(selection))
    scope = "globally" if statement.scope == "global" else None
    return _join(statement.granularity, _amount(statement.amount), where, *_ranking(statement), scope)


def _choice(choice: Choice) -> str:
    scope = {"global": "globally", "local": "per layer", None: None}[choice.scope]
    return _join(_selection(choice.selection), _amount(choice.amount), *_ranking(choice), scope)


def _ranking(of: Selecting | Choice) -> list[str | None]:
    multiple = of.multiple_of.name if isinstance(of.multiple_of, Variable) else of.multiple_of
    return [
        f"by {_call(of.criterion)}" if of.criterion else None,
        f"aggregate {of.aggregate}" if of.aggregate else None,
        f"multiple of {multiple}" if multiple is not None else None,
    ]


def _amount(amount: Amount | None) -> str | None:
    match amount:
        case None:
            return None
        case Share(removed=removed, rounding=rounding, kept=kept):
            share = f"keep {_percent(1 - removed)}" if kept else _percent(removed)
            return share if rounding == "up" else f"{share} rounded {rounding}"
        case KeepCount(count=count):
            return f"keep {count}"
        case NM():
            return written(amount)
        case Variable(name=name, keep=keep):
            return f"keep {name}" if keep else name
        case Budget(metric=metric, limit=limit, at=at):
            size = f" at {at[0]}x{at[1]}" if at else ""
            most = spell(limit) if isinstance(limit, int) else _percent(limit)
            return f"until {metric} <= {most}{size}"


def _percent(share: Fraction) -> str:
    return written(Percent(share))


def _selection(selection: Selection) -> str:
    kept = ", ".join(_term(term) for term in selection.terms)
    left_out = ", ".join(_term(term) for term in selection.excluded)
    return _join(kept, f"except {left_out}" if left_out else None)


def _term(term: Term) -> str:
    if term.what == "role":
        return term.name
    if term.what == "path":
        return _path(term.name)
    return f"{term.what} {written(term.name)}"


def _path(name: str) -> str:
    plain = PATH.fullmatch(name) and name not in RESERVED
    return name if plain else quoted(name)


def _call(call: Criterion) -> str:
    name = call.name if call.name.isidentifier() else quoted(call.name)
    if not call.args:
        return name
    return f"{name}({', '.join(f'{arg}={written(value)}' for arg, value in call.args)})"


def _limit(limit: Limit) -> str:
    if not limit.metric:
        return f"until {written(limit.value)}"
    return f"until {limit.metric} {limit.comparison} {written(limit.value)}"


def _quoted(value: Value) -> str:
    return quoted(value) if isinstance(value, str) else written(value)


def _option(option: Option, *, pair: bool = False) -> str:
    if option.name == "until":
        return f"until {written(option.values[0])}"
    first, *others = [_quoted(value) for value in option.values] or [""]
    if option.values and not pair:
        first = written(option.values[0])  # a bare word, where it cannot be taken for the next name
    return _join(
        option.name, ", ".join([first, *others]), *(f"{word} {_governed(value)}" for word, value in option.clauses)
    )


def _governed(value: Value) -> str:
    return ", ".join(written(item) for item in value) if isinstance(value, tuple) else written(value)
