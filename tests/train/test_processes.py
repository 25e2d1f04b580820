"""Two gloo processes and one with the same global batch end in the same weights, within rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fxprune.train.checkpoints import Checkpoints
from tests.train.runs import ASSL, SRP, run, weights
from tests.train.worker import network

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SRP, ASSL], ids=["SRP", "ASSL"])
def test_two_are_as_one(spec: str, tmp_path: Path) -> None:
    spec = spec.replace("optimizer adam(lr=1e-2)", "optimizer sgd(lr=1e-4)")  # adam makes much of rounding
    (tmp_path / "spec.prune").write_text(spec)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "tests.train.worker", "spec.prune", "run", "out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"out.{rank}", weights_only=True) for rank in (0, 1))
    alone = weights(run(spec, model=network()))
    assert alone.keys() == first.keys() == second.keys()
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-6)
    assert Checkpoints(tmp_path / "run").steps()
