"""Networks of the zoo → seconds of finding the groups, beside the trace before it and one forward of the network.

    python tools/bench_discovery.py [--networks hat,rcan] [--size 48] [--repeat 3]

Every network runs in a process of its own with one thread, which has seen a three-layer network and nothing else. Two
figures for discovery: the first, when torch meets every kind of call for the first time, and the median of `--repeat`
more. Seconds are the processor's, not the clock's, so that other work on the machine counts for less.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from time import process_time
from typing import Any

CHANNELS = {"nafssr": 6}  # two views


def main() -> None:
    """The table."""
    from fxprune.zoo import NETWORKS

    parser = argparse.ArgumentParser(description="seconds of discovery")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="of the zoo; default: all")
    parser.add_argument("--size", type=int, default=48, help="height and width of the example (default 48)")
    parser.add_argument("--repeat", type=int, default=3, help="further runs, of which the median counts")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.networks.split(",")
    if unknown := sorted(set(names) - set(NETWORKS)):
        parser.error(f"no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    if options.child:
        print(json.dumps(measure(names[0], options.size, options.repeat)))
        return
    print("| network | nodes | trace | discovery, first | again | one forward |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        command = [sys.executable, str(Path(__file__).resolve()), "--child", "--networks", name]
        command += ["--size", str(options.size), "--repeat", str(options.repeat)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        figures = " | ".join(f"{found[key]:.2f} s" for key in ("trace", "first", "again", "forward"))
        print(f"| {name} | {found['nodes']:,} | {figures} |", flush=True)


def measure(name: str, size: int, repeat: int) -> dict[str, float]:
    """Figures of one network."""
    import torch

    from fxprune import zoo
    from fxprune.groups import discover
    from fxprune.rewrite import can_mend
    from fxprune.trace import trace

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    discover(trace(zoo.build("srcnn"), (torch.rand(1, 3, size, size),)), can_mend)
    model = zoo.build(name).eval()
    example = torch.rand(1, CHANNELS.get(name, 3), size, size)
    tracing, traced = timed(lambda: trace(model, (example,)))
    first, _ = timed(lambda: discover(traced, can_mend))
    again = statistics.median(timed(lambda: discover(traced, can_mend))[0] for _ in range(repeat))
    with torch.no_grad():
        model(example)
        forward, _ = timed(lambda: model(example))
    nodes = len(traced.graph.graph.nodes)
    return {"nodes": nodes, "trace": tracing, "first": first, "again": again, "forward": forward}


def timed(function: Any) -> tuple[float, Any]:
    """Processor seconds, and what came out."""
    gc.collect()
    start = process_time()
    out = function()
    return process_time() - start, out


if __name__ == "__main__":
    main()
