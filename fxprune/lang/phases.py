"""Slots -> what marks, cuts and phases have in common: selections, choices, options, times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from fxprune.errors import Diagnostic
from fxprune.lang import tree
from fxprune.lang.amounts import Amounts
from fxprune.lang.ast import Choice, Criterion, Granularity, Option, Phase, Scope, Value, Variable
from fxprune.lang.gather import Gathered, gather, shown, stray
from fxprune.lang.values import value_of
from fxprune.lang.words import AGGREGATES, CHOICE, OPTION, STATEMENTS, Word, nearest
from fxprune.source import Span

__all__ = ["Parts", "Phases"]

Parts = Sequence[tuple[tree.Item, ...]]


class Phases(Amounts):
    """Reads statements that choose units, and statements that take time."""

    def ranking(self, out: Gathered, *, pattern: bool = False) -> dict[str, Any]:
        """What a statement and a choice have in common, as the fields of both."""
        by, aggregate, multiple = (out.clauses.get(word) for word in ("by", "aggregate", "multiple"))
        scope: Scope | None = "global" if "globally" in out.clauses else None
        of: int | Variable | None = None
        if isinstance(multiple, tree.Multiple):
            of = self.whole(multiple.value, "a multiple")
        return {
            "amount": self.amount(out),
            "criterion": self.measure(by.operand, pattern=pattern) if isinstance(by, tree.Clause) else None,
            "scope": "local" if "per layer" in out.clauses else scope,
            "aggregate": self.aggregate(aggregate.operand) if isinstance(aggregate, tree.Clause) else None,
            "multiple_of": of,
        }

    def choosing(self, out: Gathered, *, pattern: bool = False) -> dict[str, Any]:
        """The fields of `Selecting`, without choices."""
        fields = self.ranking(out, pattern=pattern)
        granularity = cast("Granularity | None", out.granularity.text if out.granularity else None)
        return fields | {
            "scope": fields["scope"] or "local",
            "granularity": granularity,
            "selection": out.selection(),
        }

    def aggregate(self, item: tree.Item) -> str | None:
        """`aggregate max`."""
        name = getattr(item, "text", "")
        if name in AGGREGATES:
            return cast(str, name)
        meant = nearest(name, AGGREGATES)
        hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(AGGREGATES))}"
        self.wrong(f"`{shown(item)}` is no way to combine scores", item, hint)
        return None

    def choices(self, block: tree.Block | None) -> tuple[Choice, ...]:
        """`{ free by l1 ⏎ constrained by random(seed=1) }`."""
        if block is None:
            return ()
        out = [choice for line in block.lines if (choice := self.choice(line)) is not None]
        if not block.lines:
            self._report(Diagnostic("this block is empty", block.span, "free by l1, on a line of its own"))
        return tuple(out)

    def choice(self, line: tree.Line) -> Choice | None:
        """One line of such a block."""
        if line.block is not None:
            self._report(Diagnostic("a choice takes no block", line.block.span))
        out = gather("a choice", line.parts, CHOICE, self._report)
        stray(out, CHOICE, self._report)
        selection = out.selection()
        if selection is None:
            self._report(Diagnostic("a choice begins with what it is for", line.span, "free by l1; body.* 50%"))
            return None
        return Choice(selection, **self.ranking(out), span=line.span)

    # -- phases --------------------------------------------------------------------------------------------------------

    def phase(self, head: str, out: Gathered, first: tree.Item, block: tree.Block | None, span: Span) -> Phase:
        """Any statement that has no class of its own."""
        word = STATEMENTS[head]
        steps = self.steps(out)
        fields = self.choosing(out, pattern=head == "mask")
        until = out.clauses.get("until")
        meanwhile = self.meanwhile(out, block) if out.while_at else None
        if isinstance(until, tree.Until) and "amount" not in word.takes:
            fields["until"] = self.until(until)
        return Phase(
            word=head,
            **fields,
            subject=self.subject(out, first) if "subject" in word.takes else None,
            steps=steps,
            on=self.name(out, "on"),
            label=self.label(out, first),
            factor=self.factor(out, first),
            options=() if meanwhile else self.options(block, word),
            meanwhile=meanwhile,
            span=span,
        )

    def subject(self, out: Gathered, first: tree.Item) -> Criterion | None:
        """The name a phase works with: shrink l2, optimizer adam(lr=1e-4)."""
        for item in out.loose:
            if isinstance(item, tree.Word | tree.Call):
                out.loose.remove(item)
                return self.call(item)
        if out.head != "shrink":
            self.wrong(f"`{out.head}` needs a name", first, STATEMENTS[out.head].example)
        return None

    def name(self, out: Gathered, clause: str) -> str | None:
        """The name a clause governs."""
        item = out.clauses.get(clause)
        if not isinstance(item, tree.Clause):
            return None
        if isinstance(item.operand, tree.Word | tree.Text):
            return item.operand.text
        self.wrong(f"`{shown(item.operand)}` is not a name", item.operand, f'quote it: "{shown(item.operand)}"')
        return None

    def label(self, out: Gathered, first: tree.Item) -> str | None:
        """`save as start`, `rewind to start`: the name, which must be there."""
        clause = {"save": "as", "rewind": "to"}.get(out.head)
        if clause is None:
            return None
        if clause not in out.clauses:
            self.wrong(f"`{out.head}` needs a name", first, STATEMENTS[out.head].example)
        return self.name(out, clause)

    def factor(self, out: Gathered, first: tree.Item) -> Any:
        """`widen 2x`."""
        if out.head != "widen":
            return None
        for item in out.loose:
            if isinstance(item, tree.Times):
                out.loose.remove(item)
                return item.factor
        numbers = [item for item in out.loose if isinstance(item, tree.Number)]
        out.loose[:] = [item for item in out.loose if item not in numbers]
        hint = f"write {numbers[0].text}x" if numbers else "widen 2x"
        self.wrong("`widen` needs a factor", numbers[0] if numbers else first, hint)
        return None

    def meanwhile(self, out: Gathered, block: tree.Block | None) -> Phase | None:
        """The phase after `while`, which takes the block."""
        first = out.meanwhile[0][0] if out.meanwhile else None
        head = first.text if isinstance(first, tree.Word) else ""
        if first is None or head not in STATEMENTS or not STATEMENTS[head].steps:
            self._report(
                Diagnostic("after `while` comes a phase", first.span if first else out.while_at, "while shrink l2")
            )
            return None
        parts = [out.meanwhile[0][1:], *out.meanwhile[1:]]
        nested = gather(head, parts, STATEMENTS[head].takes, self._report)
        last = out.meanwhile[-1][-1].span
        span = Span(last.source, first.span.start, block.span.end if block else last.end)
        phase = self.phase(head, nested, first, block, span)
        stray(nested, STATEMENTS[head].takes, self._report)
        return phase

    # -- options -------------------------------------------------------------------------------------------------------

    def options(self, block: tree.Block | None, word: Word) -> tuple[Option, ...]:
        """`{ lr 1e-4, halve every 200k }`: a comma before a word begins the next option, and so does `until`."""
        if block is None or word.block != "options":
            return ()
        out: list[Option] = []
        for line in block.lines:
            if line.block is not None:
                self._report(Diagnostic("an option takes no block", line.block.span))
            entry: list[tree.Item] = []
            for part in line.parts:
                for place, item in enumerate(part):
                    if entry and (isinstance(item, tree.Until) or (place == 0 and isinstance(item, tree.Word))):
                        out.append(self.option(entry))
                        entry = []
                    entry.append(item)
            out.append(self.option(entry))
        self.once(out)
        return tuple(out)

    def option(self, entry: Sequence[tree.Item]) -> Option:
        """One option: a name, its values, its clauses."""
        first, *rest = entry
        span = Span(first.span.source, first.span.start, entry[-1].span.end)
        values: list[Value] = []
        clauses: list[tuple[str, Value]] = []
        if isinstance(first, tree.Until):
            limit = self.until(first)
            if limit is None or limit.metric:
                self.wrong("an option ends at a value", first, "until 0.5")
            name, values = "until", [limit.value if limit else None]
        elif isinstance(first, tree.Word):
            name = first.text
        elif isinstance(first, tree.Call) and (made := self.call(first)):
            name, clauses = made.name, list(made.args)
        else:
            name = ""
            self.wrong(f"an option cannot begin with `{shown(first)}`", first, "a name comes first: lr 1e-4")
        for item in rest:
            match item:
                case tree.Clause(word=word, operand=operand) if word in OPTION:
                    clauses.append((word, self.governed(operand)))
                case tree.Call():
                    call = self.call(item)
                    values.append(call.name if call else None)
                    clauses.extend(call.args if call else ())
                case tree.Clause() | tree.Marker() | tree.Multiple() | tree.Let() | tree.Until():
                    self.wrong(f"`{shown(item)}` does not belong in an option", item)
                case _ if clauses and not isinstance(item, tree.Word):
                    word, value = clauses[-1]
                    earlier = value if isinstance(value, tuple) else (value,)
                    clauses[-1] = (word, (*earlier, value_of(item)))
                case _:
                    values.append(value_of(item))
        return Option(name, tuple(values), tuple(clauses), span=span)

    def governed(self, operand: tree.Operand) -> Value:
        """The value a clause of an option governs; `every step` is `every 1`."""
        if isinstance(operand, tree.Call):
            self.wrong("a value is expected here", operand)
            return None
        if isinstance(operand, tree.Word) and operand.text == "step":
            return 1
        return value_of(operand)

    def once(self, options: Sequence[Option]) -> None:
        """Report options given twice."""
        seen: set[str] = set()
        for option in options:
            if option.name in seen:
                self._report(Diagnostic(f"`{option.name}` is given twice", option.span, "leave one of them out"))
            seen.add(option.name)

    def pairs(self, parts: Parts) -> tuple[Option, ...]:
        """`data train "DIV2K", "Flickr2K" validate "Set5"`: each word takes the values up to the next."""
        entries: list[list[tree.Item]] = []
        for part in parts:
            for item in part:
                if isinstance(item, tree.Word) or not entries:
                    entries.append([])
                entries[-1].append(item)
        return tuple(self.option(entry) for entry in entries)
