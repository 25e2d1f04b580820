#!/usr/bin/env python3
"""The specs in specs/ → docs/cookbook, a page each. Run it after changing a spec; a test checks that it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch

from fxprune import zoo
from fxprune.lang import ModelRef, Phase, Spec, parse
from fxprune.lang.words import STATEMENTS
from fxprune.pipeline import plan
from fxprune.view import GroupRow, make_report
from fxprune.view.terminal import rows

ROOT = Path(__file__).parent.parent
SPECS, PAGES = ROOT / "specs", ROOT / "docs" / "cookbook"
SHOWN = "edsr"  # the network of a spec that names none

HEAD = """\
# Cookbook

One page for each spec in `specs/`: what it says, and what it makes of its network. A method that was published as a
table of ratios is one spec with a variable: `--set r=70%`.

"""


def pages() -> dict[str, str]:
    """Every page, by file name."""
    made = {f"{path.stem}.md": page(path) for path in sorted(SPECS.glob("*.prune"))}
    told = (
        f"| [{path.stem}]({path.stem}.md) | {prose(path.read_text())[0]} |" for path in sorted(SPECS.glob("*.prune"))
    )
    return {"index.md": HEAD + "\n".join(["| spec | what it is |", "| --- | --- |", *told]) + "\n", **made}


def page(path: Path) -> str:
    """One page: the comment at the head of the spec, the spec, what it would do, how to run it."""
    text, spec = path.read_text(encoding="utf-8"), parse(path)
    first, *rest = prose(text)
    named = f" specs/{path.name}" + ("" if spec.of(ModelRef) else f" zoo:{SHOWN}")
    parts = [f"# {path.stem}", first, *([" ".join(rest)] if rest else []), f"```prune\n{text}```"]
    parts += ["## What is cut", *result(spec)]
    phases = list(dict.fromkeys(s.word for s in spec if isinstance(s, Phase)))
    if phases:
        told = "\n".join(f"- `{word}`: {STATEMENTS[word].does}" for word in phases)
        parts += ["## What else it does", told]
    trains = " --data DIR" if phases else ""
    parts += ["## Running it", f"```sh\nfxprune check{named}\nfxprune compile{named}{trains}\n```"]
    if phases:
        parts.append(
            "`DIR` holds the pictures that `data` names. Checkpoints and measures are kept in `OUT.run`; Ctrl-C saves, "
            "and `--resume` goes on."
        )
    if spec.variables:
        told = ", ".join(f"`--set {name}=…`" for name in spec.variables)
        parts.append(f"Its variables: {told}. [The language](../language.md) has every word.")
    return "\n\n".join(parts) + "\n"


def prose(text: str) -> list[str]:
    """The sentences of the comment at the head of a spec."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return re.split(r"(?<=[^.]\.) (?=[A-Z-])", " ".join(lines), maxsplit=1)


def result(spec: Spec) -> Iterator[str]:
    """What the spec leaves of its network, counted without arithmetic."""
    name, arguments = next(((m.name, m.keywords()) for m in spec.of(ModelRef)), (SHOWN, {}))
    with torch.device("meta"):
        network = zoo.build(name, **arguments)
    decided = plan(spec, network, torch.empty(1, 3, 48, 48, device="meta"))
    report = make_report(name, decided, None)
    said = ", ".join(f"{key}={written(value)}" for key, value in arguments.items())
    at = f" for an image of {report.macs_at[0]}x{report.macs_at[1]}" if report.macs_at else ""
    yield (
        f"Of `{name}`{f' with {said}' if said else ''}, {report.params[1]:,} of {report.params[0]:,} parameters are "
        f"left, and {report.macs[1]:,} of {report.macs[0]:,} MACs{at}."
    )
    lines = [
        f"| `{row.name}` | {row.kind} | {row.before} | {kept(row)} | {times} |" for row, _, times in rows(report.groups)
    ]
    yield "\n".join(["| group | kind | filters | kept | times |", "| --- | --- | --- | --- | --- |", *lines])


def written(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def kept(row: GroupRow) -> str:
    return f"**{row.after}**" if row.after < row.before else str(row.after)


def main() -> None:
    """Write every page, and take away those of specs that are gone."""
    PAGES.mkdir(exist_ok=True)
    made = pages()
    for old in {path.name for path in PAGES.glob("*.md")} - set(made):
        (PAGES / old).unlink()
    for name, text in made.items():
        (PAGES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
