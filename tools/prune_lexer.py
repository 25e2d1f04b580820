"""Specs in the documents → highlighted, by the grammar itself; a hook of mkdocs, see mkdocs.yml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pygments import lexers
from pygments.lexer import Lexer
from pygments.token import Comment, Keyword, Name, Number, String, Text, _TokenType

from fxprune.view.summary import tokens

LOOKS = {
    "clause": Keyword.Type,
    "comment": Comment,
    "measure": Name.Function,
    "number": Number,
    "string": String,
    "word": Keyword,
}


class PruneLexer(Lexer):
    """Finds the words of a spec; what is no spec stays plain."""

    name = "prune"
    aliases = ("prune",)

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Every piece of the text, with its place and what it is."""
        at = 0
        for start, end, look in tokens(text):
            yield at, Text, text[at:start]
            yield start, LOOKS.get(look, Text), text[start:end]
            at = end
        yield at, Text, text[at:]


def on_config(config: Any) -> Any:
    """Tell pygments of it."""
    lexers.LEXERS["PruneLexer"] = (__name__, PruneLexer.name, PruneLexer.aliases, ("*.prune",), ())
    lexers._lexer_cache[PruneLexer.name] = PruneLexer
    return config
