"""Lines -> statements: each kind of statement read from its slots, every mistake reported, none raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from fxprune.errors import Diagnostic
from fxprune.lang import tree
from fxprune.lang.ast import (
    Attention,
    Criterion,
    Cut,
    Emit,
    Input,
    Let,
    Mark,
    ModelRef,
    Multiple,
    Norm,
    Phase,
    Protect,
    Repeat,
    Selection,
    Statement,
    Use,
)
from fxprune.lang.gather import Gathered, Report, gather, shown, stray
from fxprune.lang.phases import Parts, Phases
from fxprune.lang.values import value_of
from fxprune.lang.words import ATTENTIONS, FORMATS, NORMS, STATEMENTS, nearest
from fxprune.source import Span

__all__ = ["Reader"]


class Reader:
    """Reads lines into statements.

    Args:
        report: called with each mistake; a statement with a mistake is left out of the result.
        load: gives the statements of the file that a `use` names.
    """

    def __init__(self, report: Report, load: Callable[[tree.Text], tuple[Statement, ...]]) -> None:
        self._sink = report
        self._load = load
        self._mistakes = 0
        self.phases = Phases(self.report)

    def report(self, diagnostic: Diagnostic) -> None:
        """Pass a mistake on, and remember that there was one."""
        self._mistakes += 1
        self._sink(diagnostic)

    def wrong(self, message: str, item: tree.Item | tree.Line, hint: str | None = None) -> None:
        """Report a mistake at an item."""
        self.report(Diagnostic(message, item.span, hint))

    def statements(self, lines: Sequence[tree.Line], *, nested: bool = False) -> tuple[Statement, ...]:
        """All statements that are right."""
        out = []
        for line in lines:
            before = self._mistakes
            statement = self.statement(line, nested=nested)
            if statement is not None and self._mistakes == before:
                out.append(statement)
        return tuple(out)

    def statement(self, line: tree.Line, *, nested: bool) -> Statement | None:
        """One statement; None where its first word says nothing."""
        first, *rest = line.parts[0]
        if self.joined(line):
            return None
        parts = [tuple(rest), *line.parts[1:]]
        if isinstance(first, tree.Let):
            head = "let"
        elif isinstance(first, tree.Multiple):
            head, parts = "multiple", [(first, *rest), *line.parts[1:]]
        elif isinstance(first, tree.Word) and first.text in STATEMENTS:
            head = first.text
        else:
            self.unknown(first)
            return None
        if nested and not STATEMENTS[head].nests:
            self.wrong(f"`{head}` says something about the whole file", first, "move it out of the block")
            return None
        if head == "let":
            return self.let(cast(tree.Let, first), rest, line)
        return self.read(head, first, parts, line.block, line.span)

    def joined(self, line: tree.Line) -> bool:
        """Whether a comma at the end of a line has joined two statements; reported."""
        for left, right in zip(line.parts, line.parts[1:], strict=False):
            gap = Span(line.span.source, left[-1].span.end, right[0].span.start)
            text = gap.source.text[gap.start : gap.end]
            starts = isinstance(right[0], tree.Word) and right[0].text in STATEMENTS
            if "\n" in text and starts and len(right) > 1:
                comma = Span(gap.source, gap.start + text.index(","), gap.start + text.index(",") + 1)
                self.report(
                    Diagnostic("a comma at the end of a line joins it with the next", comma, "remove the comma")
                )
                return True
        return False

    def unknown(self, first: tree.Item) -> None:
        """Report a line that does not begin with a statement's word."""
        text = shown(first)
        match first:
            case tree.Word(text=word) | tree.Call(callee=tree.Word(text=word)):
                meant = word if word in STATEMENTS else nearest(word, STATEMENTS)
                known = "" if word in STATEMENTS else "unknown statement "
                hint = f"did you mean `{meant}`?" if meant else "a line begins with a word such as `protect` or `cut`"
                if isinstance(first, tree.Call) and word in STATEMENTS:
                    hint = f"write it without brackets: {STATEMENTS[word].example}"
                self.wrong(f"{known}`{word}`{' is not called like a function' if not known else ''}", first, hint)
            case tree.Duration(count=tree.Word(text=word), unit=unit) if word in STATEMENTS:
                self.wrong("a number of steps stands before its unit", first, f"write `{word} 1000 {unit}`")
            case _:
                self.wrong(
                    f"a line cannot begin with `{text}`", first, "it begins with a word such as `protect` or `cut`"
                )

    # -- one kind of statement after the other -------------------------------------------------------------------------

    def read(self, head: str, first: tree.Item, parts: Parts, block: tree.Block | None, span: Span) -> Statement:
        """A statement whose word is known."""
        word = STATEMENTS[head]
        if block is not None and word.block is None:
            self.report(Diagnostic(f"`{head}` takes no block", Span(span.source, block.span.start, block.span.end)))
        if head == "data":
            return Phase(word=head, options=self.phases.pairs(parts) + self.phases.options(block, word), span=span)
        if head == "multiple":
            return self.multiple(parts, span)
        out = gather(head, parts, word.takes, self.report)
        statement: Statement
        match head:
            case "model":
                statement = self.model(out, first, span)
            case "input":
                statement = self.input(out, first, span)
            case "protect":
                statement = self.protect(out, first, span)
            case "attention":
                statement = self.attention(out, first, span)
            case "norm":
                statement = self.norm(out, first, span)
            case "emit":
                statement = Emit(self.names(out, first, FORMATS, "a format"), span=span)
            case "use":
                statement = self.use(out, first, span)
            case "repeat":
                statement = self.repeat(out, first, block, span)
            case "mark" | "cut":
                kind = Mark if head == "mark" else Cut
                statement = kind(**self.phases.choosing(out), choices=self.phases.choices(block), span=span)
            case _:
                statement = self.phases.phase(head, out, first, block, span)
        stray(out, word.takes, self.report)
        return statement

    def let(self, item: tree.Let, rest: Sequence[tree.Item], line: tree.Line) -> Let:
        """`let r = 50%`."""
        extra = [*rest, *(part[0] for part in line.parts[1:])]
        if extra or line.block:
            self.wrong("`let` gives one variable one value", extra[0] if extra else line, "let r = 50%")
        return Let(item.name.text, value_of(item.value), span=line.span)

    def subject(self, out: Gathered) -> tree.Item | None:
        """The first loose name or call, taken."""
        for item in out.loose:
            if isinstance(item, tree.Word | tree.Path | tree.Text | tree.Call):
                out.loose.remove(item)
                return item
        return None

    def model(self, out: Gathered, first: tree.Item, span: Span) -> ModelRef:
        """`model edsr(blocks=16) from "edsr.safetensors"`."""
        item = self.subject(out)
        if item is None:
            self.wrong("`model` needs a name", first, 'model edsr(scale=2), or model "net.py:build"')
            return ModelRef("", span=span)
        named = item.callee if isinstance(item, tree.Call) else item
        if isinstance(named, tree.Path):
            self.wrong("a reference to code is quoted", named, f'write "{named.text}"')
        call = self.phases.call(item) or Criterion("")
        clause = out.clauses.get("from")
        weights = self.text(clause.operand, "a file of weights") if isinstance(clause, tree.Clause) else None
        return ModelRef(call.name, call.args, weights, span=span)

    def text(self, item: tree.Item, what: str) -> str | None:
        """A quoted text."""
        if isinstance(item, tree.Text):
            return item.text
        self.wrong(f"{what} is quoted", item, f'write "{shown(item)}"')
        return None

    def input(self, out: Gathered, first: tree.Item, span: Span) -> Input:
        """`input 1x3x48x48`."""
        sizes = [item for item in out.loose if isinstance(item, tree.Size)]
        out.loose[:] = [item for item in out.loose if item not in sizes]
        if not sizes and not out.loose:
            self.wrong("`input` needs a shape", first, "input 1x3x48x48: batch, channels, height, width")
        if not sizes and out.loose and all(isinstance(item, tree.Number) for item in out.loose):
            shape = "x".join(shown(item) for item in out.loose)
            self.wrong("the sides of a shape are joined by `x`", out.loose[0], f"write {shape}")
            out.loose.clear()
        return Input(tuple(size.sides for size in sizes) or ((),), span=span)

    def protect(self, out: Gathered, first: tree.Item, span: Span) -> Protect:
        """`protect tail.*, sub_mean`."""
        what = out.selection()
        if what is None and not out.loose:
            self.wrong("`protect` needs layers", first, "protect tail.*, first_conv")
        return Protect(what or Selection(), span=span)

    def attention(self, out: Gathered, first: tree.Item, span: Span) -> Attention:
        """`attention heads`."""
        names = self.names(out, first, ATTENTIONS, "a way to cut attention")
        if len(names) != 1:
            self.wrong(f"`attention` is one of {' and '.join(f'`{n}`' for n in ATTENTIONS)}", first)
        return Attention(names[0] if names else "head_dim", span=span)  # type: ignore[arg-type]

    def norm(self, out: Gathered, first: tree.Item, span: Span) -> Norm:
        """`norm native`."""
        names = self.names(out, first, NORMS, "a mode of norms")
        if len(names) > 1:
            self.wrong(f"`norm` is one of {' and '.join(f'`{n}`' for n in NORMS)}", first)
        return Norm(names[0] if names else "exact", span=span)  # type: ignore[arg-type]

    def names(
        self, out: Gathered, first: tree.Item, known: Sequence[str] | dict[str, str], what: str
    ) -> tuple[str, ...]:
        """Words of a table, each once."""
        found: list[str] = []
        words = [item for item in out.loose if isinstance(item, tree.Word | tree.Text)]
        out.loose[:] = [item for item in out.loose if item not in words]
        if not words and not out.loose:
            self.wrong(f"`{out.head}` needs {what}", first, f"there are {', '.join(sorted(known))}")
        for item in words:
            if item.text not in known:
                meant = nearest(item.text, known)
                hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(sorted(known))}"
                self.wrong(f"`{item.text}` is not {what}", item, hint)
            elif item.text in found:
                self.wrong(f"`{item.text}` is given twice", item, "leave one of them out")
            else:
                found.append(item.text)
        return tuple(found)

    def multiple(self, parts: Parts, span: Span) -> Multiple:
        """`multiple of 8` on a line of its own."""
        item = cast(tree.Multiple, parts[0][0])
        others = [other for part in parts for other in part if other is not item]
        if others:
            self.wrong("`multiple of` stands alone here", others[0], "put it on a line of its own, or after its `cut`")
        of = self.phases.whole(item.value, "a multiple")
        return Multiple(of if isinstance(of, int) else 1, span=span)

    def use(self, out: Gathered, first: tree.Item, span: Span) -> Use:
        """`use "common.prune"`."""
        item = self.subject(out)
        if item is None:
            self.wrong("`use` needs a file", first, 'use "common.prune"')
            return Use("", span=span)
        path = self.text(item, "a file")
        return Use(path or "", self._load(cast(tree.Text, item)) if path else (), span=span)

    def repeat(self, out: Gathered, first: tree.Item, block: tree.Block | None, span: Span) -> Repeat:
        """`repeat 8 { ... }`, `repeat for kept in 70%, 50% { ... }`."""
        if block is None:
            self.wrong("`repeat` needs a block", first, "repeat 8 { … }")
        body = self.statements(block.lines, nested=True) if block else ()
        clause = out.clauses.get("for")
        if isinstance(clause, tree.Clause):
            values = tuple(item for item in out.loose if isinstance(item, tree.Atom | tree.ListOf))
            values += tuple(_as_atom(term.span, term.name) for term in out.terms)
            out.loose[:] = [item for item in out.loose if item not in values]
            if not isinstance(clause.operand, tree.Word) or not values:
                self.wrong("a loop needs a variable and its values", clause, "repeat for r in 10%, 50%, 90% { … }")
            variable = getattr(clause.operand, "text", "")
            return Repeat(None, variable, tuple(value_of(value) for value in values), body, span=span)
        counts = [item for item in out.loose if isinstance(item, tree.Number | tree.Bound | tree.Word | tree.Path)]
        if not counts:
            self.wrong("`repeat` needs a number, or `for … in …`", first, "repeat 8 { … }")
            return Repeat(1, body=body, span=span)
        out.loose.remove(counts[0])
        return Repeat(self.phases.whole(counts[0], "a number of rounds"), body=body, span=span)


def _as_atom(span: Span | None, name: str) -> tree.Text:
    return tree.Text(name, cast(Span, span))
