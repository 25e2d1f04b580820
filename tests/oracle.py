"""original + `kept` + compact network → how far masked and compact are apart; shares no code with fxprune."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, remove_weight_norm
from torch.utils import _pytree as pytree

__all__ = ["LIMIT", "LIMIT_64", "assert_exact", "distance", "exact", "masked"]

LIMIT = 1e-5  # largest difference allowed in float32, relative to the largest output
LIMIT_64 = 1e-8  # and in float64, where rounding is no excuse

Kept = Mapping[str, Mapping[int, Sequence[int]]]


def masked(original: nn.Module, kept: Kept) -> nn.Module:
    """A copy of the original, in eval mode, with zeros wherever an index is not among those kept."""
    computed = [
        value for part in original.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)
    ]
    net = copy.deepcopy(original, {id(value): value.detach().clone() for value in computed}).eval()
    for part in net.modules():
        if parametrize.is_parametrized(part):
            # torch takes the property off the class, which copies share
            part.__class__ = type(type(part).__name__, type(part).__bases__, dict(vars(type(part))))
            for name in list(part.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(part, name)
        if any(type(hook).__name__ == "WeightNorm" for hook in part._forward_pre_hooks.values()):
            remove_weight_norm(part)
    with torch.no_grad():
        for name, dims in kept.items():
            tensor = _fetch(net, name)
            for dim, indices in dims.items():
                gone = sorted(set(range(tensor.shape[dim])) - set(indices))
                tensor[(slice(None),) * dim + (gone,)] = 0
            _zeroed_anew(net, name, dims)
    return net


def _zeroed_anew(net: nn.Module, name: str, dims: Mapping[int, Sequence[int]]) -> None:
    """Zero the same slices right before each run of their layer: some networks merge their weights in forward."""
    path, _, own = name.rpartition(".")

    def zero(layer: nn.Module, given: object) -> None:
        tensor = getattr(layer, own)
        for dim, indices in dims.items():
            gone = sorted(set(range(tensor.shape[dim])) - set(indices))
            tensor.data[(slice(None),) * dim + (gone,)] = 0

    if isinstance(_fetch(net, name), nn.Parameter):
        net.get_submodule(path).register_forward_pre_hook(zero)


def _fetch(net: Any, name: str) -> torch.Tensor:
    for part in name.split("."):
        net = getattr(net, part)
    return net


def distance(want: nn.Module, got: nn.Module, inputs: tuple[Any, ...]) -> float:
    """Largest difference between two networks' outputs over the largest output of the first; inf if they don't fit."""
    return _apart(*(_run(net, inputs) for net in (want, got)))


def _apart(want: Any, got: Any, scale: Any = None) -> float:
    """Largest difference over the largest output of `want`, or of `scale` where that is larger."""
    a, b, c = (pytree.tree_leaves(x) for x in (want, got, want if scale is None else scale))
    if len(a) != len(b):
        return float("inf")
    worst = 0.0
    for x, y, z in zip(a, b, c, strict=True):
        if not isinstance(x, torch.Tensor):
            if x != y:
                return float("inf")
            continue
        if x.shape != y.shape or not torch.equal(x.isfinite(), y.isfinite()):
            return float("inf")
        x, y, z = x[x.isfinite()].double(), y[y.isfinite()].double(), z[z.isfinite()].double()
        if x.numel():
            high = max(float(v.abs().max()) for v in (x, z) if v.numel())
            worst = max(worst, float((x - y).abs().max()) / max(high, 1e-30))
    return worst


def _run(net: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """From the same random state each time: some networks add noise."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return net(*copy.deepcopy(inputs))


def exact(original: nn.Module, kept: Kept, compact: nn.Module, inputs: tuple[Any, ...]) -> tuple[bool, float]:
    """Whether masked and compact agree, and how far they are apart in the precision that decided.

    Float32 decides when it agrees. Where it does not, the same comparison in float64 tells rounding from a wrong cut:
    relative to the output in float32, which may be all rounding.
    """
    want, got = masked(original, kept), copy.deepcopy(compact).eval()
    rough = _run(want, inputs)
    apart = _apart(rough, _run(got, inputs))
    if apart <= LIMIT:
        return True, apart
    inputs = pytree.tree_map(_double, inputs)
    apart = _apart(_run(want.double(), inputs), _run(got.double(), inputs), rough)
    return apart <= LIMIT_64, apart


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def assert_exact(original: nn.Module, kept: Kept, compact: nn.Module, *shapes: tuple[int, ...]) -> None:
    """Masked and compact agree on images of these shapes."""
    assert shapes
    for k, shape in enumerate(shapes):
        same, apart = exact(original, kept, compact, (torch.rand(shape, generator=torch.Generator().manual_seed(k)),))
        assert same, f"masked and compact are {apart:.3g} apart at {shape}"
