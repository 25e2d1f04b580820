#!/usr/bin/env python3
"""What fxprune's own code can say → docs/messages.md. Run it after changing a message; a test checks that it was.

The code is read, not run: every error of `fxprune.errors` and every finding with a message of its own is listed, each
with the hint that stands beside it, or with what `REMEDIES` has to say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "messages.md"

HEAD = """\
# Every message

What fxprune says when something cannot be done, and what to do about it. `…` stands for a name, a number, or what
another library had to say. A mistake in a spec comes with file, line and column. Messages that begin with the name of
an operation of the network, and those of the last section, are not your fault: please report them.

The [chapter on refusals](errors.md) has the ones that are met most, and the reasons why channels are protected.
"""

SECTIONS = {
    "The spec": ("lang/", "job.py"),
    "The model": ("models/", "zoo/"),
    "The trace": ("trace/",),
    "The plan": ("plan/", "pipeline.py"),
    "Training": ("schedule/", "train/"),
    "Pictures and pages": ("view/", "cli/"),
    "Output": ("emit/load.py", "emit/places.py", "emit/writer.py", "emit/files.py"),
    "Proof and source": ("rewrite/", "emit/"),
}
KINDS = (
    "SpecError",
    "ModelError",
    "TraceError",
    "InputError",
    "PlanError",
    "RewriteError",
    "VerifyError",
    "OutputError",
)
FOUND = ("Diagnostic", "refuse", "TrainError", "StoppedError")
OURS = "a fault of fxprune: please report it, with the model if you can"

# Where the program gives no hint: the beginning of a message → what to do.
REMEDIES = {
    "a budget is more than 0%": "write a share between, such as 50%",
    "a choice takes no block": "give the choice its own line in the block before it",
    "an option takes no block": "write the option on one line",
    "`…` takes no block": "write it on one line, without braces",
    "… cannot be read": "look at the permissions of the file",
    "… is empty": "was it copied or downloaded completely?",
    "… is a folder, not a file of weights": "name the file in it",
    "…: this is not Python": "the message names the line of your file",
    "an example is a tensor": "as in fxprune.compile(spec, model, torch.rand(1, 3, 48, 48))",
    "the calibration loss": "a loss is a function of the output (and a target) that gives one number",
    "the calibration batch holds no tensor": "Calibration(inputs, target) takes tensors",
    "the network does not run on the calibration batch": "give inputs like the example's",
    "the network has no layer that makes channels": "there has to be a convolution or a linear layer",
    "`by …` does not rank filters": "see the criteria in the language reference",
    "the model's own code ended the program": "take sys.exit out of the network's code",
    "turning images needs torchvision": "install torchvision, or use a checkpoint of another network",
    "… holds no weights by name": "save them with torch.save(model.state_dict(), PATH)",
    "`…` of … is not available": "write filters",
    "`…` is not available": "leave it out in this version",
    "no state is saved": "`save as NAME` comes before it",
    "images of different size": "compare with the reference of the same size and scale",
    "the model's output holds values": "its weights may be damaged",
    "cannot write …": "look at the permissions and the space of the disk",
    "…: plan.json was not written by fxprune": "name a folder that fxprune compile wrote",
    "…: cannot be run": "the file was changed since it was written: compile again",
    "…: the file is damaged": "compile again",
    "…: the weights cannot be loaded": "the file was changed since it was written: compile again",
    "…: load() gives": "the file was changed since it was written: compile again",
    "…: no such folder": "name the folder that fxprune compile wrote",
}
BY_SECTION = {  # where neither a hint nor REMEDIES says more
    "The spec": "see [the language](language.md)",
    "The model": "the message names the place",
    "The trace": "the line that is named cannot be followed; another way to write it may be",
    "The plan": "see [the language](language.md)",
    "Training": "see [the language](language.md)",
    "Pictures and pages": "the message names the place",
    "Output": "look at the path that is named",
    "Proof and source": OURS,
}


def page() -> str:
    """The whole page."""
    rows: dict[str, dict[str, str]] = {title: {} for title in SECTIONS}
    for path in sorted((ROOT / "fxprune").rglob("*.py")):
        title = section(path.relative_to(ROOT / "fxprune").as_posix())
        if title is None:
            continue
        for message, hint in messages(ast.parse(path.read_text(encoding="utf-8"))):
            rows[title].setdefault(message, hint or remedy(message, title))
    parts = [HEAD.rstrip("\n")]
    for title, told in rows.items():
        parts += [f"## {title}", table(sorted(told.items(), key=lambda row: row[0].lstrip("…`:/ ").lower()))]
    return "\n\n".join(parts) + "\n"


def section(path: str) -> str | None:
    """The section that a module's messages stand in: the first that names it."""
    return next((title for title, begins in SECTIONS.items() if path.startswith(begins)), None)


def messages(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Each message with its hint; a hint that is put together while the program runs is said to be there."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        said = text(node.args[0])
        if name not in (*KINDS, *FOUND) or said is None or not said.strip("…: "):
            continue
        third = node.args[2:3] if name == "Diagnostic" else node.args[2:3] if name == "refuse" else []
        given = [keyword.value for keyword in node.keywords if keyword.arg == "hint"] + third
        yield said, (text(given[0]) or "the hint below it says what") if given else None


def text(node: ast.expr) -> str | None:
    """A string as written, with `…` for what is filled in; None for what is not written there."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    if isinstance(node, ast.IfExp):
        return text(node.body) or text(node.orelse)
    if isinstance(node, ast.BinOp):
        return "".join(filter(None, (text(node.left), text(node.right)))) or None
    return None


def remedy(message: str, title: str) -> str:
    return next((does for begin, does in REMEDIES.items() if message.startswith(begin)), BY_SECTION[title])


def table(rows: Iterable[tuple[str, str]]) -> str:
    """A Markdown table."""
    lines = ["| message | what to do |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {plain(message)} | {plain(does)} |" for message, does in rows)])


def plain(text: str) -> str:
    """Text in a cell of a table; what stands between backticks is left as it is, but for bars."""
    parts = text.replace("|", "\\|").split("`")
    for k in range(0, len(parts), 2):
        for sign in "*_<>":
            parts[k] = parts[k].replace(sign, f"\\{sign}")
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
