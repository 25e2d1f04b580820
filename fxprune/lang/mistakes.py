"""Text that does not parse -> what was probably meant, from a table of examples; else what was found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fxprune.errors import Diagnostic
from fxprune.source import Source, Span

__all__ = ["FORESEEN", "Foreseen", "explain"]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A mistake people make."""

    message: str
    hint: str
    examples: tuple[str, ...]  # texts that stumble where the mistake is; also tried after a correct line


FORESEEN = (
    Foreseen(
        "a value follows its word after a space, without `=` or `:`",
        "cut filters 50%",
        (
            "cut = 50%",
            "cut filters = 50%",
            "cut filters 50% = 3",
            "cut: 50%",
            "cut filters: 50%",
            "cut 50% by = l1",
            "mark == 3",
        ),
    ),
    Foreseen(
        "a value is given to an argument with `=`",
        "random(seed=1)",
        (
            "cut 50% by random(seed:1)",
            "model edsr(blocks 16)",
            "model edsr(blocks 16, scale=2)",
            "model edsr(a=1, blocks: 16)",
        ),
    ),
    Foreseen(
        "this is JSON; a spec is lines of words",
        "cut filters 50% by l1",
        ('{"cut": 0.5}', "{", "[", '["cut"]', '"cut": 0.5'),
    ),
    Foreseen(
        "a reference to code is quoted",
        'model "net.py:build", model "zoo:edsr"',
        (
            "model zoo:edsr",
            "model net.py:build",
            "model pkg.mod:build",
            "model dir/net.py",
            "model ../net.py",
            "model ./net.py",
        ),
    ),
    Foreseen(
        "a file name is quoted",
        'from "weights/edsr.safetensors"',
        (
            "model edsr from ./w.pth",
            "model edsr from /w.pth",
            "use ./common.prune",
            "use /common.prune",
            "model edsr from a/b",
        ),
    ),
    Foreseen(
        "a comment begins with `#`",
        "# like this",
        (
            "// a comment",
            "/* a comment */",
            "-- a comment",
            "cut // a",
            "cut 50% // a",
            "cut 50% /* a */",
            "cut 50% -- a",
        ),
    ),
    Foreseen(
        "this text is not closed",
        'put `"` at its end',
        (
            '"',
            'cut "',
            'model edsr from "w.pth',
            'cut 50% in "body',
            "model 'edsr",
            "'",
            "model edsr from 'a",
            'model "a:b',
        ),
    ),
    Foreseen(
        "these are not the quotes of this language",
        "write \" or '",
        (
            "model “edsr”",
            "use “a”",
            "save as “a”",
            "model edsr from “w.pth”",
            "model ‘edsr’",
            "protect `tail`",
            "model edsr from ‘a’",
        ),
    ),
    Foreseen(
        "a number has a digit before its point",
        "0.5",
        ("cut .5", "cut filters .5", "cut 50% by lamp(p=.5)", "let r = .5", "cut keep .5", "train until params <= .5"),
    ),
    Foreseen(
        "the percent sign stands behind the number",
        "50%",
        ("cut %50", "cut filters %50", "cut keep %50", "let r = %50", "%"),
    ),
    Foreseen(
        "a variable is written without `$`",
        "cut filters r, after `let r = 50%`",
        (
            "cut $r",
            "cut filters $r",
            "cut keep $r",
            "let r = $x",
            "let $r = 50%",
            "$r = 50%",
            "cut ${r}",
            "cut filters ${r}",
        ),
    ),
    Foreseen(
        "`let` needs a name, `=` and a value",
        "let r = 50%",
        ("let", "let r", "let r 50%", "let r =", "let = 50%", "let r: 50%", "let r := 50%"),
    ),
    Foreseen(
        "`by` needs a criterion",
        "by l1, by random(seed=1)",
        ("cut 50% by", "cut by, globally", "cut by {", "cut by }", "cut by by", "mark 50% { free by }", "cut by ;"),
    ),
    Foreseen(
        "`until` needs a metric, `<=` and a limit",
        "until params <= 700K, until macs <= 40.6G at 1280x720",
        (
            "cut until",
            "cut until params",
            "cut until params 700K",
            "cut until params <=",
            "cut until params, by l1",
            "cut until params by l1",
            "cut until <= 700K",
            "cut until params at 1x2",
            "cut until params : 700K",
        ),
    ),
    Foreseen(
        "a limit follows `until`",
        "until params <= 700K",
        (
            "cut params <= 700K",
            "cut filters params <= 700K",
            "cut params < 700K",
            "cut 50% >= 3",
            "cut filters <= 700K",
        ),
    ),
    Foreseen(
        "`multiple` needs `of` and a number",
        "multiple of 8",
        (
            "multiple",
            "multiple 8",
            "multiple of",
            "cut 50% multiple 8",
            "cut 50%, multiple = 8",
            "cut multiple of, by l1",
        ),
    ),
    Foreseen(
        "`per` needs `layer`",
        "per layer",
        ("cut per", "cut 50% per group", "cut 50% per", "cut per 50%", "cut 50% per, by l1"),
    ),
    Foreseen(
        "there is a comma too many",
        "remove it",
        ("cut ,", "cut 50%,,", ",", "a, , b", "cut by l1, }", "cut,{", "cut,;"),
    ),
    Foreseen(
        "the brace stands on the line of its statement",
        "mark filters 50% {",
        ("mark 50%\n{", "repeat 8\n{ cut 50% }"),
    ),
    Foreseen(
        "a statement follows `}` on a line of its own",
        "begin a new line",
        (
            "mark 50% { free by l1 } cut",
            "mark 50% { a by l1 } 50%",
            "mark 50% { a by l1 } by l1",
            "mark 50% { a by l1 }, by l1",
        ),
    ),
)

BEFORE = ("", "cut filters 50% by l1\n", "repeat 2 {\n  cut filters 50%\n")  # lark compares the depth of its stack

FOUND = {  # what a token is called when nothing better is known
    "$END": "the end of the text",
    "_NEWLINE": "the end of the line",
    "_COMMA": "a comma",
}


def explain(error: UnexpectedInput, lark: Lark, source: Source) -> Diagnostic:
    """What is wrong where parsing stopped."""
    span = _span(error, source)
    foreseen = _foreseen(error, lark)
    if foreseen is not None:
        return Diagnostic(foreseen.message, span, foreseen.hint)
    if isinstance(error, UnexpectedToken) and error.token.type in FOUND:
        found = FOUND[error.token.type]
        return Diagnostic(f"something is missing before {found}", span, _wanted(error))
    text = source.text[span.start : span.end]
    if isinstance(error, UnexpectedCharacters):
        return Diagnostic(
            f"`{text}` has no meaning here", span, 'names of files and of unusual layers are quoted: "a/b"'
        )
    return Diagnostic(f"`{text}` cannot stand here", span, _wanted(error))


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
        return "the arguments are closed by `)`"
    if "RSQB" in expected:
        return "the list is closed by `]`"
    return None


def _span(error: UnexpectedInput, source: Source) -> Span:
    at = error.pos_in_stream if error.pos_in_stream is not None else len(source.text)
    end = at + 1
    if isinstance(error, UnexpectedToken):
        end = error.token.end_pos or end
        if error.token.type == "$END":
            at = len(source.text.rstrip())
            end = at + 1
        elif error.token.type == "_COMMA":
            end = at + 1
    return Span(source, at, min(end, len(source.text)))


def _foreseen(error: UnexpectedInput, lark: Lark) -> Foreseen | None:
    """The foreseen mistake whose example stumbles over the same thing in the same state of the parser."""
    alike: dict[int, list[str]] = {}
    stumbles = _stumbles(lark)
    for text, (number, stumble) in stumbles.items():
        if _stone(stumble) == _stone(error):
            alike.setdefault(number, []).append(text)

    def parse(text: str) -> Tree[Token]:
        raise stumbles[text][1]

    found: int | None = error.match_examples(parse, alike, use_accepts=False)
    return None if found is None else FORESEEN[found]


def _stone(error: UnexpectedInput) -> tuple[str, str]:
    """What a parser stumbled over: a character, or a kind of token."""
    if isinstance(error, UnexpectedToken):
        return "token", error.token.type
    return "character", getattr(error, "char", "")


@cache
def _stumbles(lark: Lark) -> dict[str, tuple[int, UnexpectedInput]]:
    """Every example, alone and after a correct line, with the error it gives."""
    out: dict[str, tuple[int, UnexpectedInput]] = {}
    for number, foreseen in enumerate(FORESEEN):
        for example in foreseen.examples:
            for before in BEFORE:
                try:
                    lark.parse(before + example, start="start")
                except UnexpectedInput as error:
                    out[before + example] = (number, error)
    return out
