"""TensorBoard gets the numbers of a run; where it is not installed, that is said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fxprune.errors import InputError
from fxprune.train import board
from fxprune.train.board import Board
from tests.train.runs import ASSL, run


class Writer:
    """Keeps what it is given."""

    made: list[Writer]

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: dict[str, list[tuple[int, float]]] = {}
        self.texts: list[str] = []
        type(self).made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.setdefault(name, []).append((step, value))

    def add_text(self, name: str, text: str, step: int) -> None:
        self.texts.append(text)

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    Writer.made = []
    monkeypatch.setattr(board, "_writer", lambda: Writer)
    return Writer.made


def test_what_is_written(writers: list[Writer], tmp_path: Path) -> None:
    run(ASSL, watch=Board(tmp_path))
    (writer,) = writers
    assert writer.folder == str(tmp_path)
    assert writer.closed
    assert writer.texts == ["align", "shrink", "hold", "cut", "finetune"]
    assert {"train/loss", "train/learning rate", "penalty/alpha", "norm/kept", "norm/marked"} <= writer.scalars.keys()
    assert any(name.startswith("agreement/") for name in writer.scalars)
    assert {"psnr/dead_leaves", "ssim/dead_leaves"} <= writer.scalars.keys()
    assert [step for step, _ in writer.scalars["train/loss"]] == list(range(1, 18))


def test_nothing_is_opened_before_something_happens(writers: list[Writer], tmp_path: Path) -> None:
    Board(tmp_path)
    assert writers == []


def test_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"not installed(?s:.*)fxprune\[tensorboard\]"):
        Board(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_that_tensorboard_reads(tmp_path: Path) -> None:
    place = "tensorboard.backend.event_processing.event_accumulator"
    accumulator: Any = pytest.importorskip(place, reason="tensorboard is not installed")
    run(ASSL, watch=Board(tmp_path))
    read = accumulator.EventAccumulator(str(tmp_path))
    read.Reload()
    assert "train/loss" in read.Tags()["scalars"]
    assert [one.step for one in read.Scalars("train/loss")] == list(range(1, 18))
