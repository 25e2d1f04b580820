"""Networks of the zoo with norms over channels → what exactness costs: seconds of a forward, and the difference.

    python tools/bench_norms.py [--networks swinir_light,nafnet,restormer] [--size 64] [--repeat 7] [--threads 1]

Half of the filters go, once with statistics over the original number of channels (the default: masked = compact) and
once with `norm native`, the stock kernels on what is left. Forwards of the dense network, the exact and the native one
are timed in turn; medians count. The difference is the largest between exact and native, relative to the largest
output, with random weights; those that start at zero get some too, or whole branches would count for nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

import fxprune
from fxprune import zoo

NETWORKS = ("swinir_light", "nafnet", "restormer")
SPEC = "cut filters 50% by random(seed=1)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="what exact norms cost")
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"of the zoo; default: {','.join(NETWORKS)}")
    parser.add_argument("--size", type=int, default=64, help="height and width of the input (default 64)")
    parser.add_argument("--repeat", type=int, default=7, help="forwards of each")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| network | dense | exact | native | exact / native | difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in options.networks.split(","):
        image = torch.rand(1, 3, options.size, options.size)
        dense = built(name)
        exact = fxprune.compile(SPEC, dense, image)
        native = fxprune.compile(f"norm native\n{SPEC}", dense, image)
        a, b, c = (statistics.median(s) for s in seconds([dense, exact.module, native.module], image, options.repeat))
        print(f"| {name} | {a:.3f} s | {b:.3f} s | {c:.3f} s | {b / c:.2f} | {native.report.native_difference:.1e} |")


def built(name: str) -> nn.Module:
    """A network with random weights, none of them zero."""
    torch.manual_seed(0)
    net = zoo.build(name)
    with torch.no_grad():
        for part in net.parameters():
            if not part.any():
                part.normal_(0, 0.1)
    return net.eval()


def seconds(nets: list[nn.Module], image: torch.Tensor, repeat: int) -> list[list[float]]:
    """Seconds of each forward of each network, taken in turn; the first round is not counted."""
    found: list[list[float]] = [[] for _ in nets]
    with torch.inference_mode():
        for turn in range(repeat + 1):
            for net, mine in zip(nets, found, strict=True):
                start = time.perf_counter()
                net(image)
                if turn:
                    mine.append(time.perf_counter() - start)
    return found


if __name__ == "__main__":
    main()
