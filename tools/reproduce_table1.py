"""Table 1 of ASSL and SRP: one dense network, cut to the same compact one by four methods; PSNR-Y beside the papers'.

    python tools/reproduce_table1.py OUT --train DIR --test DIR [--scale 0.01] [--blocks 8] [--width 32] [--seeds 3]

The specs are those of specs/, whose steps `--scale` shortens: 1 is the papers' schedule. All methods get as many steps
after the dense network: what SRP and ASSL spend on pruning, L1 spends on finetuning, and scratch, which has no dense
network to begin with, gets the dense one's steps too. Every run leaves a checkpoint and, when it is done, a line in
OUT/results.jsonl: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import nn

from fxprune import zoo
from fxprune.lang import Option, Phase, Spec, parse
from fxprune.train.events import Event, StoppedError
from fxprune.train.loop import Trained, train

SPECS = Path(__file__).parent.parent / "specs"
METHODS = {"scratch": "scratch-edsr-x2", "l1": "l1-finetune-edsr-x2", "srp": "srp-edsr-x2", "assl": "assl-edsr-x2"}
PAPERS = {  # Set5 x2 of EDSR-baseline; the dense network: 37.99
    "scratch": {"10%": 37.85, "30%": 37.81, "50%": 37.75, "70%": 37.56, "90%": 36.74},
    "l1": {"10%": 37.91, "30%": 37.81, "50%": 37.73, "70%": 37.58, "90%": 36.87},
    "srp": {"10%": 37.97, "30%": 37.89, "50%": 37.84, "70%": 37.71, "90%": 37.28},
    "assl": {"10%": 37.94, "30%": 37.91, "50%": 37.82, "70%": 37.70, "90%": 37.23},
}
DENSE, FINETUNE = 300_000, 1_000_000  # steps at scale 1
PRUNING = 100_020 + 43_150  # steps of SRP before the cut


def main() -> int:
    """Run what is not done yet, then print the table."""
    arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for seed in range(arguments.seeds):
            dense = dense_network(arguments, seed)
            for r in arguments.ratios.split(","):
                for method in METHODS:
                    pruned(arguments, dense, method, r, seed)
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        return 130
    print("\n".join(table(arguments)))
    return 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for runs and results")
    parser.add_argument("--train", default="dead_leaves", help="folder of training images; default: drawn ones")
    parser.add_argument("--test", default="dead_leaves", help="folder of test sets")
    parser.add_argument("--scale", type=float, default=0.01, help="share of the papers' steps; default 0.01")
    parser.add_argument("--ratios", default="50%,90%", help="what is removed; default 50%%,90%%")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rate", type=float, help="learning rate; default: the papers', larger for short schedules")
    for name, default in (("blocks", 8), ("width", 32), ("patch", 32), ("batch", 16), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def dense_network(arguments: argparse.Namespace, seed: int) -> nn.Module:
    """The network that pruning starts from, trained."""
    torch.manual_seed(seed)
    model = zoo.build("edsr", blocks=arguments.blocks, width=arguments.width, scale=2)
    steps = max(1, round(DENSE * arguments.scale))
    spec = with_seed(
        parse(
            f'data train "{arguments.train}" validate "{arguments.test}"'
            f" {{ patch {arguments.patch}, batch {arguments.batch} }}\n"
            f"train {steps} steps {{ lr {rate(arguments):g}, cosine to {rate(arguments) / 100:g} }}\n"
        ),
        seed,
    )
    done = run(arguments, spec, model, f"dense-{seed}")
    if done is not None:
        note(arguments, "dense", "0%", seed, done)
        torch.save(done.module.state_dict(), arguments.out / f"dense-{seed}.pt")
    model.load_state_dict(torch.load(arguments.out / f"dense-{seed}.pt", weights_only=True))
    return model


def pruned(arguments: argparse.Namespace, dense: nn.Module, method: str, r: str, seed: int) -> None:
    """One method at one ratio."""
    path = SPECS / f"{METHODS[method]}.prune"
    known = parse(path).variables
    given = {name: value for name, value in variables(arguments, method).items() if name in known}
    spec = with_seed(parse(path, variables={**given, "r": r}), seed)
    done = run(arguments, spec, dense, f"{method}-{r.removesuffix('%')}-{seed}")
    if done is not None:
        note(arguments, method, r, seed, done)


def variables(arguments: argparse.Namespace, method: str) -> dict[str, str]:
    """The published schedule, shortened."""
    scale = arguments.scale
    growth = min(Fraction(1, 20), Fraction(1, 10_000) / Fraction(scale).limit_denominator(10**6))
    growths = math.floor(Fraction(1, 2) / growth) + 1
    every = max(1, round(100_020 * scale / growths))
    aligning = max(1, round(17_260 * scale))
    steady = max(1, round(43_150 * scale))
    after = max(1, round(FINETUNE * scale))
    extra = {"l1": PRUNING * scale, "scratch": (PRUNING + DENSE) * scale}.get(method, 0)
    return {
        "delta": f"{float(growth):g}",
        "every": str(every),
        "steady": str(steady),
        "ssa": str(aligning),
        "after": str(after + round(extra)),
        "rate": f"{rate(arguments) * (2 if method == 'assl' else 1):g}",
        "tune": f"{rate(arguments):g}",
        "pictures": f'"{arguments.train}"',
        "tests": f'"{arguments.test}"',
        "patch": str(arguments.patch),
        "batch": str(arguments.batch),
    }


def rate(arguments: argparse.Namespace) -> float:
    """1e-4, and up to ten times that where there are fewer steps: Adam moves a weight by no more than that in each."""
    return float(arguments.rate or 1e-4 * min(10.0, arguments.scale**-0.5))


def with_seed(spec: Spec, seed: int) -> Spec:
    """The spec with patches of another seed."""
    statements = tuple(
        replace(s, options=(*s.options, Option("seed", (seed,)))) if isinstance(s, Phase) and s.word == "data" else s
        for s in spec.statements
    )
    return Spec(statements)


def run(arguments: argparse.Namespace, spec: Spec, model: nn.Module, name: str) -> Trained | None:
    """Train; None if that was done before."""
    if any(line["run"] == name for line in results(arguments)):
        return None
    folder = arguments.out / f"{name}.run"

    def watch(event: Event) -> None:
        if event.kind == "validate":
            print(f"{name:<14} {event.step:>8} {event.phase:<9} {event.data['psnr']:.2f} dB", file=sys.stderr)

    return train(spec, model, torch.rand(1, 3, 24, 24), run=folder, device=arguments.device, resume=True, watch=watch)


def note(arguments: argparse.Namespace, method: str, r: str, seed: int, done: Trained) -> None:
    """Write a result down."""
    validations = [event for event in done.history if event.kind == "validate"]
    cut = next((event.step for event in done.history if event.kind == "cut"), None)
    around = [event.data["psnr"] for event in validations if event.step == cut]
    name = f"dense-{seed}" if method == "dense" else f"{method}-{r.removesuffix('%')}-{seed}"
    line = {
        "run": name,
        "method": method,
        "r": r,
        "seed": seed,
        "steps": done.steps,
        "params": sum(p.numel() for p in done.module.parameters()),
        "psnr": {one: scores["psnr"] for one, scores in validations[-1].data["sets"].items()},
        "around_cut": around[-2:],
    }
    with (arguments.out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def results(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """What is done."""
    path = arguments.out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """Mean and spread over the seeds; PSNR before and after the cut; the papers' figure for EDSR-baseline."""
    lines = results(arguments)
    sets = sorted({one for line in lines for one in line["psnr"]})  # type: ignore[attr-defined]
    yield f"EDSR {arguments.blocks} x {arguments.width}, x2, scale {arguments.scale:g}, {arguments.seeds} seed(s)"
    yield (
        f"{'method':<9}{'r':>5}{'params':>11}"
        + "".join(f"{one:>18}" for one in sets)
        + f"{'cut':>16}{'papers, Set5':>14}"
    )
    for r in ("0%", *arguments.ratios.split(",")):
        for method in ("dense", *METHODS):
            mine = [line for line in lines if (line["method"], line["r"]) == (method, r)]
            if not mine:
                continue
            cells = "".join(f"{spread([line['psnr'][one] for line in mine]):>18}" for one in sets)  # type: ignore[index]
            around = [line["around_cut"] for line in mine if len(line["around_cut"]) == 2]  # type: ignore[arg-type]
            cut = " -> ".join(f"{statistics.mean(column):.2f}" for column in zip(*around, strict=True))  # type: ignore[arg-type]
            paper = 37.99 if method == "dense" else PAPERS[method].get(r)
            yield f"{method:<9}{r:>5}{mine[0]['params']:>11,}{cells}{cut:>16}{paper or '':>14}"


def spread(values: list[float]) -> str:
    """`37.71 ± 0.03`."""
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


if __name__ == "__main__":
    sys.exit(main())
