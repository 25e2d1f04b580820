"""A layer and its compact tensors → the layer rebuilt around them, with its size attributes set anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fxprune.groups.blocks import goes_whole
from fxprune.internals import shell

__all__ = ["rebuild"]


Shape = tuple[int, ...]


def _conv(layer: Any, new_in: Shape, new_out: Shape) -> None:
    made, seen = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    groups, (rows, columns) = layer.groups, layer.weight.shape[:2]
    if groups > 1 and goes_whole(groups, made, seen):
        groups = (new_out if layer.transposed else new_in)[1 - layer.weight.dim()] // columns
    sides = (rows, columns * groups) if layer.transposed else (columns * groups, rows)
    vars(layer).update(in_channels=sides[0], out_channels=sides[1], groups=groups)


def _linear(layer: Any, new_in: Shape, new_out: Shape) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _embedding(layer: Any, new_in: Shape, new_out: Shape) -> None:
    layer.num_embeddings, layer.embedding_dim = layer.weight.shape


def _batch_norm(layer: Any, new_in: Shape, new_out: Shape) -> None:
    layer.num_features = new_in[1]


def _instance_norm(layer: Any, new_in: Shape, new_out: Shape) -> None:
    spatial = {"1d": 1, "2d": 2, "3d": 3}[type(layer).__name__[-2:]]
    layer.num_features = new_in[-spatial - 1]


def _layer_norm(layer: Any, new_in: Shape, new_out: Shape) -> None:
    layer.normalized_shape = new_in[-len(layer.normalized_shape) :]


def _group_norm(layer: Any, new_in: Shape, new_out: Shape) -> None:
    size = layer.num_channels // layer.num_groups
    if layer.num_groups > size:  # whole groups went, not the same channels of each
        layer.num_groups = new_in[1] // size
    layer.num_channels = new_in[1]


def _unflatten(layer: Any, new_in: Shape, new_out: Shape) -> None:
    at = layer.dim % len(new_in)
    layer.unflattened_size = new_out[at : at + len(layer.unflattened_size)]


def _prelu(layer: Any, new_in: Shape, new_out: Shape) -> None:
    layer.num_parameters = layer.weight.shape[0]


_SIZES: tuple[tuple[type[nn.Module], Callable[[Any, Shape, Shape], None]], ...] = (
    (nn.modules.conv._ConvNd, _conv),
    (nn.Linear, _linear),
    (nn.Embedding, _embedding),
    (nn.modules.instancenorm._InstanceNorm, _instance_norm),
    (nn.modules.batchnorm._BatchNorm, _batch_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.RMSNorm, _layer_norm),
    (nn.PReLU, _prelu),
    (nn.Unflatten, _unflatten),
)


def rebuild(
    layer: nn.Module, tensors: Mapping[str, torch.Tensor], prefix: str, new_in: Shape, new_out: Shape
) -> nn.Module:
    """A copy of a leaf layer around the compact tensors named `prefix` + its own names.

    `new_in` and `new_out` are the shapes of what goes in and comes out after the cut. Settings are taken over; size
    attributes (`in_channels`, `num_features`, …) follow.
    """
    made = shell(layer, lambda t: t)
    for path, part in made.named_modules() if made._modules else (("", made),):
        inner = f"{prefix}{path}." if path else prefix
        held: dict[str, Any]
        for held in (vars(part)["_parameters"], vars(part)["_buffers"]):
            held.update({name: tensors[inner + name] for name, t in held.items() if t is not None})
    for kind, resize in _SIZES:
        if isinstance(made, kind):
            resize(made, new_in, new_out)
            break
    return made
