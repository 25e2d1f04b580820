"""Source text with positions: spans, line and column, carets under what was wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Source", "Span", "render"]


@dataclass(frozen=True, slots=True)
class Source:
    """A text and the name it goes by in messages."""

    text: str
    name: str = "<spec>"

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        before = self.text[:offset]
        line = before.count("\n") + 1
        return line, offset - (before.rfind("\n") + 1) + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line break; empty past the end."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a source: characters `start` up to, not including, `end`."""

    source: Source
    start: int
    end: int


def render(message: str, span: Span | None = None, hint: str | None = None) -> str:
    """A message as a user sees it: `file:line:col: message`, the line, carets, the hint."""
    out = []
    if span is None:
        out.append(message)
    else:
        line, col = span.source.position(span.start)
        text = span.source.line(line)
        shown = text.replace("\t", " ")
        width = max(1, min(span.end - span.start, len(text) - col + 1))
        gutter = f"{line:>5}"
        out.append(f"{span.source.name}:{line}:{col}: {message}")
        out.append(f"{gutter} | {shown}")
        out.append(f"{' ' * len(gutter)} | {' ' * (col - 1)}{'^' * width}")
    if hint:
        out.append(f"  hint: {hint}")
    return "\n".join(out)
