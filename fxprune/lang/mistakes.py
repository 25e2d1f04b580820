"""Text that does not parse -> what was probably meant, from a table of examples; else what was found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fxprune.errors import Diagnostic
from fxprune.lang.foreseen import FORESEEN, Foreseen
from fxprune.lang.scan import scan
from fxprune.source import Source, Span

__all__ = ["explain"]


ENDS = {"$END": "the end of the text", "_NEWLINE": "the end of the line", "SEMICOLON": "`;`", "RBRACE": "`}`"}


def explain(error: UnexpectedInput, text: str, lark: Lark, source: Source) -> Diagnostic:
    """What is wrong where parsing stopped.

    Args:
        error: how the parser stopped.
        text: what was parsed: the source, with lines that were reported before made blank.
        lark: the parser.
        source: the text as written.
    """
    span = _span(error, source)
    foreseen = _foreseen(_alone(_Stumble(error, text), lark), lark)
    if foreseen is not None:
        return Diagnostic(foreseen.message, span, foreseen.hint)
    if isinstance(error, UnexpectedToken) and error.token.type in ENDS:
        past = (error.pos_in_stream or 0) >= len(source.text)
        return Diagnostic(
            f"something is missing before {ENDS['$END' if past else error.token.type]}", span, _wanted(error)
        )
    found = source.text[span.start : span.end]
    if isinstance(error, UnexpectedCharacters):
        return Diagnostic(f"`{found}` has no meaning here", span, 'unusual names are quoted: "a-b"')
    return Diagnostic(f"`{found}` cannot stand here", span, _wanted(error))


def _wanted(error: UnexpectedInput) -> str | None:
    """What could stand there, where that is one thing."""
    expected = set(getattr(error, "expected", ()) or ())
    if {"PREPOSITION", "NAME"} <= expected:
        return None
    if {"PERCENT", "NUMBER"} <= expected:
        return "a value comes here: 50%, 32, 700K"
    if "NAME" in expected:
        return "a name comes here"
    if "RPAR" in expected:
        return "arguments are parted by commas and closed by `)`"
    if "RSQB" in expected:
        return "values are parted by commas and closed by `]`"
    return None


def _span(error: UnexpectedInput, source: Source) -> Span:
    """Where to point: at what was found; where a line ends too early, right behind its last word."""
    text = source.text
    at = len(text) if error.pos_in_stream is None else error.pos_in_stream
    end = at + 1
    if isinstance(error, UnexpectedToken):
        past = error.token.type == "$END" or at >= len(text)  # a brace put there for one that is missing
        if past or error.token.type == "_NEWLINE":
            at = len(text) if past else at
            start = text.rfind("\n", 0, len(text[:at].rstrip())) + 1
            comments = scan(text[start:at]).comments
            at = len(text[: start + comments[0].start if comments else at].rstrip())
            end = at + 1
        elif error.token.type != "_COMMA":
            end = error.token.end_pos or end
    return Span(source, at, min(end, len(text)))


# -- the table, looked up through lark ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stumble:
    """How parsing a text stopped."""

    error: UnexpectedInput
    text: str

    @property
    def at(self) -> int:
        """Where, as an offset; at the end of the text, behind the last character that counts."""
        at = self.error.pos_in_stream
        ended = isinstance(self.error, UnexpectedToken) and self.error.token.type == "$END"
        return len(self.text.rstrip()) if ended or at is None else at

    @property
    def over(self) -> tuple[str, str]:
        """Over what: a kind of token; or a character, and what kind of character comes after it."""
        if isinstance(self.error, UnexpectedToken):
            kind = self.error.token.type
            return "", "end" if kind in ENDS else kind
        after = self.text[self.at + 1 : self.at + 2].strip("\n")
        kind = "0" if after.isdigit() else "a" if after.isalpha() or after == "_" else after
        return self.text[self.at : self.at + 1], kind


def _alone(stumble: _Stumble, lark: Lark) -> _Stumble:
    """The same error with its line alone before the parser.

    lark takes two errors for alike when its stack is equally deep, and that depends on what stands before the line.
    A brace that begins a line is seen together with the line before it.
    """
    text, at = stumble.text, stumble.at
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    before = text[:start].rstrip()
    if not text[start:at].strip() and text[at : at + 1] == "{" and before:
        start = before.rfind("\n") + 1
    line = text[start : len(text) if end < 0 else end]
    try:
        lark.parse(line, start="start")
    except UnexpectedInput as error:
        alone = _Stumble(error, line)
        if alone.over == stumble.over:
            return alone
    return stumble


def _foreseen(stumble: _Stumble, lark: Lark) -> Foreseen | None:
    """The foreseen mistake whose example stumbles over the same thing in the same state of the parser."""
    examples = _examples(lark)
    alike: dict[int, list[str]] = {}
    for text, (number, example) in examples.items():
        if example.over == stumble.over:
            alike.setdefault(number, []).append(text)

    def parse(text: str) -> Tree[Token]:
        raise examples[text][1].error

    found: int | None = stumble.error.match_examples(parse, alike, use_accepts=False)
    return None if found is None else FORESEEN[found]


@cache
def _examples(lark: Lark) -> dict[str, tuple[int, _Stumble]]:
    """Every example, alone and after a correct line, with its place in the table and how it stops."""
    out: dict[str, tuple[int, _Stumble]] = {}
    for number, foreseen in enumerate(FORESEEN):
        for example in foreseen.texts():
            for text in (example, f"cut filters 50% by l1\n{example}"):
                try:
                    lark.parse(text, start="start")
                except UnexpectedInput as error:
                    out[text] = (number, _Stumble(error, text))
    return out
