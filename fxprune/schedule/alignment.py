"""Scales of tied layers → how well they agree on what is unimportant, and the gradient that makes them agree.

Sparsity structure alignment, Zhang et al., "Aligned structured sparsity learning" (NeurIPS 2021), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["agreement", "alignment"]


def alignment(scales: Tensor, remove: int) -> tuple[Tensor, Tensor]:
    """The alignment loss −mean(M Mᵀ) and its exact gradient.

    M's rows are soft masks m_l = sigmoid(γ_l − γ_l,th), where γ_l,th is the smallest scale of layer l that stays if the
    `remove` smallest go: a member of γ_l, through which the gradient flows too. Then −mean(M Mᵀ) = −‖Σ_l m_l‖²/N².

    Args:
        scales: N layers × C channels, γ.
        remove: how many of each layer are to go, in [0, C).

    Returns:
        the loss, a scalar, and its gradient, N × C.
    """
    layers = scales.shape[0]
    at = scales.sort(dim=1, stable=True).indices[:, remove : remove + 1]
    soft = torch.sigmoid(scales - scales.gather(1, at))
    total = soft.sum(0)
    loss = -total.square().sum() / layers**2
    rows = (-2 / layers**2) * total * soft * (1 - soft)
    return loss, rows.scatter_add(1, at, -rows.sum(1, keepdim=True))


def agreement(scales: Tensor, remove: int) -> Tensor:
    """How far the layers agree: the mean over pairs of the share of kept channels they have in common, in [0, 1].

    The hard-mask counterpart of `alignment`; 1 when every layer would keep the same channels.
    """
    layers, width = scales.shape
    kept = scales.sort(dim=1, stable=True).indices[:, remove:]
    hard = torch.zeros_like(scales).scatter_(1, kept, 1.0)
    return hard.sum(0).square().sum() / (layers**2 * (width - remove))
