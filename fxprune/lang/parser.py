"""Text or a path -> `Spec`, or one `SpecError` with every mistake in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lark import Lark, UnexpectedInput
from lark.exceptions import UnexpectedEOF

from fxprune.errors import Diagnostic, SpecError
from fxprune.lang import tree
from fxprune.lang.ast import Spec, Statement
from fxprune.lang.checker import check
from fxprune.lang.mistakes import explain
from fxprune.lang.reader import Reader
from fxprune.lang.scan import DEEPEST, scan
from fxprune.lang.variables import lets, resolve, substitute
from fxprune.lang.words import nearest
from fxprune.source import Source, Span

__all__ = ["grammar", "parse", "parse_lines", "read_source"]

LARGEST = 1 << 20  # bytes of a spec
MOST = 20  # syntax errors reported in one go


@cache
def grammar() -> Lark:
    """The parser of the language, built once."""
    text = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", propagate_positions=True, start=["start", "value"])


def parse(spec: str | Path, name: str | None = None, *, variables: Mapping[str, str] | None = None) -> Spec:
    """Parse and check a spec.

    Args:
        spec: its text, or where it stands: a `Path`, a name that ends in `.prune`, or the name of a file that exists.
        name: what messages call it; its path if not given.
        variables: values that take the place of what `let` gives, as text: `{"r": "70%"}`.

    Raises:
        SpecError: for a file that cannot be read or is not text, and with all mistakes in the spec at once.
    """
    path = _as_path(spec)
    source = read_source(path, name) if path else Source(_clean(str(spec)), name or "<spec>")
    load = _Load(dict(variables or {}))
    statements = load.file(source, path.parent if path else Path(), ())
    load.unknown()
    if load.found:
        raise SpecError(load.found)
    return Spec(statements, source, load.lines, tuple(sorted(load.given.items())))


def _as_path(spec: str | Path) -> Path | None:
    if isinstance(spec, Path):
        return spec
    if "\n" in spec or "\0" in spec or len(spec) > 1000:
        return None
    path = Path(spec)
    named = spec.endswith(".prune") and not spec.startswith("use ")
    return path if named or path.is_file() else None


def _clean(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_source(path: Path, name: str | None = None) -> Source:
    """The text of a file.

    Raises:
        SpecError: when it cannot be read, is a folder, or is not UTF-8 text.
    """
    shown = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise SpecError(f"{shown} is a folder, not a spec", hint="name the .prune file in it") from None
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.glob("*.prune")) if path.parent.is_dir() else []
        meant = nearest(path.name, beside)
        hint = f"did you mean {path.with_name(meant)}?" if meant else None
        raise SpecError(f"there is no file {shown}", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{shown} cannot be read: {reason}") from None
    if len(data) > LARGEST:
        raise SpecError(f"{shown} is too large to be a spec", hint="a spec is a few lines of text")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError(f"{shown} is not a text file", hint="a spec is plain UTF-8 text") from None
    if "\0" in text:
        raise SpecError(f"{shown} is not a text file", hint="a spec is plain UTF-8 text")
    return Source(_clean(text), shown)


class _Load:
    """Reads a file and those it uses, and gathers their mistakes."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given
        self.found: list[Diagnostic] = []
        self.values: dict[str, tree.Value | None] = {}
        self.defined: set[str] = set()
        self.lines: tuple[tree.Line, ...] = ()  # of the outermost file

    def file(self, source: Source, folder: Path, outer: tuple[Path, ...]) -> tuple[Statement, ...]:
        """The statements of one file."""
        lines, mistakes = parse_lines(source)
        self.found += mistakes
        if not lines and not mistakes:
            self.found.append(
                Diagnostic(
                    f"{source.name} is empty: nothing to do", hint="the smallest spec is one line: cut filters 50%"
                )
            )
        self.lines = lines
        self.define(lines)
        before = len(self.found)
        reader = Reader(self.found.append, lambda item: self.used(item, folder, outer))
        statements: tuple[Statement, ...] = ()
        for line in lines:  # one by one: a used file may define what the next line needs
            statements += reader.statements(substitute((line,), self.values))
        self.lines = lines
        whole = not mistakes and len(self.found) == before and not outer
        self.found += check(statements, whole=whole)
        return statements

    def define(self, lines: tuple[tree.Line, ...]) -> None:
        """Take in the variables of a file; those given from outside win."""
        for let in lets(lines):
            name = let.name.text
            self.defined.add(name)
            given = self.outside(name, self.given[name]) if name in self.given else None
            # one that is no value is told of; the file's own then stands in, so that nothing else seems wrong
            self.values[name] = given or resolve(let.value, self.values)

    def outside(self, name: str, text: str) -> tree.Value | None:
        """A value given from outside, as `--set` does."""
        source = Source(text, f"--set {name}")
        try:
            parsed = grammar().parse(text, start="value")
        except UnexpectedInput:
            self.found.append(
                Diagnostic(
                    f"`{text}` is not a value" if text else f"no value is given for {name}",
                    Span(source, 0, len(text)),
                    "70%, 32, 700K",
                )
            )
            return None
        return tree.single_value(source, parsed)

    def unknown(self) -> None:
        """Report values given from outside for variables that no file defines."""
        for name in sorted(set(self.given) - self.defined):
            meant = nearest(name, self.defined)
            there = f"there are {', '.join(sorted(self.defined))}" if self.defined else f"define it: let {name} = …"
            source = Source(f"{name}={self.given[name]}", "--set")
            hint = f"did you mean `{meant}`?" if meant else there
            self.found.append(Diagnostic(f"no variable is called `{name}`", Span(source, 0, len(name)), hint))

    def used(self, item: tree.Text, folder: Path, outer: tuple[Path, ...]) -> tuple[Statement, ...]:
        """The statements of a file that a `use` names."""
        path = folder / item.text
        if path.resolve() in outer or len(outer) >= DEEPEST:
            self.found.append(Diagnostic(f'"{item.text}" uses itself', item.span, "remove this `use`"))
            return ()
        try:
            source = read_source(path)
        except SpecError as error:
            found = error.diagnostics[0]
            self.found.append(Diagnostic(found.message, item.span, found.hint))
            return ()
        return self.file(source, path.parent, (*outer, path.resolve()))


def parse_lines(source: Source) -> tuple[tuple[tree.Line, ...], list[Diagnostic]]:
    """The lines of a source as written, those that do not parse left out, and why they do not."""
    text, found = _balanced(source)
    for _ in range(MOST):
        try:
            parsed = grammar().parse(text, start="start")
        except UnexpectedInput as error:
            found.append(explain(error, text, grammar(), source))
            at = len(text) if isinstance(error, UnexpectedEOF) or error.pos_in_stream is None else error.pos_in_stream
            shorter = _without(text, at)
            if shorter == text:
                break
            text = shorter
        else:
            return tree.lines_of(source, parsed), found
    return (), found


def _balanced(source: Source) -> tuple[str, list[Diagnostic]]:
    """The text with its brackets made to match, offsets unchanged, and what was wrong with them."""
    text = source.text
    seen = scan(text)
    found: list[Diagnostic] = []
    if seen.too_deep is not None:
        span = Span(source, seen.too_deep, seen.too_deep + 1)
        return "", [Diagnostic(f"brackets go deeper than {DEEPEST} levels here", span, "no spec needs that")]
    for at in seen.open_quotes:
        quote = text[at]
        found.append(Diagnostic("this text is not closed", Span(source, at, at + 1), f"put `{quote}` at its end"))
        text = _without(text, at)
    seen = scan(text)
    for at in seen.stray:
        found.append(Diagnostic(f"this `{text[at]}` closes nothing", Span(source, at, at + 1), "remove it"))
        text = f"{text[:at]} {text[at + 1 :]}"
    for at in seen.unclosed:
        bracket = source.text[at]
        found.append(Diagnostic(f"this `{bracket}` is never closed", Span(source, at, at + 1), _closing(bracket)))
        if text[at] == "{":
            text += "\n}"
        else:
            text = _without(text, at)
    return text, found


def _closing(bracket: str) -> str:
    closing = {"(": ")", "[": "]", "{": "}"}[bracket]
    return f"put `{closing}` where it ends"


def _without(text: str, at: int) -> str:
    """The text with the line around an offset blanked, and the block that it opens; offsets stay as they are."""
    if at >= len(text):
        at = len(text.rstrip())
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    seen = scan(text)
    keep: set[int] = set()
    for opening, closing in seen.closes.items():
        if start <= opening < end:
            end = max(end, closing + 1)
        elif opening < start and start <= closing < end:
            keep.add(closing)  # it closes a block that began before
    blank = "".join(c if c == "\n" or i in keep else " " for i, c in enumerate(text[start:end], start))
    return text[:start] + blank + text[end:]
