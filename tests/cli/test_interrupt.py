"""Ctrl-C, a request to end and a kill leave the output folder absent or whole, and say no more than they must."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork")

POINTS = 12


def test_output_is_absent_or_whole(place: Path) -> None:
    (place / "half.prune").write_text("cut filters 50%\nemit python\n")
    script = Path(__file__).with_name("interrupting.py")
    done = subprocess.run(
        [sys.executable, str(script), str(POINTS)],
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == POINTS + 1, done.stderr
    for run in runs:
        assert run["state"] in ("absent", "whole"), run
        assert "Traceback" not in run["said"], run["said"]
        if run["signal"] != signal.SIGKILL:
            assert run["code"] in (0, 130), run
    interrupted = [run for run in runs if run["code"] == 130]
    assert interrupted
    assert {run["said"].splitlines()[-1] for run in interrupted if run["said"]} <= {"interrupted"}
    assert (runs[-1]["code"], runs[-1]["state"], runs[-1]["beside"]) == (0, "whole", ["out"])


def test_ctrl_c_while_everything_is_still_being_imported(place: Path) -> None:
    command = "import sys, fxprune.cli; print('ready', flush=True); fxprune.cli.main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "compile", "cut filters 50%", "net.py"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert not (place / "out").exists()
