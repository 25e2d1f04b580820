"""The text a user names a model by, taken apart: where its code is, and which name in it makes the model."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fxprune.errors import ModelError

__all__ = ["Reference", "did_you_mean", "parse_reference", "shown"]

FORMS = "a model is written model.py, model.py:factory, package.module:factory, zoo:name or checkpoint.pth"

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")

# What people give by mistake, by ending: (what it is, what to do instead).
REFUSED: dict[str, tuple[str, str]] = {
    ".pt2": ("is an exported program, whose sizes are fixed", "give the Python code it was exported from"),
    ".onnx": ("is an ONNX graph, not Python code", "give the Python code it was exported from"),
    ".prune": ("is a spec, not a model", "the spec comes first, then the model: fxprune compile SPEC MODEL"),
    ".ipynb": ("is a notebook, not a Python file", "export the cells that define the model as a .py file"),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """One model reference."""

    text: str  # as the user wrote it
    kind: Literal["file", "module", "zoo", "checkpoint"]
    place: str  # path of a file or checkpoint, dotted name of a module, or name in the zoo
    factory: str | None  # the name in it that makes the model; None where it is to be found

    @property
    def path(self) -> Path:
        """The file of a reference of kind "file" or "checkpoint"."""
        return Path(self.place)


def parse_reference(text: str) -> Reference:
    """Take a reference apart; for a file, make sure it is there and may be Python.

    Raises:
        ModelError: the text is no reference, or the file is missing or of another kind.
    """
    text = os.fspath(text).strip()
    if not text:
        raise ModelError("no model is named", hint=FORMS)
    if text.startswith("zoo:"):
        return Reference(text, "zoo", text.removeprefix("zoo:"), None)
    if text.startswith("spandrel:"):
        return Reference(text, "checkpoint", text.removeprefix("spandrel:"), None)
    place, colon, name = text.rpartition(":")
    if not colon or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        place, name = text, ""
    if place.lower().endswith(CHECKPOINTS):
        if name:
            raise ModelError(
                f"{place} is a checkpoint: it holds weights, there is nothing in it called {name}",
                hint=f"give {place} alone; or code as the model (model.py:{name}), and this file as its weights",
            )
        return Reference(text, "checkpoint", place, None)
    if is_path(place):
        check_file(Path(place))
        return Reference(text, "file", place, name or None)
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", place):
        return Reference(text, "module", place, name or None)
    raise ModelError(f"{text!r} does not name a model", hint=FORMS)


def is_path(place: str) -> bool:
    """Whether a place is meant as a file rather than as a dotted module name."""
    endings = (".py", *CHECKPOINTS, *REFUSED)
    return place.lower().endswith(endings) or "/" in place or os.sep in place or Path(place).exists()


def check_file(path: Path) -> None:
    """Refuse a path that is not a Python file, each kind with its own reason."""
    if path.suffix.lower() in REFUSED:
        what, instead = REFUSED[path.suffix.lower()]
        raise ModelError(f"{path} {what}", hint=instead)
    if path.is_dir():
        inside = ", ".join(sorted(entry.name for entry in path.glob("*.py"))[:8])
        hint = f"it holds {inside}" if inside else FORMS
        raise ModelError(f"{path} is a folder, not a Python file", hint=hint)
    if not path.is_file():
        raise ModelError(f"{path} does not exist", hint=missing_hint(path, ("*.py",)))
    if path.suffix != ".py":
        raise ModelError(f"{path} is not a Python file (its name does not end in .py)", hint=FORMS)


def missing_hint(path: Path, patterns: Iterable[str]) -> str | None:
    """What might have been meant by a path that does not exist: the nearest names in its folder."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = sorted({entry.name for pattern in patterns for entry in path.parent.glob(pattern)})
    return did_you_mean(path.name, names)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint with the nearest of the known names; with all of them when none is near and they are few."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if names and len(names) <= 8:
        return f"there is {', '.join(names)}"
    return None


def shown(path: str | Path) -> str:
    """A path as messages show it: relative when it lies in the current folder."""
    path = Path(path)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
