"""Two programs that make the same calls on the same things are the same function; all others are not told to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn

from fxprune.trace.alike import alike

X = torch.rand(1, 4, 6, 6)
W, V = nn.Parameter(torch.rand(4, 4, 1, 1)), nn.Parameter(torch.rand(4, 4, 1, 1))
NORM = nn.LayerNorm(6)


def conv(x: Any, weight: Any = W) -> Any:
    return nn.functional.conv2d(x, weight)


def written(x: Any, first: int = 0, where: int = 1) -> Any:
    """A view is written to after it was taken, and its base is read."""
    y = conv(x)
    y[:, first].mul_(2)
    y[:, where] = 0
    return y + 1


def masked(x: Any, mark: float = 1.0) -> Any:
    """A mask is made from sizes alone, written to on the way."""
    mask = torch.zeros(x.shape[-2:])
    mask[: x.shape[2] // 2] = mark
    return conv(x) * mask


def late(x: Any) -> Any:
    y = conv(x)
    z = y.clone()
    y.mul_(2)
    return z + y


def early(x: Any) -> Any:
    y = conv(x)
    y.mul_(2)
    z = y.clone()
    return z + y


SAME: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "itself": (conv, conv),
    "in place": (written, written),
    "a mask kept": (masked, lambda x: conv(x) * torch.cat([torch.ones(3, 6), torch.zeros(3, 6)])),
    "several outputs": (lambda x: (NORM(x), x.chunk(2, 1), 3), lambda x: (NORM(x), x.chunk(2, 1), 3)),
    "a value that it holds": (lambda x: conv(x) if W.min() >= 0 else x, conv),
}
OTHER: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "another parameter": (conv, lambda x: conv(x, V)),
    "another number": (lambda x: x + 1, lambda x: x + 2),
    "a number of another type": (lambda x: x // 2, lambda x: x // 2.0),
    "another order": (lambda x: x.relu() + 1, lambda x: (x + 1).relu()),
    "another part": (lambda x: x.chunk(2, 1)[0], lambda x: x.chunk(2, 1)[1]),
    "written elsewhere": (written, lambda x: written(x, where=2)),
    "another view written to": (written, lambda x: written(x, first=1)),
    "read before it was written to": (late, early),
    "another mask": (masked, lambda x: masked(x, 0.5)),
    "another output": (lambda x: (x, 3), lambda x: (x, 4)),
    "outputs the other way round": (lambda x: (x + 1, x + 2), lambda x: (x + 2, x + 1)),
}
UNKNOWN: dict[str, Callable[..., Any]] = {
    "random": lambda x: x + torch.rand_like(x),
    "a decision on values": lambda x: x if x.sum() > 0 else -x,
    "what was not given is written to": lambda x: torch.zeros(1, 4, 6, 6).copy_(x),
    "it does not run": lambda x: x.view(5),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_calls(case: str) -> None:
    assert alike(*SAME[case], (X,))


@pytest.mark.parametrize("case", OTHER)
def test_other_calls(case: str) -> None:
    first, second = OTHER[case]
    assert alike(first, first, (X,))
    assert not alike(first, second, (X,))


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_cannot_be_told(case: str) -> None:
    assert not alike(UNKNOWN[case], UNKNOWN[case], (X,))


def test_a_network_and_its_trace_leave_nothing_behind() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 4, 1)).eval()
    graph = fx.symbolic_trace(net)
    assert alike(net.forward, graph.forward, (X,))
    assert torch.allclose(net(X), graph(X))


def test_order_of_inputs() -> None:
    assert alike(torch.sub, torch.sub, (X, X))
    assert not alike(torch.sub, lambda a, b: b - a, (X, X))
