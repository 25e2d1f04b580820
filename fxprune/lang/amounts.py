"""Items -> amounts, budgets, measures and times, with what is wrong about them reported."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import cast

from fxprune.errors import Diagnostic
from fxprune.lang import tree
from fxprune.lang.ast import NM, Amount, Budget, Criterion, KeepCount, Limit, Rounding, Share, Steps, Variable
from fxprune.lang.gather import Gathered, Report, shown
from fxprune.lang.values import spell, value_of
from fxprune.lang.words import CRITERIA, METRICS, PATTERNS, ROUNDINGS, Measure, nearest

__all__ = ["Amounts"]

SUFFIXES = "K, M, G and T multiply by 10^3, 10^6, 10^9 and 10^12"
AT_MOST = ("<=", "≤")
AT_LEAST = (">=", "≥")


class Amounts:
    """Reads the parts of statements that are about how much, by what, and for how long."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def wrong(self, message: str, item: tree.Item | tree.ListOf, hint: str | None = None) -> None:
        """Report a mistake at an item."""
        self._report(Diagnostic(message, item.span, hint))

    def number(self, item: tree.Item, what: str, hint: str | None = None) -> Fraction | Variable | None:
        """A number; anything else is reported as not being `what`."""
        match item:
            case tree.Number(value=value):
                return value
            case tree.Bound(name=name):
                return Variable(name, span=item.span)
            case tree.Path(text=text) if text[0].isdigit():
                self.wrong(f"`{text}` is not a number", item, hint or SUFFIXES)
            case tree.Word(text=text):
                self.wrong(f"`{text}` is not {what}", item, f"a variable needs a value: `let {text} = 8`")
            case _:
                self.wrong(f"`{shown(item)}` is not {what}", item, hint)
        return None

    def whole(self, item: tree.Item, what: str, *, least: int = 1) -> int | Variable | None:
        """A whole number, `least` or more."""
        value = self.number(item, what)
        if value is None or isinstance(value, Variable):
            return value
        if value.denominator != 1 or value < least:
            self.wrong(f"{what} is {least} or more" if value < least else f"{what} is a whole number", item)
            return None
        return int(value)

    def amount(self, out: Gathered) -> Amount | None:
        """The amount of a statement, its rounding and its `at` included."""
        item = out.amount
        rounding = out.clauses.get("rounded")
        amount: Amount | None = None
        match item:
            case tree.Percent(share=share):
                amount = Share(share, span=item.span)
            case tree.Ratio(left=left, right=right):
                amount = NM(left, right, span=item.span)
            case tree.Number():
                self.bare_number(item)
            case tree.Bound(name=name):
                amount = Variable(name, span=item.span)
            case tree.Clause(word="keep", operand=operand):
                amount = self.kept(item, operand)
            case tree.Until():
                amount = self.budget(item, cast("tree.Clause | None", out.clauses.get("at")))
        if "at" in out.clauses and not isinstance(item, tree.Until):
            self.wrong("`at` goes with a budget of MACs", out.clauses["at"], "until macs <= 40.6G at 1280x720")
        if isinstance(rounding, tree.Clause):
            return self.rounded(amount, rounding)
        return amount

    def bare_number(self, item: tree.Number) -> None:
        """A number where an amount is due: the commonest slip, a share without its `%`."""
        value = item.value
        if 0 < value < 1:
            self.wrong("a share is written as a percentage", item, f"write {spell(value * 100)}%")
        elif value.denominator == 1 and value > 0:
            share = f"{item.text}% removes that share, " if value < 100 else ""
            self.wrong("an amount needs `%` or `keep`", item, f"{share}`keep {item.text}` leaves that many")
        else:
            self.wrong("an amount is a percentage, or what to `keep`", item, "50%, keep 32, until params <= 700K")

    def kept(self, clause: tree.Clause, operand: tree.Operand) -> Amount | None:
        """`keep 25%`, `keep 32`."""
        match operand:
            case tree.Percent(share=share):
                return Share(1 - share, kept=True, span=clause.span)
            case tree.Bound(name=name):
                return Variable(name, keep=True, span=clause.span)
            case tree.Number(value=value) if 0 < value < 1:
                self.wrong("a share is written as a percentage", operand, f"write keep {spell(value * 100)}%")
                return None
        count = self.whole(operand, "a number of units to keep")
        return KeepCount(count, span=clause.span) if isinstance(count, int) else None

    def rounded(self, amount: Amount | None, clause: tree.Clause) -> Amount | None:
        """`rounded down`."""
        how = getattr(clause.operand, "text", "")
        if how not in ROUNDINGS:
            meant = nearest(how, ROUNDINGS)
            hint = f"did you mean `{meant}`?" if meant else "rounded up, rounded down, rounded nearest"
            self.wrong(f"`{shown(clause.operand)}` is no way of rounding", clause.operand, hint)
        elif isinstance(amount, Share):
            return replace(amount, rounding=cast(Rounding, how))
        elif amount is not None:
            self.wrong("only a percentage is rounded", clause, "leave it out")
        return amount

    def budget(self, until: tree.Until, at: tree.Clause | None) -> Budget | None:
        """`until macs <= 40.6G at 1280x720`."""
        metric = " ".join(word.text for word in until.metric)
        if metric not in METRICS:
            meant = nearest(metric.replace(" ", "_"), METRICS) if metric else None
            hint = f"did you mean `{meant}`?" if meant else "until params <= 700K, until macs <= 40.6G at 1280x720"
            first = until.metric[0] if until.metric else until.limit
            if not metric and getattr(first, "text", "") in METRICS:
                self.wrong("`until` needs a metric, `<=` and a limit", until, hint)
            else:
                self.wrong(f"`{metric or shown(until.limit)}` is not a budget", first, hint)
            return None
        if not self.compares(until, AT_MOST, "<="):
            return None
        limit = self.limit(until.limit)
        size = self.output_size(at, metric, until) if at else None
        if metric == "macs" and at is None and isinstance(limit, int):
            self.wrong("MACs depend on the size of the picture", until, "add `at 1280x720`: the output, width first")
            return None
        if limit is None or (at is not None and size is None):
            return None
        return Budget(metric, limit, size, span=until.span)  # type: ignore[arg-type]

    def compares(self, until: tree.Until, signs: tuple[str, ...], write: str) -> bool:
        """Whether a limit is compared the way it must be."""
        if until.comparison in signs:
            return True
        between = until.limit.span.source.text[until.metric[-1].span.end : until.limit.span.start].strip()
        self.wrong(f"`{between}` is no way to give this limit", until, f"write `{write}`")
        return False

    def limit(self, item: tree.Atom) -> int | Fraction | None:
        """A number of parameters or MACs, or a percentage of the dense network's."""
        if isinstance(item, tree.Percent):
            return item.share
        value = self.whole(item, "a budget")
        if isinstance(value, Variable):
            self.wrong("a budget is a number", item, "700K, 40.6G, 50%")
            return None
        return value

    def output_size(self, at: tree.Clause, metric: str, until: tree.Until) -> tuple[int, int] | None:
        """`at 1280x720`."""
        if metric == "params":
            self.wrong("parameters do not depend on the size of the picture", at, "leave `at` out")
        elif isinstance(at.operand, tree.Size) and len(at.operand.sides) == 2 and min(at.operand.sides) > 0:
            width, height = at.operand.sides
            return width, height
        else:
            self.wrong(f"`{shown(at.operand)}` is not the size of a picture", at.operand, "width x height: 1280x720")
        return None

    def until(self, item: tree.Until) -> Limit | None:
        """Where a phase ends: `until params <= 8.5%`, `until 0.5`."""
        metric = " ".join(word.text for word in item.metric)
        if metric and not self.compares(item, AT_MOST + AT_LEAST, "<=` or `>="):
            return None
        sign = {"≤": "<=", "≥": ">="}.get(item.comparison, item.comparison)
        return Limit(metric, sign, value_of(item.limit), span=item.span)

    def steps(self, out: Gathered) -> Steps | None:
        """`300k steps`, `for 300k steps`: a duration that is loose, or the operand of `for`."""
        clause = out.clauses.get("for")
        item: tree.Item | None = clause.operand if isinstance(clause, tree.Clause) else None
        for loose in [i for i in out.loose if isinstance(i, tree.Duration)]:
            out.loose.remove(loose)
            if item is not None:
                self.wrong(f"two times: `{shown(item)}` and `{shown(loose)}`", loose, "leave one of them out")
            item = loose
        if item is None:
            return None
        if not isinstance(item, tree.Duration):
            self.wrong("a time needs its unit", item, f"{shown(item)} steps, {shown(item)} epochs")
            return None
        count = self.whole(item.count, f"a number of {item.unit.removesuffix('s')}s")
        unit = "steps" if item.unit.startswith("step") else "epochs"
        return None if count is None else Steps(count, unit, span=item.span)  # type: ignore[arg-type]

    def measure(self, item: tree.Item, *, pattern: bool = False) -> Criterion | None:
        """What follows `by`, checked for its name and its arguments' names."""
        table = PATTERNS if pattern else CRITERIA
        named = item.callee if isinstance(item, tree.Call) else item
        name = getattr(named, "text", "")
        if name not in table:
            what = "a pattern" if pattern else "a criterion"
            meant = nearest(name, table) if name else None
            hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(table))}"
            self.wrong(f"`{shown(named)}` is not {what}", named, hint)
            return None
        return self.call(item, table[name])

    def call(self, item: tree.Item, known: Measure | None = None) -> Criterion | None:
        """A name with arguments; those without a name take the names of `known` in order."""
        if isinstance(item, tree.Word | tree.Path | tree.Text):
            return Criterion(item.text, span=item.span)
        if not isinstance(item, tree.Call):
            self.wrong(f"`{shown(item)}` is not a name", item)
            return None
        args: dict[str, tree.Value] = {}
        callee = shown(item.callee)
        for place, argument in enumerate(item.arguments):
            name = argument.name
            if name is None and known and place < len(known.args):
                name = known.args[place]
            if name is None:
                self.wrong(f"this argument of `{callee}` has no name", argument.value, "write `name=value`")
            elif known is not None and name not in known.args:
                meant = nearest(name, known.args)
                takes = ", ".join(known.args) or "none"
                hint = f"did you mean `{meant}`?" if meant else f"its arguments: {takes}"
                self._report(Diagnostic(f"`{callee}` has no argument `{name}`", argument.span, hint))
            elif name in args:
                self._report(Diagnostic(f"`{name}` is given twice", argument.span, "leave one of them out"))
            else:
                args[name] = argument.value
        return Criterion(item.callee.text, tuple((n, value_of(v)) for n, v in args.items()), span=item.span)
