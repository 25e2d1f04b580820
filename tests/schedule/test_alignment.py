"""The alignment loss and gradient, against a literal double-precision transcription of the paper's formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fxprune.schedule.alignment import agreement, alignment


def literal(scales: Tensor, remove: int) -> Tensor:
    """L = -1/N² Σ_i Σ_j m_i · m_j with m_l = sigmoid(γ_l - γ_l,th), one layer and channel after the other."""
    masks = []
    for layer in scales:
        ranked = sorted(range(len(layer)), key=layer.tolist().__getitem__)
        threshold = layer[ranked[remove]]
        masks.append([1 / (1 + torch.exp(-(gamma - threshold))) for gamma in layer])
    total = torch.zeros((), dtype=torch.float64)
    for a in masks:
        for b in masks:
            for x, y in zip(a, b, strict=True):
                total = total + x * y
    return -total / len(masks) ** 2


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**31))
def test_loss_and_gradient(layers: int, width: int, remove: int, seed: int) -> None:
    remove = min(remove, width - 1)
    scales = torch.randn(layers, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mine, gradient = alignment(scales, remove)
    scales.requires_grad_()
    want = literal(scales, remove)
    want.backward()
    assert scales.grad is not None
    torch.testing.assert_close(mine, want.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, scales.grad, rtol=1e-10, atol=1e-14)


def test_by_hand() -> None:
    loss, gradient = alignment(torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64), 1)
    low = 1 / (1 + math.e)  # the channel that goes lies 1 under the threshold, which is the other channel
    assert float(loss) == pytest.approx(-2 * (0.5 + low) ** 2 / 4)
    push = -2 / 4 * (0.5 + low) * low * (1 - low)
    assert gradient.tolist() == [pytest.approx([push, -push]), pytest.approx([-push, push])]


def test_agreement() -> None:
    same = torch.tensor([[0.1, 2.0, 3.0, 0.2], [0.3, 5.0, 1.0, 0.1]])
    apart = torch.tensor([[0.1, 0.2, 3.0, 2.0], [3.0, 5.0, 0.3, 0.1]])
    assert float(agreement(same, 2)) == 1
    assert float(agreement(apart, 2)) == 0.5  # each with itself, no pair in common
