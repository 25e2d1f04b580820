"""What the tests of training share: a tiny network, tiny specs, and a run that records its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fxprune import zoo
from fxprune.lang import parse
from fxprune.train.events import Event
from fxprune.train.loop import Trained, train

EXAMPLE = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
PICTURES = "train dead_leaves(count=3, size=48) validate dead_leaves(count=1, size=32, seed=9)"
DATA = f"data {PICTURES} {{ patch 8, batch 2, workers 0 }}\n"
SRP = (
    DATA
    + """protect tail.*
optimizer adam(lr=1e-2)
mark filters 50% {
    free        by l1
    constrained by random(seed=1)
}
shrink l2 { step 1 every 2, until 3 }
hold 3 steps
cut
finetune 6 steps { lr 1e-3, halve every 2 }
"""
)
ASSL = (
    DATA
    + """protect tail.*
optimizer adam(lr=1e-2)
weight_norm
mark free 50% by scale
align constrained 50% for 4 steps, while shrink l2 on scale { step 1 every 2, until 3 }
mark filters 50% by scale
shrink l2 on scale { step 1 every 2, until 3 }
hold 2 steps
cut
finetune 3 steps { ema 0.9 }
"""
)
LOTTERY = (
    DATA
    + """protect tail.*
optimizer sgd(lr=1e-4, momentum=0.9)
save as start
repeat 2 {
    train 3 steps { clip 1 }
    cut filters 20% by l1
    rewind to start
}
train 3 steps { init new }
"""
)


def network(seed: int = 0) -> nn.Module:
    """EDSR with two blocks, six wide; and dropout, so that torch's random numbers matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = zoo.build("edsr", blocks=2, width=6, scale=2)
    model.get_submodule("body.0").relu = nn.Sequential(nn.ReLU(), nn.Dropout(0.1))  # type: ignore[assignment]
    return model


def run(spec: str, events: list[Event] | None = None, model: nn.Module | None = None, **more: Any) -> Trained:
    """Train the tiny network by a spec."""
    watch = events.append if events is not None else lambda event: None
    return train(parse(spec), model or network(), EXAMPLE, **{"watch": watch, **more})


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    """All of a result's parameters and buffers."""
    return dict(trained.module.state_dict())


def of(events: list[Event], kind: str) -> list[Event]:
    """The events of one kind."""
    return [event for event in events if event.kind == kind]


def same(one: Trained, other: Trained) -> bool:
    """Bit by bit."""
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) and one.kept == other.kept


def folder(tmp_path: Path) -> Path:
    """A folder for a run."""
    return tmp_path / "run"
