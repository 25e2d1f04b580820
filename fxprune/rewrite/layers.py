"""A layer and its compact tensors → the layer rebuilt around them, with its size attributes set anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["rebuild"]


def _conv(layer: Any, channels: tuple[int, int]) -> None:
    layer.in_channels, layer.out_channels = channels
    layer.groups = (layer.out_channels if layer.transposed else layer.in_channels) // layer.weight.shape[1]


def _linear(layer: Any, channels: tuple[int, int]) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _batch_norm(layer: Any, channels: tuple[int, int]) -> None:
    layer.num_features = channels[0]


def _layer_norm(layer: Any, channels: tuple[int, int]) -> None:
    if layer.normalized_shape[-1] != channels[0] and len(layer.normalized_shape) == 1:
        layer.normalized_shape = (channels[0],)


def _group_norm(layer: Any, channels: tuple[int, int]) -> None:
    size = layer.num_channels // layer.num_groups
    if layer.num_channels != channels[0]:
        layer.num_groups = layer.num_groups if channels[0] % layer.num_groups == 0 else channels[0] // size
        layer.num_channels = channels[0]


def _prelu(layer: Any, channels: tuple[int, int]) -> None:
    layer.num_parameters = layer.weight.shape[0]


_SIZES: tuple[tuple[type[nn.Module], Callable[[Any, tuple[int, int]], None]], ...] = (
    (nn.modules.conv._ConvNd, _conv),
    (nn.Linear, _linear),
    (nn.modules.batchnorm._BatchNorm, _batch_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.PReLU, _prelu),
)


def rebuild(layer: nn.Module, tensors: Mapping[str, torch.Tensor], prefix: str, channels: tuple[int, int]) -> nn.Module:
    """A copy of a leaf layer around the compact tensors named `prefix` + its own names.

    `channels` are the widths of what goes in and comes out, along the channel dimension, after the cut. Settings are
    taken over; size attributes (`in_channels`, `num_features`, …) follow the new shapes.
    """
    made = layer.__class__.__new__(layer.__class__)
    made.__dict__ = dict(layer.__dict__)
    made.__dict__["_modules"] = {
        name: None if part is None else rebuild(part, tensors, f"{prefix}{name}.", channels)
        for name, part in layer._modules.items()
    }
    for kind in ("_parameters", "_buffers"):
        held = layer.__dict__[kind]
        made.__dict__[kind] = {name: None if t is None else tensors[prefix + name] for name, t in held.items()}
    made.__dict__["_forward_hooks"] = layer._forward_hooks.copy()
    made.__dict__["_forward_pre_hooks"] = layer._forward_pre_hooks.copy()
    for kind_of, resize in _SIZES:
        if isinstance(made, kind_of):
            resize(made, channels)
    return made
