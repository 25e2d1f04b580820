"""`Pruner` under DistributedDataParallel: two gloo processes prune as one with the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.schedule import test_pruner as shared
from tests.schedule.parallel import run

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["SRP", pytest.param("ASSL", marks=pytest.mark.slow)])
def test_two_are_as_one(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-m", "tests.schedule.parallel", name, "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"out.{rank}", weights_only=True) for rank in (0, 1))
    alone = run(getattr(shared, name))
    assert alone.keys() == first.keys() == second.keys()
    for key, tensor in alone.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], tensor, rtol=1e-4, atol=1e-6)
