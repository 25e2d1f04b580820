#!/usr/bin/env python3
"""fxprune's words → docs/language.md. Run it after changing fxprune/lang/words.py; a test checks that it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fxprune.lang import Attention, Cut, Emit, Input, Let, Mark, ModelRef, Multiple, Norm, Protect, Use
from fxprune.lang.words import AGGREGATES, CLAUSES, CRITERIA, FORMATS, PATTERNS, STATEMENTS, Measure
from fxprune.schedule.program import RUNS as PHASES

PAGE = Path(__file__).parent.parent / "docs" / "language.md"
INSTANT = {kind.word for kind in (Attention, Cut, Emit, Input, Let, Mark, ModelRef, Multiple, Norm, Protect, Use)}
TRAINED = {*PHASES, "data", "loss", "optimizer", "repeat", "rewind", "save", "weight_norm"}

HEAD = """\
# The language

A spec is a short program: what a network is to go through, one statement a line, from top to bottom. Everything has a
default, and the smallest spec is one line:

```prune
cut filters 50%
```

A longer one:

```prune
# Half of the free layers' filters, a quarter of those that residual connections tie together.
model edsr(blocks=16, width=64, scale=2)
let r = 50%
protect tail.*, sub_mean, add_mean
mark filters in head, body.** {
    free r by l1
    constrained 25% by random(seed=1)
}
cut
```

`fxprune fmt` lays a spec out, `fxprune check` finds all mistakes in it at once. A line goes on after a comma. A comment
runs from `#` to the end of the line.
"""

VALUES = """\
## Amounts

| written | means |
| --- | --- |
| `50%` | this share of the units goes, in each group; rounded up, unless `rounded down` or `rounded nearest` follows |
| `keep 25%` | this share stays |
| `keep 32` | so many stay in each group |
| `until params <= 700K` | as few go as it takes to have at most so many parameters |
| `until macs <= 40.6G at 1280x720` | the same for the MACs of an output of that size; 1280x720 if none is given |
| `until macs <= 50%` | at most this share of the whole network's |

At least one unit of every group stays. A percentage counts from what earlier statements have left.

## Layers

| written | means |
| --- | --- |
| `head` | the layer, or everything in the module |
| `tail.*` | everything one level below; `*` is any run of characters within a name |
| `body.**` | everything below, at any depth |
| `body.[0-3].conv?` | a range of characters, and one character |
| `kind Conv2d` | layers of a class |
| `group "head"` | the group of that name, as `fxprune groups` lists it |
| `free`, `constrained` | groups with one producer, groups with several |
| `first`, `last` | the first and the last layer that makes channels |

A group is cut only if all layers that make its channels are selected.

## Values

Whole numbers, decimals, `1e-4`, `10K`, `2.5M`, `4G`, `50%`, `1280x720`, `2:4`, `yes`, `no`, `none`, `"a text"`,
`[1, 2, 3]`, and names of variables. `let r = 50%` defines a variable; `--set r=70%` gives it another value. Paths start
from the folder of the spec.
"""


def page() -> str:
    """The whole page."""
    now = [name for name in STATEMENTS if name in INSTANT]
    phases = [name for name in STATEMENTS if name in TRAINED]
    later = [name for name in STATEMENTS if name not in INSTANT | TRAINED]
    parts = [
        HEAD,
        "## Statements",
        table(("word", "what it does", "for example"), (statement(name) for name in now)),
        "Those that train, and what stands about them; `fxprune compile` takes the pictures from `--data DIR`:",
        table(("word", "what it does", "for example"), (statement(name) for name in phases)),
        VALUES,
        "## What may follow",
        table(("word", "what it says", "for example"), ((code(k), *said(v)) for k, v in CLAUSES.items())),
        "## Criteria",
        "What may stand after `by`. Those that need data take a calibration batch (`fxprune.compile(calibration=…)`).",
        table(("name", "what ranks", "arguments", "of", "data"), (measure(k, v) for k, v in CRITERIA.items())),
        "## Aggregates",
        "How the members of a constrained group are combined: `aggregate max`.",
        table(("name", "what counts"), ((code(k), v) for k, v in AGGREGATES.items())),
        "## Files",
        "What `emit` may name; all of them if it is left out. The plan and the report are always written.",
        table(("name", "file"), ((code(k), v) for k, v in FORMATS.items())),
        "## Words that are taken",
        "The grammar has these too; they are read, checked and laid out, but this version does not run them.",
        table(("word", "what it does", "for example"), (statement(name) for name in later)),
        "Patterns of `mask`:",
        table(("name", "what it is", "arguments", "of", "data"), (measure(k, v) for k, v in PATTERNS.items())),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def statement(name: str) -> tuple[str, ...]:
    word = STATEMENTS[name]
    return code(name), word.does, code(word.example)


def said(clause: tuple[str, str]) -> tuple[str, str]:
    return clause[0], code(clause[1])


def measure(name: str, what: Measure) -> tuple[str, ...]:
    arguments = ", ".join(code(argument) for argument in what.args)
    return code(name), what.does, arguments, ", ".join(what.of), "needed" if what.needs_data else ""


def code(text: str) -> str:
    return f"`{text}`"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
