"""A path that something is to be written to → whether that can be; and a single file, whole or as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fxprune.emit.writer import check_free, reason
from fxprune.errors import OutputError

__all__ = ["check_out", "replace_file"]


def check_out(out: Path) -> None:
    """Refuse a folder that cannot be written, before any work is done.

    Raises:
        OutputError: it is not fxprune's, or the place may not be written to.
    """
    try:
        target = out.resolve()
        check_free(target, out)
        above = next(folder for folder in target.parents if folder.exists())
    except OSError as error:
        raise OutputError(f"cannot write {out}: {reason(error)}", hint="choose another folder with -o") from None
    if not above.is_dir():
        raise OutputError(f"cannot write {out}: {above} is a file", hint="choose another folder with -o")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {out}: {above} may not be written", hint="choose another folder with -o")


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file as a whole, or leave it as it was; its permissions stay.

    Raises:
        OutputError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)
