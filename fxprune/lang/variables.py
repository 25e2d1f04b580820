"""Variables: `let` and `--set` put values in the place of words, before reading; `bind` does it for a loop, after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from typing import Any, TypeVar, cast

from fxprune.lang import tree
from fxprune.lang.ast import Amount, KeepCount, Node, Percent, Share, Statement, Value, Variable
from fxprune.lang.words import FLAGS

__all__ = ["bind", "lets", "resolve", "substitute"]

T = TypeVar("T")
ROLES = ("train", "validate")  # of `data`
FIXED = {"as", "by", "for", "group", "kind", "on", "aggregate", "rounded"}  # clauses that govern names
NAMING = {"model": "from", "rewind": "to"}  # clauses that do so in one statement, and elsewhere govern values


def lets(lines: Sequence[tree.Line]) -> Iterator[tree.Let]:
    """The `let`s at the top level of a file, in order."""
    for line in lines:
        first = line.parts[0][0]
        if isinstance(first, tree.Let):
            yield first


def substitute(lines: Sequence[tree.Line], values: Mapping[str, tree.Value | None]) -> tuple[tree.Line, ...]:
    """Put the value of a variable wherever its name stands as a value.

    Args:
        lines: as written.
        values: by variable; None for a loop's variable, whose name becomes `tree.Bound`.

    The first word of a line or option, names of arguments, the roles of `data` and the names that clauses such as `by`
    and `as` govern are never variables; a layer called like a variable is written in quotes.
    """
    return tuple(_line(line, values) for line in lines)


def _line(line: tree.Line, values: Mapping[str, tree.Value | None]) -> tree.Line:
    inner = values
    for item in tree.items(line):
        if isinstance(item, tree.Clause) and item.word == "for" and isinstance(item.operand, tree.Word):
            inner = {**values, item.operand.text: None}
    (first, *rest), *others = line.parts
    word = first.text if isinstance(first, tree.Word) else ""
    head = first if word else _item(first, values)
    if word == "data":
        parts = [(head, *_pairs(rest, values)), *(tuple(_pairs(part, values)) for part in others)]
    else:
        items = (item if _names(word, item) else _item(item, values) for item in rest)
        parts = [(head, *items), *(_part(part, values) for part in others)]
    block = replace(line.block, lines=substitute(line.block.lines, inner)) if line.block else None
    return tree.Line(tuple(parts), block, line.span)


def _part(part: tuple[tree.Item, ...], values: Mapping[str, tree.Value | None]) -> tuple[tree.Item, ...]:
    first = part[0]
    named = isinstance(first, tree.Word) and (len(part) > 1 or first.text in FLAGS)  # `halve every 200k`: not a value
    return tuple(item if named and at == 0 else _item(item, values) for at, item in enumerate(part))


def _names(word: str, item: tree.Item) -> bool:
    """Whether an item of a statement is a clause that governs a name: `rewind to start`."""
    return isinstance(item, tree.Clause) and isinstance(item.operand, tree.Word) and NAMING.get(word) == item.word


def _pairs(items: Iterable[tree.Item], values: Mapping[str, tree.Value | None]) -> Iterator[tree.Item]:
    """`train pictures validate tests`: roles and their values. A role's word is a value only right behind a role."""
    role = False
    for item in items:
        role = isinstance(item, tree.Word) and item.text in ROLES and not role
        yield item if role else _item(item, values)


def _item(item: tree.Item, values: Mapping[str, tree.Value | None]) -> tree.Item:
    match item:
        case tree.Word():
            return cast(tree.Item, _word(item, values))
        case tree.Clause(word=word, operand=operand):
            if word in FIXED and isinstance(operand, tree.Word):
                return item
            return replace(item, operand=cast(tree.Operand, _item(operand, values)))
        case tree.Until(limit=tree.Word() as limit):
            return replace(item, limit=cast(tree.Atom, _word(limit, values)))
        case tree.Multiple(value=tree.Word() as value):
            return replace(item, value=cast(tree.Atom, _word(value, values)))
        case tree.Duration(count=tree.Word() as count):
            return replace(item, count=cast(tree.Number, _word(count, values)))
        case tree.Let():
            return replace(item, value=values.get(item.name.text) or item.value)  # the command line may have given it
        case tree.Call(arguments=arguments):
            return replace(item, arguments=tuple(replace(a, value=resolve(a.value, values)) for a in arguments))
        case _:
            return item


def _word(word: tree.Word, values: Mapping[str, tree.Value | None]) -> tree.Value:
    if word.text not in values:
        return word
    value = values[word.text]
    return tree.Bound(word.text, word.span) if value is None else replace(value, span=word.span)


def resolve(value: tree.Value, values: Mapping[str, tree.Value | None]) -> tree.Value:
    """A value with the variables in it replaced."""
    match value:
        case tree.Word():
            return _word(value, values)
        case tree.ListOf():
            return replace(value, values=tuple(resolve(inner, values) for inner in value.values))
        case _:
            return value


def bind(statements: tuple[Statement, ...], name: str, value: Value) -> tuple[Statement, ...]:
    """The statements of a loop's body with the loop's variable given a value.

    Raises TypeError where the value cannot be what the variable stands for, such as a text for an amount.
    """
    return tuple(_bound(statement, name, value) for statement in statements)


def _bound(node: T, name: str, value: Value) -> T:
    """A copy of a node with the variable replaced wherever it stands."""
    if isinstance(node, tuple):
        return cast(T, tuple(_bound(item, name, value) for item in node))
    if not (is_dataclass(node) and isinstance(node, Node)):
        return node
    changed: dict[str, Any] = {}
    for part in fields(node):
        old = getattr(node, part.name)
        if part.name == "span":
            continue
        if isinstance(old, Variable) and old.name == name:
            changed[part.name] = _as_amount(old, value) if part.name == "amount" else value
        else:
            changed[part.name] = _in(old, name, value)
    return cast(T, replace(node, **changed))


def _in(old: Any, name: str, value: Value) -> Any:
    if isinstance(old, tuple):
        return tuple(_in(item, name, value) for item in old)
    if isinstance(old, Variable) and old.name == name:
        return value
    return _bound(old, name, value)


def _as_amount(variable: Variable, value: Value) -> Amount:
    match value:
        case Percent(share=share):
            return Share(1 - share if variable.keep else share, kept=variable.keep, span=variable.span)
        case int() | Fraction() if variable.keep and value == int(value):
            return KeepCount(int(value), span=variable.span)
        case _:
            raise TypeError(f"{variable.name} is not an amount")
