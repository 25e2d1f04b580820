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
    "Evaluation": (
        "cli/images.py",
        "cli/measuring.py",
        "cli/subjects.py",
        "train/comparison.py",
        "train/evaluate.py",
        "train/fitting.py",
        "train/metrics.py",
        "train/tiles.py",
        "train/upscaling.py",
    ),
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
BELOW = "the hint below it says what"  # it is put together while the program runs
OURS = "a fault of fxprune: please report it, with the model if you can"

# Where the program gives no hint, or puts one together: the beginning of a message → what to do.
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
    "--device …": "the hint lists the devices that are there; cpu always is",
    "--set …: the spec has no variable": "name a model, or a variable that the spec defines with `let`",
    "`…` cannot stand here": "the hint says what may: a statement begins a line, a block stands in braces",
    "`…` has no argument": "the hint lists those it has",
    "`…` has no meaning here": 'unusual names are quoted: "a-b"',
    "how much is to be": "say how much: 50%, keep 32, until params <= 700K",
    "… is a model, not a spec": "give the spec first: fxprune compile SPEC MODEL",
    "`…` is no measure of": "the hint lists the measures there are",
    "no variable is called": "write `let NAME = VALUE` before it, or one of the names in the hint",
    "something is missing before": "the hint says what the statement needs",
    "there is no file …": "the hint names files nearby; paths start from the folder of the spec",
    "this `…` is never closed": "put the closing bracket or brace",
    "… does not exist": "the hint names files nearby; paths start from the present folder",
    "… does not name a model": "write model.py, model.py:factory, package.module:factory or zoo:edsr",
    "… has no argument …": "the hint lists those it has",
    "… in … has no argument …": "the hint lists those it has",
    "… in … …": "name a network class, a network, or a function that gives one",
    "… is a checkpoint of no network": "give its code as the model, and the file with --weights",
    "… is a folder, not a Python file": "name the file in it",
    "… is not a Python file": "weights go to --weights; code is a .py file",
    "…: … is …, not …": "the hint says what the argument takes",
    "… looks like a network that spandrel knows": "the hint says what spandrel met; give the code as the model instead",
    "no model found in …": "define a network class, a module-level `model`, or `build_model()`",
    "no model is named": "give one after the spec, or add a line such as: model edsr(scale=2)",
    "…: … raised …": "the line that is named is your file's; it has to run by itself",
    "spandrel does not import": "pip install --no-deps spandrel einops",
    "…the model does not take an input of": "give the shape it takes: --input 1x3x48x48, or `input` in the spec",
    "there is no module …": "is it installed, and spelt as it is imported?",
    "there is no network … in the zoo": "`fxprune zoo` lists them",
    "there is no … in …": "the hint names what the file defines",
    "`…` does not fit": "the hint lists what does",
    "no layer is called": "the hint names the nearest; `fxprune groups MODEL` lists all",
    "this selects no group that can be cut": "select every layer that makes the channels; the hint names the others",
    "a batch of … patches": "the hint says what there is room for: a smaller batch or patch",
    "`align`: … has no scale": "add a line `weight_norm` before it",
    "`align`: the filters of": "leave that layer out, or protect it",
    "`…` cannot be that": "the hint says what it takes",
    "… holds a run that is at step": "go on with --resume, or choose another folder with -o",
    "`init` is `new`": "finetune 300k steps { init new }, or nothing",
    "`…` is yes or no": "write yes or no",
    "`…` needs folders of images": 'data train "DIV2K", or --data DIR',
    "`…` needs the steps at which": "halve at 200k, 400k",
    "no image of … can be measured": "the hint says what is wrong with the first of them",
    "no images found in": "the hint says what was looked for: HR images, or the layouts of DIV2K, BasicSR and KAIR",
    "no training image can be read": "the hint names the first of them and what is wrong with it",
    "no training image has": "a smaller patch, or larger images",
    "`…` says nothing about": "the hint lists what may be said there",
    "stopped after step": "nothing is lost: the same command with --resume goes on",
    "`…` takes ……": "the hint shows how it is written",
    "the checkpoint is that of another spec": "the spec as it was, or start anew without --resume",
    "the decay of a running mean": "write a number from 0 up and less than 1: 0.999",
    "there is no loss": "the hint lists those there are",
    "there is no optimizer": "the hint lists those there are",
    "an image without pixels": "leave that file out",
    "`…` cannot run at the same time": "after `while` comes one `shrink`, beside an `align`",
    "`…` is the trainer's": "take `save`, `rewind` and `repeat` out of the spec, or let fxprune compile train",
    "no constrained group is there": "a group is aligned if several layers make it: see `fxprune groups MODEL`",
    "…: no LR image of that name": "LR images are called as their HR images, or with x2, x3, x4 behind",
    "…: not readable": "look at the permissions of the folder",
    "… pictures of dead leaves": "their count is 0 or more",
    "…: smaller than when": "the file was changed during the run: start it again",
    "the marks are those of another network": "resume with the model and the spec that the run began with",
    "the precision is one": "say it once",
    "this number of steps has no value": "give it one: let N = 1000, or --set N=1000",
    "this state is that of another spec": "resume with the model and the spec that the run began with",
    "…: …x… pixels are not": "is it the LR set of that scale?",
    "…: …x… pixels are too few": "leave that file out",
    "--image …: there is no such image": "the hint names the images there are",
    "… makes images … times larger": "the hint says which scale to measure at",
    "…: … is of type …": "the file was changed since it was written: compile again",
    "…: … is …, the model needs": "the file was changed since it was written: compile again",
    "…: the file …": "compile again, or copy the folder whole",
}
BY_SECTION = {  # where neither a hint nor REMEDIES says more
    "Evaluation": "see [measuring a network](evaluation.md)",
    "The spec": "see [the language](language.md)",
    "The model": "the message names the place",
    "The trace": "the line that is named cannot be followed; another way to write it may be",
    "The plan": "see [the language](language.md)",
    "Training": "the message names what is amiss",
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
            written = hint if hint and hint != BELOW else remedy(message) or hint or BY_SECTION[title]
            rows[title].setdefault(message, written)
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
        yield said, (text(given[0]) or BELOW) if given else None


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


def remedy(message: str) -> str | None:
    return next((does for begin, does in REMEDIES.items() if message.startswith(begin)), None)


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
