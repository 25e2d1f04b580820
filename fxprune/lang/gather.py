"""The items of one line -> slots: what it selects, how much, by what. Items without a place are reported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from fxprune.errors import Diagnostic
from fxprune.lang import tree
from fxprune.lang.ast import Selection, Term
from fxprune.lang.words import ALIASES, CLAUSES, GRANULARITIES, ROLES, nearest
from fxprune.source import Span

__all__ = ["Gathered", "Report", "gather", "shown", "stray"]

Report = Callable[[Diagnostic], None]

AMOUNTS = (tree.Percent, tree.Ratio)
SELECTORS = (tree.Word, tree.Path, tree.Text)


@dataclass(slots=True)
class Gathered:
    """The items of a line, sorted. Filled by `gather`, read once by the reader."""

    head: str  # how messages call what is being read: "cut", "a choice"
    clauses: dict[str, tree.Clause | tree.Until | tree.Multiple | tree.Marker] = field(default_factory=dict)
    granularity: tree.Word | None = None
    amount: tree.Item | None = None
    terms: list[Term] = field(default_factory=list)
    excluded: list[Term] = field(default_factory=list)
    loose: list[tree.Item] = field(default_factory=list)  # what the statement itself must find a place for
    meanwhile: list[tuple[tree.Item, ...]] = field(default_factory=list)  # the parts after `while`
    while_at: Span | None = None

    def selection(self) -> Selection | None:
        """What is selected; None when nothing is said about it."""
        if not self.terms and not self.excluded:
            return None
        spans = [term.span for term in (*self.terms, *self.excluded) if term.span]
        span = Span(spans[0].source, min(s.start for s in spans), max(s.end for s in spans)) if spans else None
        return Selection(tuple(self.terms), tuple(self.excluded), span=span)


def shown(node: tree.Item) -> str:
    """An item as it stands in the source."""
    return node.span.source.text[node.span.start : node.span.end]


def gather(head: str, parts: Sequence[tuple[tree.Item, ...]], takes: Collection[str], report: Report) -> Gathered:
    """Sort the items of a line into slots; `takes` names those there are."""
    return _Gatherer(Gathered(head), takes, report).run(parts)


class _Gatherer:
    def __init__(self, out: Gathered, takes: Collection[str], report: Report) -> None:
        self.out = out
        self.takes = takes
        self.report = report
        self.selecting = "selection" in takes  # whether a plain word is a layer here
        self.target = out.terms
        self.before: tree.Item | None = None  # the selector just before, in the same part

    def run(self, parts: Sequence[tuple[tree.Item, ...]]) -> Gathered:
        for number, part in enumerate(parts):
            self.before = None
            for at, item in enumerate(part):
                if isinstance(item, tree.Marker) and item.word == "while":
                    if self.refused("while", item):
                        return self.out
                    self.out.while_at = item.span
                    rest = part[at + 1 :]
                    self.out.meanwhile = [*([rest] if rest else []), *parts[number + 1 :]]
                    return self.out
                self.item(item)
        return self.out

    def item(self, item: tree.Item) -> None:
        match item:
            case tree.Marker(word="in" | "except"):
                if not self.refused(item.word, item):
                    self.selecting = True
                    self.target = self.out.terms if item.word == "in" else self.out.excluded
                    self.before = None
                return
            case tree.Clause(word="kind" | "group") if self.selecting or "in" in self.takes:
                self.selector(item)
                return
            case tree.Word(text=text) if text in ROLES and ("role" in self.takes or self.selecting):
                self.selector(item)
                return
            case tree.Word(text=text) if text in GRANULARITIES and "granularity" in self.takes and not self.selecting:
                self.granularity(item)
            case tree.Word() | tree.Path() | tree.Text() if self.selecting:
                self.selector(item)
                return
            case tree.Marker() | tree.Clause() | tree.Until() | tree.Multiple():
                self.clause(item)
            case tree.Number() if self.selecting and not ("amount" in self.takes and self.before is not None):
                self.wrong("a layer whose name is a number is quoted", item, f'write "{shown(item)}"')
                self.target.append(Term("path", shown(item), span=item.span))
                return
            case tree.Percent() | tree.Ratio() if "amount" in self.takes:
                self.amount(item)
            case tree.Number() | tree.Bound() if "amount" in self.takes:
                self.amount(item)
            case tree.Let():
                self.wrong("`let` stands on a line of its own", item, f"let {item.name.text} = …")
            case _:
                self.out.loose.append(item)
        self.selecting = False
        self.before = None

    def wrong(self, message: str, item: tree.Item, hint: str | None = None) -> None:
        self.report(Diagnostic(message, item.span, hint))

    def refused(self, word: str, item: tree.Item) -> bool:
        """Report a clause that this statement does not take."""
        if word in self.takes:
            return False
        known = sorted(w for w in self.takes if w in CLAUSES)
        hint = f"it takes {', '.join(f'`{w}`' for w in known)}" if known else f"write {self.out.head} without it"
        self.wrong(f"`{self.out.head}` takes no `{word}`", item, hint)
        return True

    def clause(self, item: tree.Clause | tree.Until | tree.Multiple | tree.Marker) -> None:
        match item:
            case tree.Until():
                word = "until"
            case tree.Multiple():
                word = "multiple"
            case _:
                word = item.word
        if self.refused(word, item):
            return
        scope = {"globally": "per layer", "per layer": "globally"}.get(word, word)
        for given in (word, scope):
            if given in self.out.clauses:
                both = "is given twice" if given == word else f"and `{given}` exclude each other"
                self.wrong(f"`{word}` {both}", item, "leave one of them out")
                return
        self.out.clauses[word] = item
        if word in ("keep", "until") and "amount" in self.takes:
            self.amount(item)

    def amount(self, item: tree.Item) -> None:
        if isinstance(self.out.amount, tree.Until) and not self.out.amount.metric:
            return  # no budget, which is told when it is read: `until params 700K` lacks its sign
        if self.out.amount is not None:
            first = shown(self.out.amount)
            self.wrong(
                f"two amounts: `{first}` and `{shown(item)}`",
                item,
                "one statement takes one amount; give others on lines of their own, each with its `in` layers",
            )
        self.out.amount = item

    def granularity(self, item: tree.Word) -> None:
        if self.out.granularity is not None:
            self.wrong(
                f"`{self.out.granularity.text}` and `{item.text}` at once", item, "write two statements, one for each"
            )
        self.out.granularity = item

    def selector(self, item: tree.Item) -> None:
        if self.before is not None:
            self.unseparated(self.before, item)
        self.before = item
        term = self.term(item)
        if term is not None:
            self.target.append(term)

    def unseparated(self, left: tree.Item, right: tree.Item) -> None:
        for item in (left, right):
            meant = nearest(item.text, CLAUSES, cutoff=0.75) if isinstance(item, tree.Word) else None
            if meant is not None and item.text not in ROLES:  # type: ignore[union-attr]
                self.wrong(f"`{shown(item)}` is not a word of this language", item, f"did you mean `{meant}`?")
                return
        if isinstance(left, tree.Word) and left.text in ("and", "or"):
            return
        joined = isinstance(right, tree.Word) and right.text in ("and", "or")
        self.wrong(
            f"a comma is missing {'instead of' if joined else 'before'} `{shown(right)}`",
            right,
            f"write `{shown(left)}, …`" if joined else f"write `{shown(left)}, {shown(right)}`",
        )

    def term(self, item: tree.Item) -> Term | None:
        match item:
            case tree.Clause(word="kind" | "group" as what, operand=operand):
                if isinstance(operand, SELECTORS):
                    return Term(what, operand.text, span=item.span)
                self.wrong(f"`{shown(operand)}` is not a name", operand, "kind Conv2d, group stage1")
                return None
            case tree.Word(text=text) if text in ROLES:
                return Term("role", text, span=item.span)
            case tree.Path(text=text) if text[0].isdigit() and "." not in text and "*" not in text:
                self.wrong(f"`{text}` is not a layer", item, f'if it is one, write it in quotes: "{text}"')
                return None
            case tree.Word(text=text) | tree.Path(text=text) | tree.Text(text=text):
                return Term("path", text, span=item.span)
        return None


def stray(out: Gathered, takes: Collection[str], report: Report) -> None:
    """Report the loose items that are left: each with what was probably meant."""
    for item in out.loose:
        text = shown(item)
        hint: str | None = None
        message = f"`{text}` does not belong in `{out.head}`"
        match item:
            case tree.Word(text=word):
                known = {*CLAUSES, *GRANULARITIES, *ROLES, *ALIASES.values()} & {*takes, *GRANULARITIES, *ROLES}
                meant = nearest(word, known, cutoff=0.75)
                if meant is not None and meant != word:
                    message = f"`{word}` is not a word of `{out.head}`"
                    hint = f"did you mean `{meant}`?"
                elif "in" in takes and "amount" in takes and out.amount is None:
                    hint = f"layers follow `in`: `in {word}`; a variable needs a value: `let {word} = 50%`"
                elif "in" in takes:
                    hint = f"layers follow `in`: `in {word}`"
            case tree.Path() | tree.Text() if "in" in takes:
                hint = f"layers follow `in`: `in {text}`"
            case tree.Call(callee=callee) if "by" in takes:
                called = shown(callee)
                hint = (
                    "write it without brackets" if called in GRANULARITIES else f"a measure follows `by`: `by {text}`"
                )
            case tree.Duration() if "for" not in takes:
                hint = f"`{out.head}` takes no time: it happens at once"
            case tree.Number() if "steps" in takes:
                hint = f"a time needs its unit: `{text} steps`, `{text} epochs`"
            case tree.Size() if "at" in takes:
                hint = f"the size of the output follows `at`: `at {text}`"
            case _:
                hint = None
        report(Diagnostic(message, item.span, hint))
