"""The values of options → numbers, steps, arguments; every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from fxprune.errors import Diagnostic
from fxprune.lang import Option, Phase
from fxprune.lang.words import nearest
from fxprune.source import Span

__all__ = ["Values"]


class Values:
    """Reads the values of options; what is wrong with them is collected."""

    def __init__(self) -> None:
        self.wrong: list[Diagnostic] = []

    def refuse(self, message: str, span: Span | None, hint: str | None = None) -> None:
        """Remember a mistake."""
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
