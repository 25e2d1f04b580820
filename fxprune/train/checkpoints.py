"""The state of a run → files that are whole or not there, of which the last two are kept."""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import torch

from fxprune.errors import OutputError

__all__ = ["KEPT", "Checkpoints"]

KEPT = 2
MAGIC = b"fxprune checkpoint 1\n"
NAME = re.compile(r"checkpoint-(\d+)\.pt")


class Checkpoints:
    """The checkpoints in a folder, named by the number of steps done.

    A file is a line that says what it is, the SHA-256 of the rest, and the rest: tensors and plain values as torch
    writes them. It is written beside its place, synced, and moved there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """The steps there are files of, the newest first."""
        if not self.folder.is_dir():
            return []
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def path(self, step: int) -> Path:
        """Where the file of a step is."""
        return self.folder / f"checkpoint-{step:09}.pt"

    def write(self, step: int, state: dict[str, Any]) -> Path:
        """Write a state; older files than the last two are removed when it is there.

        Raises:
            OutputError: it cannot be written, for instance because the disk is full; what was there is untouched.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getbuffer()
        path = self.path(step)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(MAGIC + hashlib.sha256(payload).digest())
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync(self.folder)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OutputError(f"{path}: {error.strerror or error}") from None
        for old in self.steps()[KEPT:]:
            self.path(old).unlink(missing_ok=True)
        return path

    def latest(self) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
        """The newest state that is whole, or None; and a line for each newer file that is not."""
        notes: list[str] = []
        for step in self.steps():
            try:
                return _read(self.path(step)), tuple(notes)
            except (OSError, ValueError) as error:
                notes.append(f"{self.path(step)}: {error}; the one before it is used")
        return None, tuple(notes)

    def clear(self) -> None:
        """Remove all of them."""
        for step in self.steps():
            self.path(step).unlink(missing_ok=True)
        self.sweep()

    def sweep(self) -> None:
        """Remove what was half written when a process was killed."""
        for path in self.folder.glob("checkpoint-*.tmp"):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    head = len(MAGIC) + hashlib.sha256().digest_size
    digest, payload = content[len(MAGIC) : head], content[head:]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        raise ValueError("torn or damaged")
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    assert isinstance(state, dict)
    return state


def _sync(folder: Path) -> None:
    """Make a rename last; not every system lets folders be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
