"""Run by test_killed.py: trains the tiny network again and again, each time killed (SIGKILL) somewhere, and resumed.

    python -m tests.train.killing SPEC FOLDER STEP…

For each step prints a JSON object: at which step of which phase it was killed, what the folder held then, and whether
the run that went on ended in the same bits as one that was never killed. Forks after torch was imported, which takes
longer than all the rest.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from fxprune.train.events import METRICS, read_metrics
from tests.train import runs
from tests.train.runs import run, weights


def child(spec: str, folder: Path) -> None:
    """Train, write the result's weights, and end without a word."""
    code = 1
    try:
        trained = run(spec, run=folder, checkpoint_every=3, resume=True)
        kept = {name: {str(dim): list(at) for dim, at in dims.items()} for name, dims in trained.kept.items()}
        torch.save({"weights": weights(trained), "kept": kept}, folder / "result.pt")
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def started(spec: str, folder: Path) -> int:
    """A child that trains."""
    number = os.fork()
    if number == 0:
        child(spec, folder)
    return number


def ended(number: int) -> int:
    """How a child ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def killed(spec: str, folder: Path, step: int, random_: random.Random) -> int:
    """Kill a run a moment after it has told of a step; how it ended."""
    number = started(spec, folder)
    metrics = folder / METRICS
    while not (metrics.exists() and any(event.step >= step for event in read_metrics(metrics)[-3:])):
        if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return ended(number)  # of itself: the caller tells
        time.sleep(0.001)
    time.sleep(random_.uniform(0, 0.03))  # a step takes about as long: in the middle of anything
    os.kill(number, signal.SIGKILL)
    return ended(number)


def main() -> None:
    """All of the steps, one after the other."""
    torch.set_num_threads(1)
    name, place, *steps = sys.argv[1:]
    spec, root = getattr(runs, name), Path(place)
    random_ = random.Random(name)
    assert ended(started(spec, root / "whole")) == 0
    whole = torch.load(root / "whole" / "result.pt", weights_only=True)
    for number, step in enumerate(map(int, steps)):
        folder = root / str(number)
        how = killed(spec, folder, step, random_)
        last = read_metrics(folder / METRICS)[-1]
        left = sorted(path.suffix for path in folder.glob("checkpoint-*"))
        assert ended(started(spec, folder)) == 0
        again = torch.load(folder / "result.pt", weights_only=True)
        same = again["kept"] == whole["kept"] and all(
            torch.equal(again["weights"][name], tensor) for name, tensor in whole["weights"].items()
        )
        swept = not list(folder.glob("*.tmp"))
        told = {"step": last.step, "phase": last.phase, "how": how, "left": left, "same": same, "swept": swept}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
