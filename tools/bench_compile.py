"""Networks of the zoo → seconds and memory of finding and cutting half of their channels, beside torch-pruning.

    python tools/bench_compile.py [--networks edsr,edsr-l,rcan] [--depths 16,64,256,1024] [--repeat 5] [--json]
    python tools/bench_compile.py --stages swinir_light,swinir,hat [--repeat 1] [--json]

Ours: trace, discovery, rewrite with a random half of each group gone; no verification. The peer: torch-pruning's
MagnitudePruner at ratio 0.5, its dependency graph included. Every run is a process of its own with one thread, ours
and the peer's in turn; the clock starts once the network is built, the libraries are imported and each has seen a
three-layer network. Memory is the peak above what the process held when the clock started, parameters of the original
therefore left out, those of the compact network included (Linux only).

The peer runs the network for real, so the example is small: 1x3x8x8, given in a tuple (from a bare tensor it takes the
batch off and then goes wrong on channel attention). It breaks off on a pixel shuffle with an IndexError, so it gets the
usual way round: the upsampler's convolution is left whole, which here it need not be. Mean shift and last convolution,
which an expert would protect, are named to it too; we find them.

With --stages, every stage of a whole compile of other networks instead, half of the filters gone, at 48x48: processor
seconds of one thread. The peer is torch.export.export of the original, then save and load, with free height and width;
ours leaves the batch free too where it can. Loading is no part of a compile, and in neither sum.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import re
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "edsr": ("edsr", {}),
    "edsr-l": ("edsr", {"blocks": 32, "width": 256, "res_scale": 0.1, "scale": 4}),
    "rcan": ("rcan", {}),
}
NARROW = 8  # width of the networks that show how cost grows with depth
PATIENCE = 60.0  # seconds after which the peer is not asked for more
PEER_LEAVES_WHOLE = ("sub_mean", "add_mean", "tail")


def main() -> int:
    """Both tables, or one JSON object."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="\n".join((__doc__ or "").splitlines()[4:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--depths", default="16,64,256,1024", help="blocks of the EDSRs of width 8; empty: none")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts")
    parser.add_argument("--json", action="store_true", help="print figures for machines instead of tables")
    parser.add_argument("--stages", default="", help="of the zoo: time each stage of a whole compile of these instead")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(**json.loads(options.child))))
        return 0
    if options.stages:
        wholes = {name: compare(name, {}, options.repeat, ("compile", "export")) for name in options.stages.split(",")}
        print(json.dumps(wholes, indent=2) if options.json else "\n".join(staged(wholes)))
        return 0
    names = [name for name in options.networks.split(",") if name]
    if unknown := sorted(set(names) - set(NETWORKS)):
        parser.error(f"no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    if options.repeat < 1 or not re.fullmatch(r"(\d+(,\d+)*)?", options.depths):
        parser.error("--repeat is a number from 1 up, --depths numbers with commas between")
    depths = sorted({int(blocks) for blocks in options.depths.split(",") if blocks})
    networks = {name: compare(*NETWORKS[name], options.repeat) for name in names}
    scaling = deeper(depths, options.repeat)
    if options.json:
        print(json.dumps({"networks": networks, "depth": scaling}, indent=2))
    else:
        print("\n".join([*table(networks), "", *growth(scaling)]))
    return 0


def compare(zoo: str, arguments: dict[str, Any], repeat: int, sides: tuple[str, ...] = ("ours", "peer")) -> Any:
    """Medians over runs, the sides in turn; None for a side that failed or ran out of patience."""
    runs: dict[str, list[Any]] = {side: [] for side in sides}
    failed: dict[str, str] = {}
    for _ in range(repeat):
        for side in sides:
            if side not in failed:
                found = run(side, zoo, arguments)
                if isinstance(found, str):
                    failed[side] = found
                else:
                    runs[side].append(found)
    result: dict[str, Any] = {}
    for side in sides:
        if side in failed:
            result[side] = {"failed": failed[side]}
        else:
            keys = runs[side][0].keys()
            result[side] = {key: statistics.median(found[key] for found in runs[side]) for key in keys}
    return result


def deeper(depths: list[int], repeat: int) -> dict[str, Any]:
    """EDSR of each depth; the peer until it runs out of patience."""
    found: dict[str, Any] = {}
    sides: tuple[str, ...] = ("ours", "peer")
    for blocks in depths:
        found[str(blocks)] = compare("edsr", {"blocks": blocks, "width": NARROW}, repeat, sides)
        if "failed" in found[str(blocks)].get("peer", {}):
            sides = ("ours",)
    return found


def run(side: str, zoo: str, arguments: dict[str, Any]) -> Any:
    """One run in a process of its own: its figures, or why there are none."""
    task = json.dumps({"side": side, "zoo": zoo, "arguments": arguments})
    command = [sys.executable, str(Path(__file__).resolve()), "--child", task]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE if side == "peer" else None
        )
    except subprocess.TimeoutExpired:
        return f"over {PATIENCE:.0f} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])


def child(side: str, zoo: str, arguments: dict[str, Any]) -> dict[str, float]:
    """Build a network, start the clock, cut it in half."""
    import torch

    from fxprune import zoo as networks

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if side in ("compile", "export"):
        return {"compile": whole, "export": exported}[side](networks.build(zoo, **arguments).eval())
    cut = {"ours": ours, "peer": peer}[side]
    example = torch.rand(1, 3, 8, 8)
    start = time.perf_counter()
    cut(networks.build("edsr", blocks=1, width=4), example)
    first = time.perf_counter() - start
    model = networks.build(zoo, **arguments)
    gc.collect()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5") if before else None  # the peak counts from here
    start = time.perf_counter()
    found = cut(model, example)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "mebibytes": (memory("VmHWM") - before) / 2**20 if before else math.nan,
        "first_use_seconds": first,
        "convolutions": sum(isinstance(part, torch.nn.Conv2d) for part in model.modules()),
        **found,
    }


def ours(model: Any, example: Any) -> dict[str, float]:
    """Trace, discover, rewrite; seconds of each, what discovery took in memory, what is left."""
    import numpy as np

    from fxprune.groups import discover
    from fxprune.rewrite import Slicer, can_mend, rewrite
    from fxprune.trace import trace

    before = memory("VmRSS")
    clock = [time.perf_counter()]
    traced = trace(model, (example,))
    clock.append(time.perf_counter())
    groups = discover(traced, can_mend)
    clock.append(time.perf_counter())
    mebibytes = (memory("VmHWM") - before) / 2**20 if before else math.nan
    random = np.random.default_rng(0)
    half = [random.permutation(g.units)[: g.width // 2] for g in groups if g.kind != "protected" and g.width >= 4]
    compact = rewrite(Slicer.of(groups, np.concatenate(half))).module
    clock.append(time.perf_counter())
    stages = dict(zip(("trace", "discover", "rewrite"), np.diff(clock).tolist(), strict=True))
    return {**stages, "discovery_mebibytes": mebibytes, "left": sum(p.numel() for p in compact.parameters())}


def whole(model: Any) -> dict[str, float]:
    """Processor seconds of each stage of a compile, and of loading the program it wrote."""
    import io

    import torch

    from fxprune import lang
    from fxprune.emit.export import export_bytes
    from fxprune.emit.source import generate
    from fxprune.groups import discover
    from fxprune.plan import make_plan
    from fxprune.rewrite import Slicer, can_mend, rewrite, verify
    from fxprune.trace import trace

    clock, example = Clock(), (torch.rand(1, 3, 48, 48),)
    traced = clock("trace", lambda: trace(model, example))
    groups = clock("discover", lambda: discover(traced, can_mend))
    plan = clock("plan", lambda: make_plan(lang.parse("cut filters 50% by l1"), groups))
    made = clock("rewrite", lambda: rewrite(Slicer.of(groups, plan.removed)))
    clock("verify", lambda: verify(made))
    clock("source", lambda: generate(made.module, title="network"))
    program = clock("program", lambda: export_bytes(made.module, example))
    clock("load", lambda: torch.export.load(io.BytesIO(program.data)))
    return {**clock.seconds, "mebibytes": len(program.data) / 2**20, "free": len(program.free)}


def exported(model: Any) -> dict[str, float]:
    """Processor seconds of torch.export, of saving and of loading what it made."""
    import io

    import torch

    free = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    clock, buffer, example = Clock(), io.BytesIO(), (torch.rand(1, 3, 48, 48),)
    made = clock("export", lambda: torch.export.export(model, example, dynamic_shapes=(free,), strict=False))
    clock("save", lambda: torch.export.save(made, buffer))
    clock("load", lambda: torch.export.load(io.BytesIO(buffer.getvalue())))
    return {**clock.seconds, "mebibytes": len(buffer.getvalue()) / 2**20}


class Clock:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, do: Any) -> Any:
        start = time.process_time()
        made = do()
        self.seconds[name] = time.process_time() - start
        return made


def peer(model: Any, example: Any) -> dict[str, float]:
    """Torch-pruning; what is left. It cuts the network it is given."""
    import torch
    import torch_pruning

    ignored = [
        layer
        for name in PEER_LEAVES_WHOLE
        for layer in getattr(model, name).modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    importance = torch_pruning.importance.MagnitudeImportance(p=1)
    torch_pruning.pruner.MagnitudePruner(
        model, (example,), importance=importance, pruning_ratio=0.5, ignored_layers=ignored
    ).step()
    return {"left": sum(p.numel() for p in model.parameters())}


def memory(what: str) -> int:
    """Bytes resident now (VmRSS) or at most so far (VmHWM); 0 where the system does not say."""
    try:
        found = re.search(rf"^{what}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def table(networks: dict[str, Any]) -> list[str]:
    """Seconds, ratio, memory and what is left for each network."""
    lines = [
        "network      convs   ours: trace + discover + rewrite      peer   ratio    MiB: ours (discovery)     peer"
        "    parameters left: ours        peer"
    ]
    for name, found in networks.items():
        mine, other = found["ours"], found["peer"]
        if "failed" in mine:
            lines.append(f"{name:12} ours failed: {mine['failed']}")
            continue
        seconds = f"{mine['seconds']:6.3f} s: {mine['trace']:6.3f} + {mine['discover']:6.3f} + {mine['rewrite']:6.3f}"
        memory = f"{mine['mebibytes']:9.1f} ({mine['discovery_mebibytes']:5.1f})"
        if "failed" in other:
            lines.append(
                f"{name:12}{mine['convolutions']:6.0f}   {seconds}   peer failed: {other['failed']}   {memory}"
            )
            continue
        lines.append(
            f"{name:12}{mine['convolutions']:6.0f}   {seconds}{other['seconds']:9.3f} s"
            f"{other['seconds'] / mine['seconds']:7.1f}   {memory:>24}{other['mebibytes']:9.1f}"
            f"{mine['left']:25,.0f}{other['left']:12,.0f}"
        )
    return lines


def staged(wholes: dict[str, Any]) -> list[str]:
    """Seconds of each stage for each network, and how many times longer torch.export alone takes than the program."""
    stages = ("trace", "discover", "plan", "rewrite", "verify", "source", "program")
    lines = [
        f"{'network':14}{''.join(f'{stage:>10}' for stage in stages)}{'sum':>8}{'load':>8}   torch: export + save, load"
    ]
    for name, found in wholes.items():
        mine, other = found["compile"], found["export"]
        if "failed" in mine:
            lines.append(f"{name:14}{mine['failed']}")
            continue
        line = f"{name:14}{''.join(f'{mine[stage]:10.2f}' for stage in stages)}"
        line += f"{sum(mine[stage] for stage in stages):8.2f}{mine['load']:8.2f}"
        if "failed" in other:
            lines.append(f"{line}   failed: {other['failed']}")
            continue
        theirs = other["export"] + other["save"]
        ratios = f"{theirs / mine['program']:.1f} and {other['load'] / mine['load']:.1f} times ours"
        lines.append(f"{line}{other['export']:10.2f} +{other['save']:6.2f},{other['load']:7.2f}: {ratios}")
    return lines


def growth(scaling: dict[str, Any]) -> list[str]:
    """Seconds in all and per block for each depth."""
    lines = [f"EDSR of width {NARROW}: blocks      ours   per block      peer   per block   ratio"] if scaling else []
    for blocks, found in scaling.items():
        row = f"{blocks:>23}"
        for side in ("ours", "peer"):
            if side not in found:
                row += "   not asked after that"
            elif "failed" in found[side]:
                row += f"   {found[side]['failed']}"
            else:
                seconds = found[side]["seconds"]
                row += f"{seconds:8.3f} s{seconds / int(blocks) * 1000:9.2f} ms"
        if "seconds" in found["ours"] and "seconds" in found.get("peer", {}):
            row += f"{found['peer']['seconds'] / found['ours']['seconds']:8.1f}"
        lines.append(row)
    return lines


if __name__ == "__main__":
    sys.exit(main())
