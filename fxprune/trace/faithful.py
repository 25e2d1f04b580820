"""Module + graph → do they agree? A trace is believed only once it was run beside the model it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.trace.sizes import Scale, images, resized

__all__ = ["LARGER", "Outputs", "agreements"]

SMALL = 16  # pixels, height and width of the smallest image to compare at: whole windows for most networks
LARGER: tuple[Scale, ...] = ((1, 2), (2, 1), (2, 3))


class Outputs:
    """What a module gives for its example scaled in height and width; it is run once at each size."""

    def __init__(self, module: nn.Module, example: tuple[Any, ...]) -> None:
        self.module = module
        self.example = example
        self.known: dict[Scale, tuple[tuple[Any, ...], Any] | None] = {}
        self.agreed: list[Scale] = []  # where a trace gave the same
        self.smaller = _smaller(example)  # scales to run at: the smallest first, the example's own last

    def at(self, scale: Scale) -> tuple[tuple[Any, ...], Any] | None:
        """Inputs of that size, and what the module gives for them; None if it does not run there."""
        if scale not in self.known:
            inputs = self.inputs(scale)
            try:
                self.known[scale] = inputs, _run(self.module.forward, inputs)
            except (Exception, SystemExit):  # the model's own code
                self.known[scale] = None
        return self.known[scale]

    def inputs(self, scale: Scale) -> tuple[Any, ...]:
        """The example's like of that size, random."""
        scaled: tuple[Any, ...] = resized(self.example, scale, _random)
        return scaled


def agreements(
    outputs: Outputs, graph: fx.GraphModule, scales: Iterable[Scale], enough: int, narrower: bool = True
) -> int | None:
    """At how many sizes module and graph gave the same; None if they do not agree.

    Sizes that the module itself refuses, or that a guard of the graph does, are passed over.

    Args:
        outputs: of the module.
        scales: of the example's height and width, in the order to try.
        enough: stop after so many.
        narrower: pass over sizes at which only the graph fails, as long as they agree at one; a graph that gives
            something else is wrong, one that fails is only for fewer sizes.
    """
    agreed = failed = 0
    for scale in scales:
        if agreed == enough:
            break
        if scale in outputs.known and outputs.known[scale] is None:
            continue
        try:
            got, fails = _run(graph.forward, outputs.inputs(scale)), False
        except AssertionError:  # a guard, met early: the module need not run
            continue
        except Exception:  # whatever the trace of the model raises
            fails = True
        known = outputs.at(scale)
        if known is None:
            continue
        if fails:  # the model runs where its trace does not
            failed += 1
            if narrower:
                continue
            return None
        if not _same(known[1], got):
            return None
        agreed += 1
        outputs.agreed.append(scale)
    return None if failed and not agreed else agreed


def _run(forward: Any, inputs: tuple[Any, ...]) -> Any:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return forward(*pytree.tree_map_only(torch.Tensor, torch.clone, inputs))


def _same(want: Any, got: Any) -> bool:
    a, b = (pytree.tree_leaves(x) for x in (want, got))
    if len(a) != len(b):
        return False
    tensors = [(x, y) for x, y in zip(a, b, strict=True) if isinstance(x, torch.Tensor)]
    return all(
        isinstance(y, torch.Tensor)
        and x.shape == y.shape
        and _close(*(t.to(torch.complex128 if t.is_complex() else torch.float64) for t in (x, y)))
        for x, y in tensors
    )


def _close(x: torch.Tensor, y: torch.Tensor) -> bool:
    scale = float(x.abs().max()) if x.numel() else 0.0
    return torch.allclose(x, y, 1e-3, 1e-4 * scale, equal_nan=True)


def _smaller(example: tuple[Any, ...]) -> tuple[Scale, ...]:
    high, wide = (min((x.shape[d] for x in images(example)), default=1) for d in (-2, -1))
    parts = (Fraction(SMALL, high), Fraction(SMALL, wide)), (Fraction(1, 4),) * 2, (Fraction(1, 2),) * 2
    return (*(part for part in parts if SMALL <= part[0] * high < high and SMALL <= part[1] * wide < wide), (1, 1))


def _random(image: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    if not image.is_floating_point():
        return image
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(image.device, image.dtype)
