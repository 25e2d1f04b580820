"""A traceback or the running stack → the line of the user's model that it is about."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from functools import cache
from types import FrameType, TracebackType

import torch
from torch.fx.proxy import TraceError as FxTraceError

from fxprune.errors import TraceError
from fxprune.internals import DATA_DEPENDENT

__all__ = ["refuses", "retell", "running_line", "source_line", "user_frame", "user_line"]

_TORCH = os.path.dirname(torch.__file__) + os.sep
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_MODELS = _OURS + "zoo" + os.sep  # ours too, but read as anybody's
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep


@cache
def _theirs(filename: str) -> bool:
    if filename.startswith((_TORCH, "<")) or (filename.startswith(_OURS) and not filename.startswith(_MODELS)):
        return False
    return not filename.startswith(_STDLIB) or "site-packages" in filename


def _told(frame: FrameType, line: int, short: bool = False) -> str:
    path = frame.f_code.co_filename
    name = os.path.basename(path) if short else path
    return f"{name}:{line}, in {frame.f_code.co_name}: {linecache.getline(path, line).strip()}"


def user_line(traceback: TracebackType | None) -> str | None:
    """`file:line, in function: source` of the innermost frame that is neither torch's, Python's nor the tracer's."""
    found = None
    while traceback is not None:
        if _theirs(traceback.tb_frame.f_code.co_filename):
            found = _told(traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def refuses(error: BaseException) -> bool:
    """Did a line of the model itself raise it, or assert what does not hold?"""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or not _theirs(traceback.tb_frame.f_code.co_filename):
        return False
    line = linecache.getline(traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
    return line.strip().startswith(("raise ", "assert "))


def user_frame() -> FrameType | None:
    """The innermost frame of the model's code that is running now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not _theirs(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def source_line(source: tuple[str, int] | None) -> str | None:
    """`file:line: source` of a node's (file, line)."""
    if source is None:
        return None
    path, line = source
    return f"{path}:{line}: {linecache.getline(path, line).strip()}"


def running_line(short: bool = True) -> str:
    """`file:line, in function: source` of that frame; the name of the file alone where emitted models quote it."""
    frame = user_frame()
    return "an unknown line" if frame is None else _told(frame, frame.f_lineno, short)


def retell(error: BaseException) -> TraceError:
    """A foreign error during tracing, told as the line of the model that caused it."""
    if isinstance(error, TraceError):
        return error
    where = getattr(error, "fxprune_source", None) or user_line(error.__traceback__)
    at = f" at {where}" if where else ""
    if isinstance(error, (FxTraceError, *DATA_DEPENDENT)):
        return TraceError(
            f"the model cannot be traced{at}: a decision in Python depends on values that only the data can tell",
            hint="control flow may depend on settings and on sizes, not on the numbers in a picture",
        )
    if ".numpy() is not supported" in str(error):
        return TraceError(
            f"the model cannot be traced{at}: it hands a picture's numbers to numpy, where they cannot be followed",
            hint="compute it with torch's own functions, or outside of the network",
        )
    what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return TraceError(
        f"the model cannot be traced{at}: {what}",
        hint="if it runs by itself on such an input, please report it; if it needs another size, give --input",
    )
