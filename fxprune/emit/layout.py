"""The tree of containers in, the lines of the constructor out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby

from fxprune.emit.program import Path
from fxprune.emit.tree import Branch, Leaf

__all__ = ["SCOPE", "Call", "constructor_lines", "needs_scope"]

WIDTH = 100
COLUMNS = 3  # numbers that may differ among the members of one comprehension
INTEGER = re.compile(r"(?<![\w.\"])(?<!e-)\d+(?![\w.\"])")

SCOPE = '''class Scope(nn.Module):
    """A group of layers, parameters and buffers; `scope[3]` is the member called "3"."""

    def __init__(self, /, **members):
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)

    def __getitem__(self, name):
        return getattr(self, str(name))'''


@dataclass(frozen=True, slots=True)
class Call:
    """A call, or any other bracketed list."""

    head: str  # "nn.Sequential("
    items: tuple[Call | str, ...]
    tail: str = ")"
    name: str = ""  # "conv1=", where it is an argument
    loop: str = ""  # "for n in (30, 28)", where the one item is written once for many

    def flat(self) -> str:
        loop = f" {self.loop}" if self.loop else ""
        return self.name + self.head + ", ".join(flat(item) for item in self.items) + loop + self.tail


def flat(item: Call | str) -> str:
    return item if isinstance(item, str) else item.flat()


def wrapped(item: Call | str, depth: int, before: int = 0) -> str:
    """An expression that starts `before` characters into a line at `depth`, broken where it is too long."""
    line = flat(item)
    if isinstance(item, str) or depth * 4 + before + len(line) + 1 <= WIDTH or not item.items:
        return line
    pad, comma = "    " * (depth + 1), "" if item.loop else ","
    inner = [pad + wrapped(part, depth + 1) + comma for part in item.items]
    loop = [pad + item.loop] if item.loop else []
    return "\n".join([item.name + item.head, *inner, *loop, "    " * depth + item.tail])


def expression(member: Branch | Leaf, path: Path, called: Set[Path], name: str = "") -> Call | str:
    """The expression that builds a member."""
    if isinstance(member, Leaf):
        return name + member.text
    items = [(key, expression(child, (*path, key), called)) for key, child in member.ordered()]
    if not member.is_list:
        return scope(member, path, called, name)
    parts = tuple(rolled([item for _, item in items]))
    if path in called:
        return Call("nn.Sequential(", tuple(starred(part) for part in parts), ")", name)
    if len(parts) == 1 and isinstance(parts[0], Call) and parts[0].head == "[":
        return replace(parts[0], head="nn.ModuleList([", tail="])", name=name)
    return Call("nn.ModuleList([", tuple(starred(part) for part in parts), "])", name)


def scope(member: Branch, path: Path, called: Set[Path], name: str) -> Call:
    """`Scope(conv1=…, conv2=…)`; names that are no identifiers go through a dictionary."""
    plain: list[Call | str] = []
    odd: list[str] = []
    for key, child in member.ordered():
        if key.isidentifier():
            plain.append(expression(child, (*path, key), called, f"{key}="))
        else:
            odd.append(f'"{key}": {flat(expression(child, (*path, key), called))}')
    if odd:
        plain.append(Call("**{", tuple(odd), "}"))
    return Call("Scope(", tuple(plain), ")", name)


def starred(item: Call | str) -> Call | str:
    """A comprehension as several members of a longer list."""
    return replace(item, head="*[") if isinstance(item, Call) and item.head == "[" else item


def rolled(items: Sequence[Call | str]) -> list[Call | str]:
    """Members with neighbours that differ in a few numbers only written as one comprehension."""
    out: list[Call | str] = []
    for _, run in groupby(items, key=lambda item: INTEGER.sub("#", flat(item))):
        members = list(run)
        out.extend(comprehension(members) if len(members) > 2 else members)
    return out


def comprehension(items: Sequence[Call | str]) -> Iterable[Call | str]:
    """`[nn.Conv2d(n, 64, 3) for n in (30, 28, 31)]`, or the items themselves if too many numbers differ."""
    rows = [INTEGER.findall(flat(item)) for item in items]
    columns = list(zip(*rows, strict=True))
    varying = list(dict.fromkeys(column for column in columns if len(set(column)) > 1))
    if len(varying) > COLUMNS:
        return items
    free = (letter for letter in "nmlkpqrstabcdefgh" if not re.search(rf"\b{letter}\b", flat(items[0])))
    names = dict(zip(varying, free, strict=False))
    words = iter([names.get(column, column[0]) for column in columns])
    body = substituted(items[0], words)
    if not varying:
        heading = f"for _ in range({len(items)})"
    elif len(varying) == 1:
        heading = f"for {names[varying[0]]} in ({', '.join(varying[0])})"
    else:
        values = ", ".join(f"({', '.join(row)})" for row in zip(*varying, strict=True))
        heading = f"for {', '.join(names.values())} in ({values})"
    return [Call("[", (body,), "]", loop=heading)]


def substituted(item: Call | str, words: Iterable[str]) -> Call | str:
    """The expression with its numbers replaced, in textual order."""
    supply = iter(words)
    if isinstance(item, str):
        return INTEGER.sub(lambda _: next(supply), item)
    items = tuple(substituted(part, supply) for part in item.items)
    return replace(item, items=items, loop=INTEGER.sub(lambda _: next(supply), item.loop))


def constructor_lines(root: Branch, called: Set[Path]) -> list[str]:
    """`self.head = …`, one entry per member of the model, with its line breaks, to be indented by eight spaces."""
    lines = []
    for name, member in root.ordered():
        built = expression(member, (name,), called)
        if name.isidentifier():
            start = f"self.{name} = "
            lines.append(start + wrapped(built, 2, len(start)))
        else:
            lines.append(f'setattr(self, "{name}", {flat(built)})')
    return lines


def needs_scope(root: Branch) -> bool:
    """Whether some container is neither a list nor reached by identifiers alone."""
    if any(not name.isidentifier() for name in root.members):
        return True
    return any(_has_scope(member) for member in root.members.values() if isinstance(member, Branch))


def _has_scope(branch: Branch) -> bool:
    below = (member for member in branch.members.values() if isinstance(member, Branch))
    return not branch.is_list or any(_has_scope(member) for member in below)
