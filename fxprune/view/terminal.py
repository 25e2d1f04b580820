"""Reports, groups and stages → lines on a terminal: in colour where it is one, plain text where it is not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fxprune.groups import Groups
from fxprune.view.draw import letters
from fxprune.view.folding import fold, placed
from fxprune.view.listing import counted, listing
from fxprune.view.report import GroupRow, Report
from fxprune.view.style import GROUPS, INK

__all__ = ["STAGES", "Stages", "changes", "facts", "rows", "show", "tree"]

# Stage → what is going on meanwhile, in order.
STAGES = {
    "parse": "reading the spec",
    "model": "building the model",
    "trace": "tracing the model",
    "groups": "finding which channels are tied together",
    "plan": "choosing what goes",
    "rewrite": "cutting",
    "verify": "comparing with the masked original",
    "train": "training",
    "write": "writing and reading back",
}
DRY = ("parse", "model", "plan")  # without cutting
COLOURS = {"free": "green", "constrained": "yellow", "protected": "red"}
BADGES = 3  # letters shown of the groups on one line
HATCH = {"protected": "///"}  # what stands where a tied group has its letter
WIDE = 1000  # characters: text that is no terminal's is never broken


def show(*parts: Table | str, error: bool = False) -> None:
    """Print tables and lines on stdout, or on stderr."""
    console = Console(stderr=error, highlight=False, markup=False, soft_wrap=True)
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    plain = Console(width=WIDE, no_color=True, highlight=False, markup=False, force_terminal=False)
    for part in parts:
        with plain.capture() as captured:
            plain.print(part)
        text = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()) or "\n"
        stream = sys.stderr if error else sys.stdout
        stream.write(text)
        stream.flush()  # both may go to one place, where their order counts


class Stages:
    """A line on stderr for each stage that is over, with its time; on a terminal, the present one is seen too."""

    def __init__(self, *, dry: bool = False, quiet: bool = False) -> None:
        self.stages = [stage for stage in STAGES if not dry or stage in DRY]
        self.quiet = quiet
        self.seen: set[str] = set()
        self.console = Console(stderr=True, highlight=False, markup=False)
        self.status = self.console.status("") if self.console.is_terminal else None

    def __enter__(self) -> Stages:
        if self.status is not None:
            self.status.start()
            self.doing(self.stages[0])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.status is not None:
            self.status.stop()

    def __call__(self, stage: str, seconds: float) -> None:
        """Say that a stage is over; one that comes twice counts the first time."""
        if stage in self.seen:
            return
        self.seen.add(stage)
        line = f"{stage:<8} {seconds:6.2f} s"
        if not self.quiet and self.status is not None:
            self.console.print(Text(line, "dim"))
        elif not self.quiet:
            show(line, error=True)
        for following in self.stages[self.stages.index(stage) + 1 :][:1]:
            self.doing(following)

    def doing(self, stage: str) -> None:
        """Say what is going on now, where that can be taken back."""
        if self.status is not None:
            self.status.update(Text(f"{STAGES[stage]} …", "dim"))


def tree(groups: Groups) -> Table:
    """The groups by module path, those alike on one line; tied ones with letter and colour as in the pictures."""
    named = letters(groups)
    looks = {index: f"{INK[k % len(INK)]} on {GROUPS[k % len(GROUPS)]}" for k, index in enumerate(named)}
    table = _table("group", "kind", "", ">filters", "", "")
    for line in listing(groups):
        times = f"x {line.times}" if line.times > 1 else ""
        width = str(line.width) if line.kind else ""
        dim = "dim" if line.kind == "protected" else ""
        shown = [(named[k], looks[k]) for k in line.groups if k in named]
        badge = Text(" ").join(Text(*one) for one in shown[:BADGES]) + Text(" …" if len(shown) > BADGES else "")
        cells = ("  " * line.depth + line.name, line.kind, badge or HATCH.get(line.kind, ""), width, times, line.note)
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell, dim) for cell in cells))
    return table


def summary(groups: Groups) -> str:
    """How many groups there are, of each kind."""
    return f"{len(groups)} groups: {counted(groups)}"


def changes(report: Report) -> Table:
    """The groups before and after, those alike on one line."""
    table = _table("group", "kind", ">filters", ">kept", "", "")
    for row, where, times in rows(report.groups):
        kept = Text(str(row.after), "bold" if row.after < row.before else "dim")
        why = "" if row.why is None else placed(row.why, where)
        table.add_row(
            Text(row.name),
            Text(row.kind, COLOURS[row.kind]),
            str(row.before),
            kept,
            f"x {times}" if times > 1 else "",
            Text(why, "dim"),
        )
    return table


def rows(groups: Sequence[GroupRow]) -> list[tuple[GroupRow, list[str], int]]:
    """Groups that fared alike and whose names differ only in their numbers, as one; where, and how many they are."""
    classes: dict[tuple[object, ...], dict[str, int]] = {}
    for number, row in enumerate(groups):
        key: tuple[Any, ...] = (row.kind, row.before, row.after, row.why, 0)
        while row.name in classes.setdefault(key, {}):
            key = (*key[:-1], key[-1] + 1)
        classes[key][row.name] = number
    found = [
        (same[folded.members[0]], str(folded), [groups[same[name]].where for name in folded.members])
        for same in classes.values()
        for folded in fold(same)
    ]
    return [(replace(groups[number], name=name), where, len(where)) for number, name, where in sorted(found)]


def facts(report: Report, more: Mapping[str, str] | None = None) -> Table:
    """What came of it: groups, parameters, MACs, verification, notes, and more lines by their titles."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("groups", Text(cuts(report.groups)))
    table.add_row("params", f"{report.params[0]:,} -> {report.params[1]:,}  {_less(*report.params)}")
    at = f"at {report.macs_at[0]}x{report.macs_at[1]}" if report.macs_at else "at the size of the example"
    table.add_row("MACs", f"{report.macs[0]:,} -> {report.macs[1]:,}  {_less(*report.macs)} {at}")
    if report.verified is not None:
        sizes = ", ".join(_size(check.shapes) for check in report.verified.checks)
        table.add_row(
            "verified", f"masked = compact to {report.verified.difference:.1e} of the output's scale, at {sizes}"
        )
    if report.native_difference is not None:
        table.add_row(
            "native", f"norms take their statistics over what is left: a change of {report.native_difference:.1e}"
        )
    for note in report.notes:
        table.add_row("note", Text(note))
    for title, text in (more or {}).items():
        table.add_row(title, Text(text))
    return table


def cuts(groups: Iterable[GroupRow]) -> str:
    """How many groups lost filters, of each kind."""
    groups = list(groups)
    number, cut = Counter(row.kind for row in groups), Counter(row.kind for row in groups if row.after < row.before)
    parts = [f"{cut[kind]} of {number[kind]} {kind}" for kind in ("free", "constrained") if number[kind]]
    protected = f"; {number['protected']} protected" if number["protected"] else ""
    return f"{' and '.join(parts) or 'none'} lose filters{protected}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return table


def _size(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def _less(before: int, after: int) -> str:
    return f"({100 * (before - after) / before:.1f}% less)" if before else ""
