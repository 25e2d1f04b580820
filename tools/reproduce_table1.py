"""Table 1 of ASSL and SRP: one dense network, cut to the same compact one by four methods; PSNR-Y beside the papers'.

    python tools/reproduce_table1.py OUT --train DIR --test DIR [--scale 0.01] [--blocks 8] [--width 32] [--seeds 3]

The specs are those of specs/, whose steps `--scale` shortens: 1 is the papers' schedule. What is scaled with it is in
`Schedule`. As in the papers, every compact network is finetuned, or trained from scratch, for as many steps. l1+ and
scratch+ get besides what SRP and ASSL spend on pruning; scratch++, which needs no dense network, that one's steps too.
Every run leaves a checkpoint and, when it is done, a line in OUT/results.jsonl: the same command goes on where it was
stopped. Several processes may share OUT, each with a `--seed` of its own; `--table` prints what is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fxprune import zoo
from fxprune.lang import Option, Phase, Spec, parse
from fxprune.train.events import Event, StoppedError
from fxprune.train.loop import Trained, train

SPECS = Path(__file__).parent.parent / "specs"
METHODS = {
    "scratch": "scratch-edsr-x2",
    "scratch+": "scratch-edsr-x2",
    "scratch++": "scratch-edsr-x2",
    "l1": "l1-finetune-edsr-x2",
    "l1+": "l1-finetune-edsr-x2",
    "srp": "srp-edsr-x2",
    "assl": "assl-edsr-x2",
}
PAPERS = {  # Set5 x2 of EDSR-baseline; the dense network: 37.99
    "scratch": {"10%": 37.85, "30%": 37.81, "50%": 37.75, "70%": 37.56, "90%": 36.74},
    "l1": {"10%": 37.91, "30%": 37.81, "50%": 37.73, "70%": 37.58, "90%": 36.87},
    "srp": {"10%": 37.97, "30%": 37.89, "50%": 37.84, "70%": 37.71, "90%": 37.28},
    "assl": {"10%": 37.94, "30%": 37.91, "50%": 37.82, "70%": 37.70, "90%": 37.23},
}
DENSE, FINETUNE = 300_000, 1_000_000  # steps at scale 1
SHRINK, HOLD, ALIGN = 100_020, 43_150, 17_260
GROWTHS = 5_001  # of the penalty, to 0.5
HALVINGS = 5  # of the learning rate while finetuning
PIXELS = 16 * 48**2  # LR pixels of a step
MARGIN = 30.0  # of the ceiling of alpha, in short schedules


def main() -> int:
    """Run what is not done yet, then print the table."""
    arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for seed in () if arguments.table else seeds(arguments):
            dense = dense_network(arguments, seed)
            for r in reversed(arguments.ratios.split(",")):
                for method in arguments.methods.split(","):
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
    parser.add_argument("--finetune", type=float, help="share of the papers' finetuning; default: that of --scale")
    parser.add_argument("--seed", type=int, help="this seed alone, beside other processes for the others")
    parser.add_argument("--margin", type=float, help=f"of the ceiling of alpha; default: {MARGIN:g}, at full length 1")
    parser.add_argument("--methods", default=",".join(METHODS), help="default: all")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table")
    for name, default in (("blocks", 8), ("width", 32), ("patch", 32), ("batch", 16), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def seeds(arguments: argparse.Namespace) -> tuple[int, ...]:
    """What this process runs."""
    return (arguments.seed,) if arguments.seed is not None else tuple(range(arguments.seeds))


@dataclass(frozen=True, slots=True)
class Schedule:
    """The papers' schedule at `scale` of its length, pruning as much.

    Adam moves a weight by about its rate in a step, so with fewer steps the rate is larger: 1/sqrt(scale) times, ten
    times at most. It divides a gradient by its noise, so the penalty's pull on a weight adds up to about
    sum(alpha * rate) / noise, and the noise grows as pixels of a step get fewer: with one over the square root of them.
    The ceiling of alpha makes up for all three, and for the larger gradients of a network that was trained for less:
    `margin`, which was found by trying (docs/results.md). And Adam does not come nearer to zero than its rate, so while
    the penalty holds, the rate falls to a tenth of the papers'.
    """

    scale: float
    finetune: float  # share of finetuning's steps
    pixels: int  # LR pixels of a step
    margin: float  # of the ceiling

    @property
    def rate(self) -> float:
        """Learning rate of SRP, and of all finetuning; 1e-4 at full length."""
        return 1e-4 * min(10.0, float(self.scale**-0.5))

    @property
    def ceiling(self) -> float:
        """What alpha grows to; 0.5 at full length and size, without margin."""
        return float(0.5 * (1e-4 / self.rate) / self.scale * (PIXELS / self.pixels) ** 0.5 * self.margin)

    @property
    def growths(self) -> int:
        """How often alpha grows: as often as in the papers, where there are steps enough."""
        return min(GROWTHS, self.steps(SHRINK))

    def steps(self, full: int) -> int:
        """Steps of a phase that has `full` at full length."""
        return max(1, round(full * self.scale))

    @property
    def pruning(self) -> int:
        """Steps of SRP before the cut."""
        return self.steps(SHRINK) // self.growths * self.growths + self.steps(HOLD)

    def variables(self, method: str) -> dict[str, str]:
        """The variables of a method's spec."""
        extra = (self.pruning if "+" in method else 0) + (self.steps(DENSE) if "++" in method else 0)
        after = max(HALVINGS, round(FINETUNE * self.finetune)) + extra
        ceiling = round(self.ceiling, 6)
        delta = ceiling / max(1, self.growths - 1) * (1 - 1e-6)  # a hair less, so that rounding costs no growth
        return {
            "delta": f"{delta:.9g}",
            "ceiling": f"{ceiling:g}",
            "every": str(self.steps(SHRINK) // self.growths),
            "steady": str(self.steps(HOLD)),
            "settle": "1e-5" if self.scale < 1 else f"{self.rate * (2 if method == 'assl' else 1):g}",
            "ssa": str(self.steps(ALIGN)),
            "after": str(after),
            "halving": str(-(-after // HALVINGS)),
            "rate": f"{self.rate * (2 if method == 'assl' else 1):g}",
            "tune": f"{self.rate:g}",
        }


def schedule(arguments: argparse.Namespace) -> Schedule:
    """That of the command line."""
    return Schedule(
        arguments.scale,
        arguments.finetune or arguments.scale,
        arguments.batch * arguments.patch * arguments.patch,
        arguments.margin or (1.0 if arguments.scale >= 1 else MARGIN),
    )


def dense_network(arguments: argparse.Namespace, seed: int) -> nn.Module:
    """The network that pruning starts from, trained."""
    torch.manual_seed(seed)
    model = zoo.build("edsr", blocks=arguments.blocks, width=arguments.width, scale=2)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker
    rate, steps = schedule(arguments).rate, schedule(arguments).steps(DENSE)
    spec = with_seed(
        parse(
            f'data train "{arguments.train}" validate "{arguments.test}"'
            f" {{ patch {arguments.patch}, batch {arguments.batch} }}\n"
            f"train {steps} steps {{ lr {rate:g}, cosine to {rate / 100:g} }}\n"
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
    """All variables of a method's spec."""
    return {
        **schedule(arguments).variables(method),
        "pictures": f'"{arguments.train}"',
        "tests": f'"{arguments.test}"',
        "patch": str(arguments.patch),
        "batch": str(arguments.batch),
    }


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
    around = [scores_of(event) for event in validations if event.step == cut]
    shrunk = next((e for e in reversed(done.history) if e.kind == "step" and "marked_norm" in e.data), None)
    name = f"dense-{seed}" if method == "dense" else f"{method}-{r.removesuffix('%')}-{seed}"
    line = {
        "run": name,
        "method": method,
        "r": r,
        "seed": seed,
        "steps": done.steps,
        "params": sum(p.numel() for p in done.module.parameters()),
        "psnr": scores_of(validations[-1]),
        "around_cut": around[-2:],
        "norms": None if shrunk is None else [shrunk.data["kept_norm"], shrunk.data["marked_norm"]],
    }
    with (arguments.out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def scores_of(validation: Event) -> dict[str, float]:
    """PSNR-Y by test set."""
    return {one: scores["psnr"] for one, scores in validation.data["sets"].items()}


def results(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What is done."""
    path = arguments.out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """As Markdown: mean and spread over the seeds; Set5 before and after the cut; norms there; the papers' Set5."""
    lines = results(arguments)
    sets = sorted({one for line in lines for one in line["psnr"]}, key=lambda name: (len(name), name))
    count = len({line["seed"] for line in lines})
    dense = {line["seed"]: line["psnr"] for line in lines if line["method"] == "dense"}
    yield f"EDSR {arguments.blocks} x {arguments.width}, x2, scale {arguments.scale:g}, {count} seed(s)"
    yield ""
    heads = ["method", "r", "params", *sets, f"{sets[0]} around the cut", "marked norm", "papers"] if sets else []
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for r in ("0%", *arguments.ratios.split(",")):
        for method in ("dense", *METHODS):
            mine = [line for line in lines if (line["method"], line["r"]) == (method, r)]
            if mine:
                paper = 37.99 if method == "dense" else PAPERS[method].get(r, "") if method in PAPERS else ""
                scores = [spread([line["psnr"][one] for line in mine]) for one in sets]
                cells = [method, r, f"{mine[0]['params']:,}", *scores, around_cut(mine, dense, sets[0]), left(mine)]
                yield "| " + " | ".join([*cells, str(paper)]) + " |"


def around_cut(lines: list[dict[str, Any]], dense: dict[int, dict[str, float]], one: str) -> str:
    """Mean PSNR of a test set before and after the cut; before it, L1 has the dense network."""
    pairs = []
    for line in lines:
        if line["method"] in ("l1", "l1+", "srp", "assl"):
            before, after = (
                line["around_cut"] if len(line["around_cut"]) == 2 else [dense[line["seed"]], *line["around_cut"]]
            )
            pairs.append((before[one], after[one]))
    return " → ".join(f"{statistics.mean(column):.2f}" for column in zip(*pairs, strict=True))


def left(lines: list[dict[str, Any]]) -> str:
    """Mean norm of the marked filters at the cut, as a share of that of the kept ones."""
    shares = [line["norms"][1] / line["norms"][0] for line in lines if line["norms"]]
    return f"{statistics.mean(shares):.2%}" if shares else ""


def spread(values: list[float]) -> str:
    """`37.71 ± 0.03`."""
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


if __name__ == "__main__":
    sys.exit(main())
