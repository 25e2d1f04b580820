"""What every block is, and the two plainest kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random
from typing import Any

from torch import nn

__all__ = ["Block", "Call", "Plain", "divisors", "width"]


class Block(nn.Module):
    """One step of a network."""

    out: tuple[int, ...]
    zoom = Fraction(1)


def divisors(n: int, least: int = 2) -> list[int]:
    """Divisors of `n`, from `least` on, `n` aside."""
    return [d for d in range(least, n) if n % d == 0]


def width(r: Random) -> int:
    """How many channels to make."""
    return r.choice([2, 4, 6, 8, 8, 12, 16])


class Plain(Block):
    """A layer, or several in a row, that keep what they are told."""

    def __init__(self, out: int, *layers: nn.Module, zoom: Fraction | int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.out, self.zoom = (out,), Fraction(zoom)

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Call(Block):
    """A function without parameters."""

    def __init__(self, name: str, out: Sequence[int], function: Callable[..., Any], zoom: Fraction | int = 1) -> None:
        super().__init__()
        self.name, self.function = name, function
        self.out, self.zoom = tuple(out), Fraction(zoom)

    def forward(self, *x: Any) -> Any:
        return self.function(*x)

    def extra_repr(self) -> str:
        return f"{self.name} -> {self.out}"
