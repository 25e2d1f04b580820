"""A program for several processes: trains the tiny network by a spec, writes the result's weights.

python -m torch.distributed.run --nproc-per-node 2 -m tests.train.worker SPEC RUN OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.nn import Module

from fxprune import zoo
from tests.train.runs import run

__all__ = ["network"]


def network() -> Module:
    """Without dropout, whose numbers differ between processes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.build("edsr", blocks=2, width=6, scale=2)


def main() -> None:
    """Train; what each process has in the end goes to a file of its own."""
    import os

    torch.set_num_threads(1)
    spec, folder, out = sys.argv[1:]
    trained = run(Path(spec).read_text(), model=network(), run=Path(folder), checkpoint_every=4, resume=True)
    torch.save(trained.module.state_dict(), f"{out}.{os.environ.get('RANK', '0')}")


if __name__ == "__main__":
    main()
