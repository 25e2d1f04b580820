"""Report + plan + spec → report.html: what was asked, what was done, how it was checked, how to use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lark.exceptions import UnexpectedInput
from markupsafe import Markup

from fxprune import lang
from fxprune.lang import CRITERIA, STATEMENTS, Spec
from fxprune.lang.parser import grammar
from fxprune.plan import Decision, Plan
from fxprune.rewrite import TOLERANCE
from fxprune.view.draw import letters
from fxprune.view.folding import fold, placed
from fxprune.view.layers import Cost, layer_costs, layer_rows
from fxprune.view.page import graph_data, render
from fxprune.view.picture import picture
from fxprune.view.report import Report
from fxprune.view.svg import text

__all__ = ["GroupLine", "group_lines", "highlighted", "report_html", "tokens"]

FILES = {
    "model.safetensors": "the weights",
    "model.py": "the network as readable source; needs torch only",
    "model.pt2": "the network as torch.export writes it, any height and width",
    "plan.json": "what was decided: the spec, what was kept of each tensor, this report as values",
    "groups.svg": "the picture on this page",
    "report.txt": "this report as text",
    "metrics.jsonl": "the training: an event in each line",
}
TERMINALS = {"LET": "word", "STRING": "string", "__IGNORE_1": "comment"}
NUMBERS = frozenset({"PERCENT", "NUMBER", "SIZE", "RATIO", "TIMES"})
CLAUSES = frozenset(
    {"PREPOSITION", "UNTIL", "UNIT", "GLOBALLY", "MULTIPLE", "OF", "IN", "EXCEPT", "WHILE", "PER", "LAYER"}
)
COLUMNS = 900  # bars in a chart; with more layers than that, neighbours share one


@dataclass(frozen=True, slots=True)
class GroupLine:
    """Groups alike, in one row."""

    name: str
    kind: str
    look: str  # class of its colour
    letter: str
    times: int
    before: int
    after: tuple[int, int]  # fewest and most that are left
    why: str | None

    @property
    def left(self) -> str:
        """What is left, in words."""
        low, high = self.after
        return str(low) if low == high else f"{low}–{high}"


def report_html(
    report: Report,
    plan: Plan,
    spec: Spec,
    *,
    files: Sequence[str] = (),
    sections: Mapping[str, Markup] | None = None,
) -> str:
    """The report as a page that opens offline.

    Args:
        report: what a compile did.
        plan, spec: what it went by.
        files: names of the files in the output folder.
        sections: further parts, title → markup that is safe to insert: curves of a training.
    """
    costs = layer_costs(plan)
    drawn = picture(plan.groups, plan, title=report.model)
    checks = report.verified.checks if report.verified else ()
    return render(
        "report.html",
        graph=graph_data(drawn),
        title=report.model,
        report=report,
        spec=highlighted(spec),
        given=spec.given,
        rows=group_lines(plan, {g.index: drawn.artist.look(g.index) for g in plan.groups}),
        layers=layer_rows(costs),
        charts=[("MACs", _chart(costs, "macs")), ("Parameters", _chart(costs, "params"))],
        checks=[(" and ".join("×".join(map(str, shape)) for shape in c.shapes), c.difference) for c in checks],
        refused=["×".join(map(str, size)) for size in report.verified.refused] if report.verified else [],
        tolerance=TOLERANCE,
        files=[(name, FILES.get(name, "")) for name in sorted(files)],
        sections=sections or {},
        share=_share,
        short=_short,
    )


def highlighted(spec: Spec) -> Markup:
    """The spec as it was written, its words marked up."""
    source = spec.source.text or lang.format_spec(spec)
    parts: list[str] = []
    at = 0
    for start, end, look in tokens(source):
        parts.append(text(source[at:start]))
        parts.append(f'<span class="t-{look}">{text(source[start:end])}</span>')
        at = end
    return Markup("".join([*parts, text(source[at:])]).strip("\n"))


def tokens(source: str) -> Iterable[tuple[int, int, str]]:
    """The words of a spec that have a look of their own: start, end, look. None of a text that is no spec."""
    try:
        lexed = list(grammar().lex(source, dont_ignore=True))
    except UnexpectedInput:
        return  # shown plain
    for token in lexed:
        start = token.start_pos or 0
        look = TERMINALS.get(token.type, "")
        if token.type in NUMBERS:
            look = "number"
        elif token.type in CLAUSES:
            look = "clause"
        elif token.type == "NAME" and token in STATEMENTS:
            look = "word"
        elif token.type == "NAME" and token in CRITERIA:
            look = "measure"
        elif token.type == "__IGNORE_0":
            continue
        if look:
            yield start, start + len(token), look


def group_lines(plan: Plan, looks: Mapping[int, str]) -> tuple[GroupLine, ...]:
    """The groups, those alike in one row, in graph order."""
    named = letters(plan.groups)
    classes: dict[tuple[Any, ...], dict[str, Decision]] = {}
    for decision in plan.decisions:
        group = decision.group
        key = (group.kind, group.width, len(group.producers), decision.why, 0)
        while group.name in classes.setdefault(key, {}):
            key = (*key[:-1], key[-1] + 1)
        classes[key][group.name] = decision
    lines: list[tuple[int, GroupLine]] = []
    for (kind, width, _, why, _), held in classes.items():
        for folded in fold(held):
            members = [held[name] for name in folded.members]
            kept = [decision.kept for decision in members]
            first = members[0].group
            letter = named.get(first.index, "") if len(members) == 1 else ""
            look = looks[first.index] if len(members) == 1 or kind != "constrained" else "many"
            told = [d.group.place.path for d in members if d.group.place and why == d.group.reason]
            reason = why and placed(why, told)
            line = GroupLine(str(folded), kind, look, letter, len(members), width, (min(kept), max(kept)), reason)
            lines.append((first.index, line))
    return tuple(line for _, line in sorted(lines, key=lambda entry: entry[0]))


def _chart(costs: Sequence[Cost], what: str) -> Markup:
    """Columns in the order of the layers: what was, and in it what is left."""
    pairs = [(cost.path, *getattr(cost, what)) for cost in costs if getattr(cost, what)[0]]
    if not pairs:
        return Markup("")
    share = -(-len(pairs) // COLUMNS)
    joined = [pairs[k : k + share] for k in range(0, len(pairs), share)]
    columns = [(held[0][0], sum(p[1] for p in held), sum(p[2] for p in held)) for held in joined]
    most = max(before for _, before, _ in columns)
    step = 900 / len(columns)
    width = max(0.8, step * 0.78)
    bars = []
    for k, (path, before, after) in enumerate(columns):
        x = f"{k * step:.1f}"
        tall, low = 140 * before / most, 140 * after / most
        told = text(f"{path or 'the top level'}: {before:,} → {after:,}")
        bars.append(
            f"<g><title>{told}</title>"
            f'<rect class="was" x="{x}" y="{140 - tall:.1f}" width="{width:.1f}" height="{tall:.1f}"/>'
            f'<rect class="left" x="{x}" y="{140 - low:.1f}" width="{width:.1f}" height="{low:.1f}"/></g>'
        )
    return Markup(
        f'<svg class="chart" viewBox="0 0 900 142" preserveAspectRatio="none" role="img">{"".join(bars)}</svg>'
    )


def _short(value: int) -> str:
    """Up to ten million in full, larger ones with a unit."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6)):
        if value >= 10**7 and value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:,}"


def _share(pair: tuple[int, int]) -> str:
    before, after = pair
    return f"{100 * (before - after) / before:.1f}% less" if before else ""
