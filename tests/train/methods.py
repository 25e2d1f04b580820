"""The specs of published methods: scaled down, each runs to its end; at full size, each meets the published size."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch

from fxprune import zoo
from fxprune.lang import Cut, Mark, ModelRef, Phase, Spec, parse
from fxprune.lang.ast import Selecting
from fxprune.pipeline import plan
from fxprune.schedule import Run, program
from fxprune.train.loop import train

__all__ = ["PUBLISHED", "works"]

SPECS = Path(__file__).parent.parent.parent / "specs"
SMALL = {
    "delta": "0.25",
    "every": "1",
    "rate": "1e-3",
    "steady": "2",
    "ssa": "2",
    "after": "2",
    "tune": "1e-3",
    "pictures": "dead_leaves",
    "tests": "dead_leaves",
    "patch": "8",
    "batch": "1",
}
# Parameters of the compact network, methods of ASSL and SRP; r = 50% of EDSR-baseline.
PUBLISHED = {
    "assl-edsr-x2": 381_819,
    "assln-x2": 692_412,
    "assln-x3": 698_907,
    "assln-x4": 708_000,
    "l1-finetune-edsr-x2": 381_819,
    "scratch-edsr-x2": 381_819,
    "srp-edsr-x2": 381_819,
    "srpn-lite-x2": 609_042,
    "srpn-lite-x3": 615_132,
    "srpn-lite-x4": 623_658,
    "srpn-x2": 15_328_667,
}


def published_size(name: str) -> None:
    """What the last marks of a spec, or its cut, leave of the network at full size, without arithmetic."""
    spec = parse(SPECS / f"{name}.prune")
    (model,) = spec.of(ModelRef)
    with torch.device("meta"):
        network = zoo.build(model.name, **model.keywords())
    chosen = spec.of(Mark)[-1] if spec.of(Mark) else spec.of(Cut)[0]
    said = {field.name: getattr(chosen, field.name) for field in fields(Selecting)}
    others = tuple(s for s in spec if not isinstance(s, (Mark, Cut, Phase)))
    made = plan(Spec((*others, Cut(**said))), network, torch.empty(1, 3, 24, 24, device="meta"))
    assert made.cost.params(made.groups.alive(made.removed)) == PUBLISHED[name]


def published_schedule(name: str) -> None:
    """Steps of each phase: 100,020 of shrinking, 43,150 of holding, 17,260 of ssa."""
    runs = [item for item in program(parse(SPECS / f"{name}.prune")).items if isinstance(item, Run)]
    want = {"shrink": 100_020, "hold": 43_150, "align": 17_260, "finetune": 1_000_000, "train": 1_000_000}
    assert [run.length() for run in runs] == [want[run.word] for run in runs]


def scaled_down(name: str) -> None:
    """A few steps on a small network of the same kind."""
    path = SPECS / f"{name}.prune"
    known = parse(path).variables
    spec = parse(path, variables={key: value for key, value in SMALL.items() if key in known})
    (model,) = spec.of(ModelRef)
    small = {"blocks": 1, "width": 12} | ({"groups": 1} if model.name == "rcan" else {})
    network = zoo.build(model.name, **{**model.keywords(), **small})
    trained = train(spec, network, torch.rand(1, 3, 12, 12))
    assert trained.verified is not None
    assert trained.verified.difference < 1e-5
    cut = {d.group.name for d in trained.plan.decisions if len(d.removed)}
    assert "head" in cut
    assert trained.psnr is not None


def works(name: str) -> None:
    """All of it."""
    published_size(name)
    published_schedule(name)
    scaled_down(name)
