"""A `Spec` -> its text in the one canonical layout, comments kept where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fxprune.lang import tree
from fxprune.lang.ast import Spec
from fxprune.lang.scan import Comment, scan
from fxprune.lang.values import quoted, tidy
from fxprune.lang.words import STATEMENTS
from fxprune.lang.write import write
from fxprune.source import Source, Span

__all__ = ["format_spec"]

WIDTH = 100  # characters of a line; longer ones go on after a comma
INDENT = "    "


def format_spec(spec: Spec) -> str:
    """The canonical text of a spec; `parse` gives the same spec for it, and formatting it again changes nothing.

    Words, values and clauses stay in the order they are written in. Blocks of options stand on one line where they
    fit, all others on several; one blank line at most is kept between lines.

    Raises:
        ValueError: for a spec made by hand with a fraction that no decimal number writes.
    """
    if spec.lines:
        return _Layout(spec.source).run(spec.lines)
    from fxprune.lang.parser import parse_lines

    source = Source(write(spec.statements))
    return _Layout(source).run(parse_lines(source)[0])


class _Layout:
    """Prints the lines of one source."""

    def __init__(self, source: Source) -> None:
        self.text = source.text
        self.comments = list(scan(source.text).comments)
        self.out: list[str] = []
        self.last = 0  # offset up to which the source is printed

    def run(self, lines: Sequence[tree.Line]) -> str:
        self.lines(lines, "", len(self.text), None)
        return "\n".join(self.out) + "\n"

    def lines(self, lines: Sequence[tree.Line], indent: str, end: int, kind: str | None) -> None:
        """Lines of one block that ends at offset `end`."""
        if kind == "options":
            lines = [entry for line in lines for entry in _entries(line)]
        for number, line in enumerate(lines):
            following = lines[number + 1].span.start if number + 1 < len(lines) else end
            self.own(line.span.start, indent)
            self.line(line, indent, following, kind)
        self.own(end, indent)

    def own(self, before: int, indent: str) -> None:
        """Comments before an offset, each on its own line, and the blank line before what follows."""
        while self.comments and self.comments[0].start < before:
            comment = self.comments.pop(0)
            self.blank(comment.start)
            self.out.append(indent + _comment(comment))
            self.last = comment.start + len(comment.text)
        self.blank(before)

    def blank(self, at: int) -> None:
        """One blank line if the source has any between what is printed and `at`; none at the start of a block."""
        gap = self.text[self.last : at]
        opened = not self.out or self.out[-1].rstrip().endswith("{") or "}" in gap
        if gap.count("\n") > 1 and not opened and self.out[-1] and at < len(self.text):
            self.out.append("")

    def line(self, line: tree.Line, indent: str, following: int, kind: str | None) -> None:
        """One line, its block and the comment behind it."""
        head = tree_end(line)
        inner = [c for c in self.comments if c.start < head]
        for comment in inner:  # a comment inside a statement that goes over several lines stands before it
            self.comments.remove(comment)
            self.out.append(indent + _comment(comment))
        text = indent + _parts(line.parts)
        self.last = head
        if line.block is None:
            self.add(text, indent, following, line.span.end)
            return
        block = line.block
        kind = _kind(line) or kind
        inside = any(c.start < block.span.end for c in self.comments)
        flat = f"{text} {{ {', '.join(_parts(entry.parts) for entry in block.lines)} }}"
        simple = kind == "options" and block.lines and not any(entry.block for entry in block.lines)
        if not block.lines and not inside:
            self.add(f"{text} {{}}", indent, following, block.span.end)
        elif simple and not inside and len(flat) <= WIDTH:
            self.add(flat, indent, following, block.span.end)
        else:
            first = block.lines[0].span.start if block.lines else block.span.end
            self.add(text + " {", indent, first, block.span.start + 1)
            self.lines(block.lines, indent + INDENT, block.span.end - 1, kind)
            while self.out and not self.out[-1]:
                self.out.pop()
            self.add(indent + "}", indent, following, block.span.end)

    def add(self, text: str, indent: str, following: int, end: int) -> None:
        """A printed line with the comment that stands behind it in the source."""
        self.last = end
        comment = self.comments[0] if self.comments else None
        behind = ""
        if comment is not None and comment.start < following and "\n" not in self.text[end : comment.start]:
            self.comments.pop(0)
            behind = "  " + _comment(comment)
            self.last = comment.start + len(comment.text)
        wrapped = list(_wrap(text, indent))
        self.out += wrapped[:-1]
        self.out.append(wrapped[-1] + behind)


def tree_end(line: tree.Line) -> int:
    """The offset where a line ends, its block left out."""
    return line.parts[-1][-1].span.end


def _entries(line: tree.Line) -> Iterator[tree.Line]:
    """The options of one line, each as a line: a comma before a word begins the next."""
    parts: list[tuple[tree.Item, ...]] = []
    for number, part in enumerate(line.parts):
        parts.append(part)
        following = line.parts[number + 1 : number + 2]
        if not following or isinstance(following[0][0], tree.Word | tree.Until):
            block = line.block if not following else None
            end = block.span.end if block else parts[-1][-1].span.end
            yield tree.Line(tuple(parts), block, Span(line.span.source, parts[0][0].span.start, end))
            parts = []


def _kind(line: tree.Line) -> str | None:
    """What the block of a statement holds; that of a `while` belongs to the phase behind it."""
    first = line.parts[0][0]
    word = STATEMENTS.get(first.text) if isinstance(first, tree.Word) else None
    return word.block if word else None


def _comment(comment: Comment) -> str:
    body = comment.text[1:]
    return comment.text if not body or body[0] in " !#" else f"# {body}"


def _wrap(text: str, indent: str) -> Iterator[str]:
    """Break a long line after commas; what goes on is indented twice."""
    while len(text) > WIDTH:
        at = _comma(text)
        if at < 0:
            break
        yield text[: at + 1]
        text = indent + INDENT * 2 + text[at + 2 :]
    yield text


def _comma(text: str) -> int:
    """The last comma within the width that is not in quotes; the first one after it if there is none."""
    places, quote = [], ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "," and at + 2 < len(text):
            places.append(at)
    fitting = [at for at in places if at < WIDTH]
    return fitting[-1] if fitting else places[0] if places else -1


def _parts(parts: Sequence[tuple[tree.Item, ...]]) -> str:
    return ", ".join(" ".join(_item(item) for item in part) for part in parts)


def _item(item: tree.Item) -> str:
    match item:
        case tree.Clause(word=word, operand=operand):
            return f"{word} {_item(operand)}"
        case tree.Until(metric=metric, comparison=comparison, limit=limit):
            words = [word.text for word in metric]
            sign = {"≤": "<=", "≥": ">="}.get(comparison, comparison)
            return " ".join(["until", *words, *([sign] if sign else []), _item(limit)])
        case tree.Multiple(value=value):
            return f"multiple of {_item(value)}"
        case tree.Let(name=name, value=value):
            return f"let {name.text} = {_value(value)}"
        case tree.Marker(word=word):
            return word
        case tree.Call(callee=callee, arguments=arguments):
            inside = ", ".join(f"{a.name}={_value(a.value)}" if a.name else _value(a.value) for a in arguments)
            return f"{_item(callee)}({inside})"
        case tree.Duration(count=count, unit=unit):
            return f"{_item(count)} {unit}"
        case _:
            return _value(item)


def _value(value: tree.Value) -> str:
    match value:
        case tree.Text(text=text):
            return quoted(text)
        case tree.Number(text=text) | tree.Percent(text=text):
            return tidy(text)
        case tree.Times(text=text):
            return tidy(text[:-1]) + "x"
        case tree.Size(sides=sides):
            return "x".join(map(str, sides))
        case tree.Ratio(left=left, right=right):
            return f"{left}:{right}"
        case tree.ListOf(values=values):
            return f"[{', '.join(_value(inner) for inner in values)}]"
        case tree.Word(text=text) | tree.Path(text=text) | tree.Bound(name=text):
            return text
