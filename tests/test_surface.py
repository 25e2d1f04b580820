"""The public surface is short, sorted and pinned."""

from __future__ import annotations

import subprocess
import sys

import fxprune

PUBLIC = [
    "Calibration",
    "Compiled",
    "FxpruneError",
    "Groups",
    "Pruner",
    "Spec",
    "analyze",
    "compile",
    "load",
    "parse",
    "rule",
]


def test_names() -> None:
    assert fxprune.__all__ == PUBLIC == sorted(PUBLIC)
    assert all(getattr(fxprune, name).__doc__ for name in PUBLIC)


def test_import_is_light() -> None:
    seen = subprocess.run(
        [sys.executable, "-c", "import fxprune, sys; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert seen.stdout.strip() == "False", seen.stderr
