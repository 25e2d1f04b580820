#!/usr/bin/env python3
"""The rule table → docs/rules.md. Run it after changing a rule in fxprune/groups; a test checks that it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fxprune.groups import products, rules, shapes, statistics
from fxprune.groups.moves import move
from fxprune.groups.rules import CONTRACTIONS, ELEMENTWISE, MOVES, RULES, SAME

PAGE = Path(__file__).parent.parent / "docs" / "rules.md"

HEAD = """\
# Rules

What fxprune knows of each operation of PyTorch, at the level of ATen: which channels an operation ties together, and
which it passes on. The table is the one the program itself goes by; this page is made from it.

A network is run once on tensors without values. Every dimension of every parameter carries ids, one for each
coordinate, and the rule of each operation says where they go. Coordinates that meet are tied, and tied coordinates are
kept or removed together. An operation that is not listed protects every channel it touches, and `fxprune groups` says
`no rule for …`: nothing is guessed.

A rule of your own, for an operation of another library or in place of one of these, is a function with a decorator, see
[`fxprune.rule`](api.md):

```python
import fxprune
from fxprune.groups.labels import Labels


@fxprune.rule("my_library.shift")
def shift(op) -> list[Labels]:
    \"\"\"Each channel by itself: what comes out is labelled as what came in.\"\"\"
    return [op.lookup(op.tensors()[0])]
```
"""

KINDS = (
    (
        products,
        "Products",
        "Read like einsum: a letter that stands twice is one coordinate, one that vanishes is summed.",
    ),
    (statistics, "Norms and reductions", "What is averaged over channels has to count those that went."),
    (shapes, "Arranging", "Joining, padding, indexing, resampling, new tensors, writing in place."),
    (rules, "Elementwise", "Aligned from the last dimension back; what is aligned is tied."),
)


def page() -> str:
    """The whole page."""
    parts = [HEAD.rstrip("\n")]
    for module, title, line in KINDS:
        rows = [(names, law(function)) for function, names in signed(module.__name__)]
        if module is products:
            rows += [([name], f"`{spec}`") for name, (spec, _) in sorted(CONTRACTIONS.items())]
        if module is rules:
            told = "Every op that torch itself tags as pointwise"
            rows += [(sorted(ELEMENTWISE), law(rules.pointwise)), ([], f"{told}: {lower(law(rules.pointwise))}")]
        parts += [f"## {title}", line, table(rows)]
    parts += [
        "## Data movement",
        "These need no rules: the very operation runs on positions instead of numbers, and where each position comes "
        "out is read off. Where one dimension lands on several (channels split into heads × head_dim), one of them "
        "stays prunable and coordinates are tied along the others.",
        table([(sorted(MOVES - set(RULES)), law(move)), (sorted(SAME), law(rules.same))]),
        f"{count()} operations are known by name.",
    ]
    return "\n\n".join(parts) + "\n"


def signed(module: str) -> list[tuple[Callable[..., Any], list[str]]]:
    """The rules of a module, each with the ops it is for, in the order of their definition."""
    names: dict[Any, list[str]] = {}
    for name, function in RULES.items():
        if function.__module__ == module:
            names.setdefault(function, []).append(name)
    return [(function, sorted(ops)) for function, ops in names.items()]


def law(function: Callable[..., Any]) -> str:
    """The first paragraph of a rule's docstring: what it claims."""
    return " ".join((function.__doc__ or "").partition("\n\n")[0].split())


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def count() -> int:
    own = [name for name, function in RULES.items() if str(function.__module__).startswith("fxprune.")]
    return len({*own, *CONTRACTIONS, *SAME, *MOVES, *ELEMENTWISE})


def table(rows: Iterable[tuple[list[str], str]]) -> str:
    """A Markdown table."""
    lines = ["| operations | law |", "| --- | --- |"]
    for names, text in rows:
        called = ", ".join(f"`{name}`" for name in names) or "…"
        lines.append(f"| {called} | {text.replace('|', chr(92) + '|').replace('*', chr(92) + '*')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
