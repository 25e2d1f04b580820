"""Events of a run → TensorBoard's files: what `metrics.jsonl` holds, for who watches runs there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fxprune.errors import InputError
from fxprune.train.events import Event

__all__ = ["Board"]

SCALARS = {
    "alpha": "penalty/alpha",
    "kept_norm": "norm/kept",
    "loss": "train/loss",
    "lr": "train/learning rate",
    "marked_norm": "norm/marked",
    "speed": "train/steps per second",
}


class Board:
    """Listens to a run and writes its numbers.

    Args:
        folder: for the files. A run that is resumed takes the place of what came after the checkpoint.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind = _writer()
        self.writer: Any = None

    def __call__(self, event: Event) -> None:
        """Write the numbers of an event down; the first one, of the first process, opens the file."""
        if self.writer is None:
            self.writer = self.kind(str(self.folder), purge_step=event.step + 1)
        for name, value in _scalars(event).items():
            self.writer.add_scalar(name, value, event.step)
        if event.kind in ("phase", "cut"):
            self.writer.add_text("phases", event.phase, event.step)
        if event.kind == "finish":
            self.writer.close()
        elif event.kind != "step":
            self.writer.flush()


def _scalars(event: Event) -> dict[str, float]:
    data: Mapping[str, Any] = event.data
    found = {tag: float(data[name]) for name, tag in SCALARS.items() if event.kind == "step" and name in data}
    found |= {f"agreement/{group}": float(value) for group, value in data.get("agreement", {}).items()}
    if event.kind == "validate":
        for name, scores in data["sets"].items():
            found |= {f"{measure}/{name}": float(value) for measure, value in scores.items()}
    if event.kind == "cut":
        found["cut/parameters"] = float(data["params"])
    return found


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "TensorBoard is not installed", hint="pip install 'fxprune[tensorboard]', or leave --tensorboard out"
        ) from None
    return SummaryWriter
