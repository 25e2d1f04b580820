"""`fxprune compile` that is asked to stop: it saves, says how to go on, and the same command with --resume ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fxprune.train.events import METRICS, read_metrics

ROOT = Path(__file__).parent.parent.parent
SPEC = """model edsr(blocks=1, width=4, scale=2)
data train dead_leaves(count=2, size=48) validate dead_leaves(count=1, size=32) { patch 8, batch 2, workers 0 }
protect tail.*
mark filters 50%
hold 400 steps { log every 1 }
cut
finetune 3 steps
"""


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    """The command, in a folder."""
    command = [sys.executable, "-m", "fxprune", "compile", "slow.prune", "-o", "out", *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_sigterm(tmp_path: Path) -> None:
    (tmp_path / "slow.prune").write_text(SPEC)
    metrics = tmp_path / "out.run" / METRICS
    running = started(tmp_path)
    while running.poll() is None and not (metrics.exists() and any(e.step > 20 for e in read_metrics(metrics))):
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate()
    assert running.returncode == 130, said
    last = said.strip().splitlines()[-2:]
    assert last[0].startswith("stopped after step "), said
    assert last[1].strip() == "hint: what was done is saved in out.run; the same command with --resume goes on"
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    step = int(last[0].rpartition(" ")[2].replace(",", ""))
    going_on = started(tmp_path, "--resume")
    _, said = going_on.communicate()
    assert going_on.returncode == 0, said
    assert (tmp_path / "out" / "model.py").exists()
    steps = [event.step for event in read_metrics(tmp_path / "out" / METRICS) if event.kind == "step"]
    assert steps == list(range(1, 404))
    assert f"{step + 1:,}  hold" in said
