"""The comment beside a field of a class → its description in the reference; for mkdocstrings, see mkdocs.yml."""

from __future__ import annotations

import re
from typing import Any

import griffe

__all__ = ["FieldComments"]

COMMENT = re.compile(r"  # (?P<told>.+)$")


class FieldComments(griffe.Extension):
    """`width: int  # channels` is documented as "Channels."; a field without a comment by its type alone."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """A field that has no description gets one, since what has none is left out."""
        if attr.docstring is not None or attr.parent is None or "dataclass" not in attr.parent.labels:
            return
        found = COMMENT.search(attr.source.splitlines()[-1]) if attr.source else None
        told = found["told"][0].upper() + found["told"][1:] + "." if found else "&nbsp;"
        attr.docstring = griffe.Docstring(told, lineno=attr.lineno, parent=attr)
