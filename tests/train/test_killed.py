"""kill -9 in any phase: the run that is resumed ends as one that was never killed, bit by bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
STEPS = {"SRP": 17, "ASSL": 18, "LOTTERY": 9}
PHASES = {"SRP": {"shrink", "hold", "finetune"}, "ASSL": {"align", "shrink", "hold", "finetune"}, "LOTTERY": {"train"}}


def kills(spec: str, steps: list[int], tmp_path: Path) -> list[dict[str, Any]]:
    """What came of it, in a process of its own."""
    command = [sys.executable, "-m", "tests.train.killing", spec, str(tmp_path), *map(str, steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def sound(found: list[dict[str, Any]]) -> None:
    """All were killed, at most one after its end; none ended otherwise, or left anything half written."""
    assert sum(one["how"] != -signal.SIGKILL for one in found) <= 1, found
    assert all(one["same"] for one in found), found
    assert all(one["swept"] for one in found), found


def test_a_few(tmp_path: Path) -> None:
    found = kills("ASSL", [3, 9, 15], tmp_path)
    sound(found)
    assert len({one["phase"] for one in found}) > 1


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "times"), [("ASSL", 20), ("SRP", 6), ("LOTTERY", 4)])
def test_many(spec: str, times: int, tmp_path: Path) -> None:
    """Places all over the run, of ASSL's every step; at each, a moment after the step was told."""
    found = kills(spec, [(2 * k + 1) * STEPS[spec] // (2 * times) for k in range(times)], tmp_path)
    sound(found)
    assert PHASES[spec] <= {one["phase"] for one in found}
