"""What pruning costs per training step: plain, shrinking and aligning steps of one network, taken in turn, in one run.

    python tools/bench_train.py [--device cuda] [--blocks 16] [--width 64] [--patch 48] [--batch 16] [--rounds 20]

Prints the median time of each kind of step, its share over the plain one, and how fast batches are made. Steps are
taken in turns so that a busy machine slows all kinds alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fxprune import zoo
from fxprune.schedule import Pruner
from fxprune.train.optim import Loss
from fxprune.train.patches import PatchSource
from fxprune.train.pictures import leaves_set

PROTECT = "protect tail.*, sub_mean, add_mean\n"
NEVER = "10000000 steps"
SPECS = {
    "plain": None,
    "shrink": f"{PROTECT}mark filters 50% by l1\nshrink l2 for {NEVER} {{ step 1e-4 every 1 }}\ncut\n",
    "shrink on scale": f"{PROTECT}weight_norm\nmark filters 50% by scale\n"
    f"shrink l2 on scale for {NEVER} {{ step 1e-4 every 1 }}\ncut\n",
    "align + shrink": f"{PROTECT}weight_norm\nmark free 50% by scale\n"
    f"align constrained 50% for {NEVER}, while shrink l2 on scale {{ step 1e-4 every 1 }}\ncut filters 50%\n",
    "weight norm": f"{PROTECT}weight_norm\nhold {NEVER}\ncut filters 50%\n",
}
AGAINST = {"shrink": "plain", "shrink on scale": "weight norm", "align + shrink": "weight norm", "weight norm": "plain"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of training step."""

    name: str
    step: Callable[[torch.Tensor, torch.Tensor], None]


def kind(name: str, arguments: argparse.Namespace) -> Kind:
    """A network of its own with its optimizer, and the step of this kind."""
    torch.manual_seed(0)
    model = zoo.build("edsr", blocks=arguments.blocks, width=arguments.width, scale=2).to(arguments.device).train()
    spec = SPECS[name]
    example = torch.rand(1, 3, 24, 24)
    pruner = None if spec is None else Pruner(spec, model, example, check=False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    loss = Loss("l1")

    def step(given: torch.Tensor, target: torch.Tensor) -> None:
        loss(model(given), target).backward()
        if pruner is not None:
            pruner.before_step()
        optimizer.step()
        optimizer.zero_grad()
        if pruner is not None:
            pruner.after_step()

    return Kind(name, step)


def measured(kinds: list[Kind], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each step, by kind; the first round is not counted."""
    size = (arguments.batch, 3, arguments.patch, arguments.patch)
    given = torch.rand(size, device=arguments.device)
    target = nn.functional.interpolate(given, scale_factor=2)
    times: dict[str, list[float]] = {one.name: [] for one in kinds}
    for turn in range(arguments.rounds + 1):
        for one in kinds:
            settle(arguments.device)
            start = time.perf_counter()
            for _ in range(arguments.steps):
                one.step(given, target)
            settle(arguments.device)
            if turn:
                times[one.name].append((time.perf_counter() - start) / arguments.steps)
    return times


def settle(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def batches_per_second(arguments: argparse.Namespace) -> float:
    """How fast batches are made by two threads, pictures decoded before."""
    source = PatchSource(
        [leaves_set(16, 2 * arguments.patch * 2, scale=2)], patch=arguments.patch, batch=arguments.batch
    )
    for _ in source.steps(0, 30):
        pass
    start = time.perf_counter()
    for _ in source.steps(30, 130):
        pass
    return 100 / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what pruning costs per training step")
    parser.add_argument("--device", default="cpu")
    for name, default in (("blocks", 16), ("width", 64), ("patch", 48), ("batch", 16), ("rounds", 20), ("steps", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    times = measured([kind(name, arguments) for name in SPECS], arguments)
    shape = f"{arguments.blocks} x {arguments.width}, {arguments.batch} patches of {arguments.patch}x{arguments.patch}"
    print(f"EDSR {shape}, {arguments.device}, {torch.get_num_threads()} threads, medians of {arguments.rounds} rounds")
    for name, seconds in times.items():
        line = f"{name:<16} {statistics.median(seconds) * 1e3:9.2f} ms"
        if name in AGAINST:
            shares = [a / b - 1 for a, b in zip(seconds, times[AGAINST[name]], strict=True)]
            line += f"  {statistics.median(shares):+7.2%} over {AGAINST[name]}"
        print(line)
    print(f"{'batches':<16} {batches_per_second(arguments):9.1f} per second, two threads")


if __name__ == "__main__":
    main()
