"""Names and writers of files in, a folder that is whole or absent out."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from fxprune.errors import OutputError

__all__ = ["MARK", "is_ours", "write"]

MARK = "fxprune"  # the key in plan.json by which an output folder is known

REASONS = {
    errno.EACCES: "it may not be written",
    errno.EPERM: "it may not be written",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.ELOOP: "its links go round in a circle",
    errno.EFBIG: "a file became too large",
}


def write(
    folder: str | os.PathLike[str],
    files: Mapping[str, Callable[[Path], None]],
    check: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Write a folder as a whole: under another name beside it, then moved into place.

    An interruption leaves the folder as it was, or absent, or as it shall be; what a killed run left lying beside it
    is cleared away by the next one. A folder that fxprune wrote is replaced; any other is left alone.

    Args:
        folder: where to; folders above it are made.
        files: name of each file → what writes it to the path given.
        check: looks at the finished folder before it is moved into place; what it raises stops the move.

    Raises:
        OutputError: the folder exists and is not fxprune's, or cannot be written.
    """
    target = Path(folder)
    try:
        target = target.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        check_free(target, folder)
        fill_and_move(target, files, check)
    except OSError as error:
        raise OutputError(
            f"cannot write {os.fspath(folder)}: {reason(error)}", hint="choose another folder with -o"
        ) from None
    except RuntimeError as error:
        if "Symlink loop" not in str(error):
            raise
        raise OutputError(f"cannot write {os.fspath(folder)}: {REASONS[errno.ELOOP]}") from None


def reason(error: OSError) -> str:
    return REASONS.get(error.errno or 0) or error.strerror or str(error)


def is_ours(folder: Path) -> bool:
    """Whether a folder was written by fxprune: its plan.json says so."""
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(plan, dict) and MARK in plan


def check_free(target: Path, shown: str | os.PathLike[str]) -> None:
    """Refuse to replace what is not ours.

    Raises:
        OutputError: a file, or a folder that fxprune did not write, is in the way.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{os.fspath(shown)} is a file, not a folder", hint="choose another folder with -o")
    if any(target.iterdir()) and not is_ours(target):
        raise OutputError(
            f"{os.fspath(shown)} exists and was not written by fxprune",
            hint="choose another folder with -o, or remove it yourself",
        )


def beside(target: Path, kind: str) -> Path:
    """A new name beside the folder: who is writing (machine and process) stands in it."""
    return target.with_name(f".{target.name[:100]}.{kind}-{machine()}-{os.getpid()}-{secrets.token_hex(4)}")


def machine() -> str:
    """The host's name without dashes and dots."""
    return "".join(c for c in socket.gethostname() if c.isalnum())[:40] or "host"


def recover(target: Path) -> None:
    """Clear away what killed runs on this machine left beside the folder; put back an old folder moved away."""
    prefix = f".{target.name[:100]}."
    for left in sorted(target.parent.iterdir()):
        words = left.name.removeprefix(prefix).split("-")
        if not left.name.startswith(prefix) or len(words) != 4 or words[0] not in ("tmp", "old"):
            continue
        if words[1] != machine() or not words[2].isdigit() or is_running(int(words[2])):
            continue
        if words[0] == "old" and not target.exists() and is_ours(left):
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def fill_and_move(target: Path, files: Mapping[str, Callable[[Path], None]], check: Callable[[Path], None]) -> None:
    temporary = beside(target, "tmp")
    try:
        temporary.mkdir()
        for name, put in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path)
            sync(path)
        sync(temporary)
        check(temporary)
        swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def swap(new: Path, target: Path) -> None:
    """Move `new` to `target`; an old folder is moved away first, and back if anything fails in between."""
    if not target.exists():
        new.rename(target)
        sync(target.parent)
        return
    old = beside(target, "old")
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
    sync(target.parent)


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
