"""A spec's text -> its comments and brackets, found without the grammar: also where it does not parse."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DEEPEST", "Comment", "Scan", "scan"]

DEEPEST = 20  # levels of brackets; far more than any spec needs, far fewer than recursion can bear
PAIRS = {"(": ")", "[": "]", "{": "}"}
TOKEN = re.compile(r'"[^"\n]*"?|\'[^\'\n]*\'?|#[^\n]*|[(){}]|\[[\w!-]*\](?=[\w.*?])|[\[\]]|\n')


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, its `#` included."""

    text: str
    start: int  # offset of the `#`
    alone: bool  # nothing else on its line before it


@dataclass(frozen=True, slots=True)
class Scan:
    """What a text holds, whether it parses or not."""

    comments: tuple[Comment, ...]
    closes: dict[int, int]  # offset of each opening bracket -> offset of the bracket that closes it
    unclosed: tuple[int, ...]  # opening brackets without a closing one
    stray: tuple[int, ...]  # closing brackets without an opening one
    open_quotes: tuple[int, ...]  # quotes without another on their line
    too_deep: int | None  # where brackets first go deeper than DEEPEST


def scan(text: str) -> Scan:
    """Find comments and match brackets; a bracket closes the nearest one of its own kind that is open."""
    comments: list[Comment] = []
    closes: dict[int, int] = {}
    unclosed: list[int] = []
    stray: list[int] = []
    open_at: list[int] = []
    open_quotes: list[int] = []
    too_deep = None
    for match in TOKEN.finditer(text):
        token, at = match.group(), match.start()
        if token.startswith("#"):
            line_start = text.rfind("\n", 0, at) + 1
            comments.append(Comment(token.rstrip(), at, not text[line_start:at].strip()))
        elif token[0] in "\"'" and (len(token) == 1 or token[-1] != token[0]):
            open_quotes.append(at)
        elif token in PAIRS:
            open_at.append(at)
            if len(open_at) > DEEPEST and too_deep is None:
                too_deep = at
        elif token in PAIRS.values():
            if not any(PAIRS[text[start]] == token for start in open_at):
                stray.append(at)
                continue
            while PAIRS[text[open_at[-1]]] != token:
                unclosed.append(open_at.pop())
            closes[open_at.pop()] = at
    unclosed.extend(open_at)
    return Scan(tuple(comments), closes, tuple(sorted(unclosed)), tuple(stray), tuple(open_quotes), too_deep)
