"""Whatever is passed from turn to turn: the loops that are written compute what the graph computes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from fxprune.emit.source import generate

from .test_source import rebuilt

TURNS = 4
Step = tuple[str, int, int]

# One step: which layer's list, or which operation, and the two values that it reads (counted from the newest).
STEP = st.tuples(
    st.sampled_from(["left", "right", "fixed", "add", "mul", "relu_"]), st.integers(0, 4), st.integers(0, 4)
)
BODY = st.lists(STEP, min_size=1, max_size=5)
CARRY = st.lists(st.integers(0, 5), min_size=1, max_size=3)


class Wired(nn.Module):
    """A loop over layers whose steps read values made before it, in it, and in the turn before."""

    def __init__(self, body: list[Step], carry: list[int], inner: bool, collected: bool) -> None:
        super().__init__()
        self.left, self.right = (nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(TURNS)) for _ in range(2))
        self.body, self.carry, self.inner, self.collected = body, carry, inner, collected

    def step(self, kind: str, turn: int, a: Tensor, b: Tensor) -> Tensor:
        if kind in ("left", "right"):
            return getattr(self, kind)[turn](a)
        if kind == "fixed":
            return self.left[0](a)
        return a + b * 0.5 if kind == "add" else (a * b).tanh() if kind == "mul" else (a - b).relu_()

    def turn(self, number: int, outer: list[Tensor], carried: list[Tensor]) -> list[Tensor]:
        values = [*outer, *carried]
        for kind, first, second in self.body:
            a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
            values.append(self.step(kind, number, a, b))
        return [values[-1 - place % len(values)] for place in self.carry]

    def forward(self, x: Tensor) -> Any:
        outer = [x, x * 0.25]
        carried = [x + 1.0] * len(self.carry)
        kept = []
        for number in range(TURNS):
            repeats = range(TURNS) if self.inner else (number,)
            for again in repeats:
                carried = self.turn(again, outer, carried)
            if self.inner:
                carried = [self.right[number](carried[0]), *carried[1:]]
            kept.append(carried[-1])
        return (*carried, *outer, *(kept if self.collected else ()))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(BODY, CARRY, st.booleans(), st.booleans())
def test_loops_compute_the_same(body: list[Step], carry: list[int], inner: bool, collected: bool) -> None:
    torch.manual_seed(0)
    module = fx.symbolic_trace(Wired(body, carry, inner, collected))
    model, _ = rebuilt(module)
    x = torch.rand(1, 2, 2, 2)
    with torch.no_grad():
        ours, theirs = model(x.clone()), module(x.clone())
    assert len(ours) == len(theirs)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_loops_are_found() -> None:
    """The law above would hold without any loop: some are there."""
    plain = fx.symbolic_trace(Wired([("left", 0, 0), ("right", 0, 0), ("add", 0, 2)], [0], False, False))
    assert generate(plain, title="A test").count("for i in range(0, 4):") == 1
    nested = fx.symbolic_trace(Wired([("left", 0, 0), ("add", 0, 1), ("mul", 0, 1)], [0], True, False))
    text = generate(nested, title="A test")
    assert text.count("for layer in self.left:") == 1
    assert text.count("for layer1 in self.right:") + text.count("for block in self.right:") <= 1
