"""Run by test_parallel.py under torchrun: the loop of the docs with DistributedDataParallel, each process its patches.

    python -m torch.distributed.run --nproc-per-node 2 -m tests.schedule.parallel SPEC OUT

Alone, without torchrun, one process takes the whole batch. What each has in the end goes to a file of its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from fxprune.schedule import Pruner
from tests.schedule import test_pruner as shared

__all__ = ["run"]


def from_the_first(decided: Any) -> Any:
    """What rank 0 decided."""
    held = [decided]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def run(spec: str, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """Train and cut; the compact network's weights."""
    model = shared.edsr()
    pruner = Pruner(spec, model, shared.EXAMPLE, **({"agree": from_the_first} if world > 1 else {}))
    wrapped: Any = nn.parallel.DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    step = 0
    while not pruner.done:
        given, target = (half.chunk(world)[rank] for half in shared.batch(step))
        F.l1_loss(wrapped(given), target).backward()
        pruner.before_step()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
        step += 1
    return dict(pruner.cut().module.state_dict())


def main() -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    name, out = sys.argv[1:]
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.save(run(getattr(shared, name), rank, world), f"{out}.{os.environ['RANK']}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
