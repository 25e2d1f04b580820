"""What the tests of the zoo count: parameters, weights without biases, MACs."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fxprune.zoo import build

LR_SIZE = {2: (360, 640), 3: (240, 426), 4: (180, 320)}  # height and width that give 1280x720


def meta(name: str, **arguments: object) -> nn.Module:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        return build(name, **arguments)


def parameters(net: nn.Module) -> int:
    """All parameters, biases and fixed ones included; a shared one counts once."""
    return sum(p.numel() for p in net.parameters())


def weights(net: nn.Module) -> int:
    """Parameters with two dimensions or more: no biases, no slopes."""
    return sum(p.numel() for p in net.parameters() if p.ndim > 1)


def macs(net: nn.Module, scale: int, channels: int = 3) -> int:
    """Multiply-accumulates of a 1280x720 output, of a network on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, channels, *LR_SIZE[scale], device="meta"))
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return int(flops // 2)
