"""The command line run in this process, in a folder of its own that holds a small network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fxprune.cli import front

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*[nn.Conv2d(width, width, 3, padding=1) for _ in range(3)])
        self.tail = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.head(x))
        y = y + self.body(y)
        return nn.functional.pixel_shuffle(self.tail(y), 2)
"""

Run = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small network in `net.py`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Run:
    """`run("compile", "half.prune", "net.py")` → exit code, stdout, stderr."""

    def invoke(*args: str, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(front, args, input=stdin, prog_name="fxprune")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def stable(place: Path) -> Callable[[str], str]:
    """A text without what differs from run to run: times, differences by rounding, this folder's name."""

    def clean(text: str) -> str:
        text = text.replace(str(place), "HERE")
        text = re.sub(r" +\d+\.\d\d s$", " … s", text, flags=re.MULTILINE)
        return re.sub(r"\d\.\de[-+]\d\d", "…", text)

    return clean
