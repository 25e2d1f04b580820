"""Weights remembered fit what is left of the network, however it was cut."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from fxprune.errors import PlanError
from fxprune.groups import discover
from fxprune.rewrite import Slicer, can_mend, rewrite
from fxprune.trace import trace
from fxprune.train.memory import Memory
from tests.oracle import assert_exact

IMAGE = (1, 3, 6, 7)


def net() -> nn.Module:
    """A weight-normed layer, a grouped convolution, a norm with buffers."""
    torch.manual_seed(0)
    made = nn.Sequential(
        weight_norm(nn.Conv2d(3, 16, 1)),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=1, groups=4),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 3, 1),
    )
    return made.eval()


def cut(model: nn.Module, seed: int) -> tuple[Any, Slicer]:
    groups = discover(trace(model, (torch.rand(IMAGE),)), can_mend)
    draw = np.random.default_rng(seed)
    chosen = [g.units[draw.permutation(g.width)[: g.width // 3]] for g in groups if g.kind != "protected"]
    slicer = Slicer.of(groups, np.concatenate(chosen))
    return rewrite(slicer), slicer


@pytest.mark.parametrize("seed", range(3))
def test_a_rewind_after_two_cuts_gives_the_masked_original(seed: int) -> None:
    model, memory = net(), Memory()
    memory.save("start", model)
    first, slicer = cut(model, seed)
    memory.cut(slicer)
    again = Memory()
    again.load_state_dict(memory.state_dict(), torch.device("cpu"))  # as from a checkpoint
    with torch.no_grad():
        for parameter in first.module.parameters():
            parameter.add_(1)  # training
    second, slicer = cut(first.module, seed + 100)
    again.cut(slicer)
    again.rewind("start", second.module)
    original = copy.deepcopy(net())
    once, _ = cut(original, seed)
    assert_exact(once.module, second.kept, second.module, IMAGE)


def test_what_was_not_saved_is_not_found() -> None:
    with pytest.raises(PlanError, match="no state is saved as `start`"):
        Memory().rewind("start", net())
