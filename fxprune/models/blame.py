"""An exception out of a user's code goes in, the line of that code and one readable sentence come out."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from fxprune.models.reference import shown

__all__ = ["told", "user_line"]

# Folders whose lines never are the user's: the machinery that calls the user's code, and what that code calls.
MACHINERY = tuple(
    str(Path(folder).resolve())
    for folder in (Path(torch.__file__).parent, Path(__file__).parent, sysconfig.get_path("stdlib"))
)


def user_line(error: BaseException, roots: Sequence[Path] = ()) -> str | None:
    """`file:line` of the innermost line of the user's code that led to an error, or None.

    Args:
        error: as caught, with its traceback; a SyntaxError names its own line.
        roots: folders that are known to be the user's; a line in one of them is preferred.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{shown(error.filename)}:{error.lineno}"
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    outside = [
        (name, line) for name, line in frames if not name.startswith("<") and not name.startswith(MACHINERY) and line
    ]
    own = [
        (name, line)
        for name, line in outside
        if "site-packages" not in name and any(Path(name).is_relative_to(root) for root in roots)
    ]
    for name, line in reversed(own or outside):
        return f"{shown(name)}:{line}"
    return None


def told(error: BaseException) -> str:
    """An exception as one line: its class and the first line of its text."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
