"""A source of chance → a random network with random weights, and the spec to prune it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from tests.blocks import BLOCKS, Block

__all__ = ["SHAPES", "Case", "Network", "cases", "draw_case", "draw_network", "fill"]

SHAPES = ((1, 3, 16, 12), (2, 3, 8, 16))  # the example's, and another to compare at
MOST = 16_000  # numbers in one value: what keeps a test fast


@dataclass(frozen=True, slots=True)
class Step:
    """One block and the values it works on; value 0 is the image, each output of each step another."""

    block: int
    inputs: tuple[int, ...]


class Network(nn.Module):
    """A program of blocks, run step by step."""

    def __init__(
        self, blocks: Sequence[Block], steps: Sequence[Step], outputs: Sequence[int], wrap: str = "one"
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.steps, self.outputs, self.wrap = tuple(steps), tuple(outputs), wrap

    def forward(self, x: Any) -> Any:
        values = [x]
        for step in self.steps:
            made = self.blocks[step.block](*(values[k] for k in step.inputs))
            if len(self.blocks[step.block].out) == 1:
                values.append(made)
            else:
                values.extend(made[k] for k in range(len(self.blocks[step.block].out)))
        found = [values[k] for k in self.outputs]
        if self.wrap == "one":
            return found[0]
        return tuple(found) if self.wrap == "tuple" else {f"out{k}": y for k, y in enumerate(found)}

    def extra_repr(self) -> str:
        lines, value = [], 1
        for step in self.steps:
            count = len(self.blocks[step.block].out)
            made = ", ".join(f"v{value + k}" for k in range(count))
            lines.append(f"{made} = blocks.{step.block}({', '.join(f'v{k}' for k in step.inputs)})")
            value += count
        return "\n".join([*lines, f"return {self.wrap} {', '.join(f'v{k}' for k in self.outputs)}"])

    def pruned(self) -> Network:
        """The same network without the steps that nothing depends on."""
        firsts, value = [], 1
        for step in self.steps:
            firsts.append(value)
            value += len(self.blocks[step.block].out)
        wanted, kept = set(self.outputs), []
        for step, first in reversed(list(zip(self.steps, firsts, strict=True))):
            if wanted & set(range(first, first + len(self.blocks[step.block].out))):
                wanted |= set(step.inputs)
                kept.append((step, first))
        kept.reverse()
        value_of, block_of = {0: 0}, {}
        for step, first in kept:
            block_of.setdefault(step.block, len(block_of))
            for k in range(len(self.blocks[step.block].out)):
                value_of[first + k] = len(value_of)
        steps = [Step(block_of[s.block], tuple(value_of[k] for k in s.inputs)) for s, _ in kept]
        blocks: list[Any] = [self.blocks[k] for k in block_of]
        return Network(blocks, steps, [value_of[k] for k in self.outputs], self.wrap)


def fill(net: nn.Module, r: Random) -> nn.Module:
    """Random numbers into every parameter and buffer, none of them zero, of a size that keeps activations near one."""
    generator = torch.Generator().manual_seed(r.randrange(2**31))
    with torch.no_grad():
        for name, tensor in (*net.named_parameters(), *net.named_buffers()):
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.dim() > 1:
                tensor.copy_(1.2 * noise / max(1, tensor[0].numel()) ** 0.5)
            else:
                tensor.copy_(0.3 * noise + 0.1)
    return net


def draw_network(r: Random, most: int = 12) -> Network:
    """A random network of up to so many steps; its input is an image of three channels."""
    blocks: list[Block] = [_make("conv", r, 3)]
    steps = [Step(0, (0,))]
    values: list[tuple[int, Fraction]] = [(3, Fraction(1)), (blocks[0].out[0], Fraction(1))]
    names, weights = list(BLOCKS), [often for *_, often in BLOCKS.values()]
    wanted = r.randint(min(5, most), most)
    for _ in range(4 * most):
        if len(steps) > wanted:
            break
        name = r.choices(names, weights)[0]
        step = _again(r, blocks, steps, values) if r.random() < 0.06 else _next(name, r, blocks, values)
        if step is not None:
            steps.append(step)
            zoom = values[step.inputs[0]][1] * blocks[step.block].zoom
            values.extend((c, zoom) for c in blocks[step.block].out)
    return _finish(r, blocks, steps, values)


def _make(name: str, r: Random, *channels: int) -> Block:
    block = BLOCKS[name][0](r, *channels)
    assert block is not None
    return block


def _pick(r: Random, values: Sequence[tuple[int, Fraction]]) -> int:
    """A value, more likely a recent one; seldom the image itself, which cannot be cut."""
    found = len(values) - 1 - min(r.choice([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 6]), len(values) - 1)
    return max(found, 1) if len(values) > 1 and r.random() < 0.9 else found


def _next(name: str, r: Random, blocks: list[Block], values: list[tuple[int, Fraction]]) -> Step | None:
    """A new block on values that fit it; None if none do."""
    make, arity, equal, _ = BLOCKS[name]
    first = _pick(r, values)
    channels, zoom = values[first]
    fits = [k for k, v in enumerate(values) if v == values[first] or (not equal and v[1] == zoom)]
    if equal and arity == 2:
        others = [k for k in fits if k != first]
        if not others:  # make it fit: a convolution of some other value
            near = [k for k, v in enumerate(values) if v[1] == zoom]
            return _next("conv", r, blocks, [values[k] for k in near]) if len(near) == len(values) else None
        inputs: tuple[int, ...] = (first, r.choice(others))
    else:
        inputs = (first, *(r.choice(fits) for _ in range(arity - 1)))
    block = make(r, *(values[k][0] for k in inputs)) if not equal else make(r, channels)
    if block is None:
        return None
    at = zoom * block.zoom
    if sum(block.out) * 16 * 12 * at * at > MOST or at < Fraction(1, 2) or max(block.out) > 64:
        return None
    blocks.append(block)
    return Step(len(blocks) - 1, inputs)


def _again(r: Random, blocks: list[Block], steps: list[Step], values: list[tuple[int, Fraction]]) -> Step | None:
    """A block that is there already, on another value."""
    step = r.choice(steps)
    wanted = [values[k][0] for k in step.inputs]
    block = blocks[step.block]
    inputs = []
    zoom: Fraction | None = None
    for channels in wanted:
        fits = [k for k, v in enumerate(values) if v[0] == channels and (zoom is None or v[1] == zoom)]
        if not fits:
            return None
        inputs.append(r.choice(fits))
        zoom = values[inputs[0]][1]
    at = (zoom or 1) * block.zoom
    if sum(block.out) * 16 * 12 * at * at > MOST or at < Fraction(1, 2):
        return None
    return Step(step.block, tuple(inputs))


def _finish(r: Random, blocks: list[Block], steps: list[Step], values: list[tuple[int, Fraction]]) -> Network:
    """Most networks end in a convolution to an image; some give back what they have, or several values."""
    ends = [len(values) - 1]
    if r.random() < 0.25:
        ends.append(_pick(r, values[1:]) + 1)
    outputs = []
    for end in ends:
        if r.random() < 0.85:
            blocks.append(Last(values[end][0]))
            steps.append(Step(len(blocks) - 1, (end,)))
            values.append((3, values[end][1]))
            outputs.append(len(values) - 1)
        else:
            outputs.append(end)
    wrap = "one" if len(outputs) == 1 else r.choice(["tuple", "dict"])
    net = Network(blocks, steps, outputs, wrap)
    return net if r.random() < 0.1 else net.pruned()


class Last(Block):
    """To three channels."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(c, 3, 3, padding=1), (3,)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the spec to prune it by."""

    network: Network
    spec: str

    def __repr__(self) -> str:
        return f"{self.network!r}\n{self.spec}"


def draw_case(r: Random, most: int = 12) -> Case:
    """A random network, filled with random numbers, and a random spec."""
    net = draw_network(r, most)
    fill(net, r)
    if r.random() < 0.3:
        net.train()
    if r.random() < 0.2:
        net.requires_grad_(False)
    by = r.choice(["l1", "l2", f"random(seed={r.randrange(100)})", "scale"])
    amount = r.choice(["10%", "50%", "90%", f"{r.randint(1, 99)}%", f"keep {r.randint(1, 6)}"])
    tail = r.choice(["", "", "", " globally" if "keep" not in amount else "", ", multiple of 4", " aggregate max"])
    lines = [f"cut filters {amount} by {by}{tail}"]
    if len(net.blocks) > 2 and r.random() < 0.15:
        lines.insert(0, f"protect blocks.{r.randrange(len(net.blocks) - 1)}")
    return Case(net, "\n".join(lines) + "\n")


def cases(most: int = 12) -> st.SearchStrategy[Case]:
    """Random cases, drawn and shrunk by hypothesis."""
    return st.randoms(use_true_random=False).map(lambda r: draw_case(r, most))
