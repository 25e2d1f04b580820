"""Asking for help costs nothing, and colours are for terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("", "compile", "check", "eval", "fmt", "groups", "zoo")
HEAVY = ("torch", "numpy", "lark", "rich", "networkx")

HELPED = f"""
import sys
from click.testing import CliRunner
from fxprune.cli import front
for command in {COMMANDS}:
    result = CliRunner().invoke(front, [*command.split(), "--help"])
    assert result.exit_code == 0 and "Usage" in result.output, result.output
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELPED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_specs_are_checked_and_laid_out_without_torch(tmp_path: Path) -> None:
    (tmp_path / "a.prune").write_text("cut filters 50%\n")
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom fxprune.cli import front\n"
        "for command in ('check', 'fmt'):\n    assert CliRunner().invoke(front, [command, 'a.prune']).exit_code == 0\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals(no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    from rich.table import Table
    from rich.text import Text

    from fxprune.view.terminal import show

    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    table = Table.grid()
    table.add_row(Text("kept [0-3]", "green"))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        show(table)
        terminal.flush()
        shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert "kept [0-3]" in shown
    assert ("\x1b[32m" in shown) == coloured
