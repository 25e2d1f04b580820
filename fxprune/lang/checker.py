"""A `Spec`'s statements -> every mistake in their values, and in how they go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from fxprune.errors import Diagnostic
from fxprune.lang.ast import (
    NM,
    Amount,
    Budget,
    Criterion,
    Cut,
    Input,
    KeepCount,
    Let,
    Mark,
    Phase,
    Repeat,
    Selecting,
    Share,
    Statement,
    Use,
    flat,
)
from fxprune.lang.values import spell, written
from fxprune.lang.variables import bind
from fxprune.lang.words import CRITERIA, PATTERNS, STATEMENTS, nearest

__all__ = ["check"]

MARKING = {"mark", "mask", "shrink", "align", "hypernet"}  # what leaves something for a bare `cut` to remove


def check(statements: Sequence[Statement], *, whole: bool = True) -> Iterator[Diagnostic]:
    """Every mistake.

    Args:
        statements: in the order of the file.
        whole: whether these are all statements; if some were left out for mistakes of their own, what one statement
            needs from another is not checked.
    """
    everything = tuple(flat(tuple(statements)))
    yield from _singles(statements)
    for statement in statements:
        yield from _statement(statement)
    if whole:
        yield from _order(everything, set(), set())


# -- one statement -----------------------------------------------------------------------------------------------------


def _statement(statement: Statement) -> Iterator[Diagnostic]:
    match statement:
        case Mark() | Cut() | Phase():
            yield from _selecting(statement)
        case Input():
            yield from _shapes(statement)
        case Repeat():
            yield from _repeat(statement)


def _selecting(statement: Mark | Cut | Phase) -> Iterator[Diagnostic]:
    yield from _amount(statement.amount, statement)
    yield from _criterion(statement.criterion, statement)
    amounts = [statement.amount, *(choice.amount for choice in statement.choices)]
    for choice in statement.choices:
        yield from _amount(choice.amount, statement)
        yield from _criterion(choice.criterion, statement)
        if isinstance(choice.amount, Budget):
            yield Diagnostic(
                "a budget is for the whole network, not for one choice", choice.amount.span, "put it before the block"
            )
    if isinstance(statement, Phase):
        if statement.meanwhile is not None:
            yield from _selecting(statement.meanwhile)
        return
    if isinstance(statement, Cut) and statement.bakes:
        if _says(statement):
            yield Diagnostic("how much is to be cut?", statement.span, "cut filters 50% by l1")
    elif all(amount is None for amount in amounts):
        hint = f"{statement.word} filters 50%"
        yield Diagnostic(f"how much is to be {'marked' if statement.word == 'mark' else 'cut'}?", statement.span, hint)
    elif statement.amount is None:
        yield from (
            Diagnostic("how much of these?", choice.span, "free 50% by l1, or an amount before the block")
            for choice in statement.choices
            if choice.amount is None
        )


def _says(statement: Selecting) -> bool:
    """Whether a cut without an amount says something that only matters with one."""
    ranked = statement.criterion or statement.aggregate or statement.multiple_of or statement.granularity
    return bool(ranked) or statement.scope == "global"


def _amount(amount: Amount | None, statement: Selecting) -> Iterator[Diagnostic]:
    match amount:
        case Share(removed=removed, kept=kept) if not 0 <= removed < 1:
            said = written_percent(1 - removed if kept else removed)
            if kept:
                message = "nothing would be left" if removed == 1 else f"{said} cannot be kept"
                yield Diagnostic(message, amount.span, "keep more than 0% and at most 100%")
            else:
                message = "nothing would be left" if removed == 1 else f"{said} cannot be removed"
                yield Diagnostic(message, amount.span, "a share removed is at least 0% and less than 100%")
        case KeepCount(count=count) if count < 1:
            yield Diagnostic("at least one is kept", amount.span, "keep 1")
        case NM(kept=kept, out_of=out_of) if not 0 < kept < out_of:
            yield Diagnostic(
                f"{kept}:{out_of} leaves no choice", amount.span, "2:4 keeps 2 of every 4 weights: the first is smaller"
            )
        case NM() if statement.granularity != "weights":
            yield Diagnostic("N:M is a pattern of weights", amount.span, f"cut weights {written(amount)}")
        case Budget(limit=limit) if isinstance(limit, Fraction) and not 0 < limit < 1:
            yield Diagnostic("a budget is more than 0% and less than 100% of the dense network", amount.span)


def written_percent(share: Fraction) -> str:
    """A share as a percentage."""
    return f"{spell(share * 100)}%"


def _criterion(criterion: Criterion | None, statement: Selecting) -> Iterator[Diagnostic]:
    if criterion is None:
        return
    masks = isinstance(statement, Phase) and statement.word == "mask"
    table = PATTERNS if masks else CRITERIA
    granularity = statement.granularity or "filters"
    if criterion.name not in table:
        return
    if granularity not in table[criterion.name].of:
        others = [name for name, measure in sorted(table.items()) if granularity in measure.of]
        meant = "magnitude" if granularity == "weights" and not masks else None
        hint = f"write `by {meant}`" if meant else f"there are {', '.join(others)}" if others else "mask kernels"
        yield Diagnostic(f"`{criterion.name}` is no measure of {granularity}", criterion.span, hint)
    for name, value in criterion.args:
        if name == "seed" and not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            yield Diagnostic("a seed is a whole number", criterion.span, "random(seed=1)")


def _shapes(statement: Input) -> Iterator[Diagnostic]:
    for shape in statement.shapes:
        if 0 in shape:
            yield Diagnostic(f"{'x'.join(map(str, shape))} holds nothing", statement.span, "every side is 1 or more")


def _repeat(statement: Repeat) -> Iterator[Diagnostic]:
    found: list[Diagnostic] = []
    if statement.variable is None:
        found += [finding for inner in statement.body for finding in _statement(inner)]
    for value in statement.values:
        try:
            bound = bind(statement.body, statement.variable or "", value)
        except TypeError:
            message = f"`{written(value)}` is not an amount, which `{statement.variable}` stands for"
            found.append(Diagnostic(message, statement.span, "give percentages: 70%, 50%"))
        else:
            found += [finding for inner in bound for finding in _statement(inner)]
    yield from dict.fromkeys(found)


# -- statements together -----------------------------------------------------------------------------------------------


def _singles(statements: Sequence[Statement]) -> Iterator[Diagnostic]:
    """What may stand once stands once. A file may override what a file it uses says."""
    seen: dict[str, Statement] = {}
    for statement in statements:
        if isinstance(statement, Use):
            continue
        if isinstance(statement, Let):
            key, name = f"let {statement.name}", f"`{statement.name}` is defined"
        elif STATEMENTS[statement.word].single:
            key, name = statement.word, f"`{statement.word}` stands"
        else:
            continue
        if key in seen:
            first = seen[key].span
            line = f"on line {first.source.position(first.start)[0]}" if first else "already"
            yield Diagnostic(f"{name} twice", statement.span, f"it stands {line}; leave one of them out")
        seen.setdefault(key, statement)


def _order(statements: Sequence[Statement], marked: set[str], saved: set[str]) -> Iterator[Diagnostic]:
    """What a statement needs must come before it: marks before a bare cut, a save before its rewind."""
    for statement in statements:
        match statement:
            case Cut() if statement.bakes:
                if not marked and not _says(statement):
                    yield Diagnostic(
                        "nothing is marked, so there is nothing to cut",
                        statement.span,
                        "cut filters 50%, or `mark` first",
                    )
            case Phase(word="save", label=str(label)):
                saved.add(label)
            case Phase(word="rewind", label=label) if label not in saved:
                meant = nearest(label or "", saved)
                hint = f"did you mean `{meant}`?" if meant else f"put `save as {label}` where it is to go back to"
                yield Diagnostic(f"no state is saved as `{label}`", statement.span, hint)
            case Repeat(body=()):
                yield Diagnostic("this `repeat` repeats nothing", statement.span, "put statements into its block")
            case Repeat(body=body):
                yield from _order(body, marked, saved)
        if statement.word in MARKING:
            marked.add(statement.word)
