"""`nn.Module` → a copy to work on: own modules and attributes, the same tensors."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize
from torch.utils import _pytree as pytree

from fxprune.errors import TraceError

__all__ = ["fold", "share"]


_PLAIN = frozenset([bool, int, float, str, bytes, type(None), torch.dtype, torch.device, torch.Size])
_EMPTY = frozenset([dict, OrderedDict, set, list])


def share(module: nn.Module, own: bool = False) -> nn.Module:
    """A copy that shares the parameters with the original and nothing else: nothing leaks back.

    As `copy.deepcopy`, but quick: modules and their empty hook tables are made anew without asking each of them.
    A model that does something of its own on `train()` or `eval()`, such as merging kernels, may write to its
    parameters: its copy has its own.

    Args:
        own: the copy has its own parameters.

    Raises:
        TraceError: the module holds something that cannot be copied.
    """
    parts = list(module.modules())
    memo: dict[int, Any] = {id(part): part.__class__.__new__(part.__class__) for part in parts}
    own |= any(type(p).train is not nn.Module.train or type(p).eval is not nn.Module.eval for p in parts)
    for part in parts:
        for held in (part._parameters, part._buffers, part.__dict__):
            for value in held.values():
                nested = type(value) in (list, tuple, dict)
                for tensor in pytree.tree_leaves(value) if nested else () if type(value) in _PLAIN else (value,):
                    if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
                        memo[id(tensor)] = _own(tensor) if own or not isinstance(tensor, nn.Parameter) else tensor
    try:
        for part in parts:
            made = memo[id(part)].__dict__  # written to directly: `nn.Module` would look at each value thrice
            for name, value in part.__dict__.items():
                kind = type(value)
                if kind in _PLAIN:
                    made[name] = value
                else:
                    made[name] = _copied(value, kind, memo) if kind not in _EMPTY or value else kind()
        for part in parts:
            if isinstance(part, fx.GraphModule):  # each has a class of its own, on which its forward is put
                memo[id(part)].recompile()
    except (TypeError, RuntimeError, copy.Error) as error:
        raise TraceError(
            f"the model cannot be copied: {error}",
            hint="keep tensors in parameters or buffers, and open files or locks out of the module",
        ) from None
    copied: nn.Module = memo[id(module)]
    return copied


def _own(tensor: torch.Tensor) -> torch.Tensor:
    made = tensor.detach().clone()
    return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made


def _copied(value: Any, kind: type, memo: dict[int, Any]) -> Any:
    if kind is dict and all(type(v) in _PLAIN or id(v) in memo for v in value.values()):
        return {name: memo.get(id(v), v) for name, v in value.items()}
    if kind is tuple and all(type(v) in _PLAIN for v in value):
        return value
    if isinstance(value, torch.Tensor):
        return memo.get(id(value), value)
    return copy.deepcopy(value, memo)


def fold(module: nn.Module) -> tuple[str, ...]:
    """Replace every parametrised tensor (weight norm, spectral norm, …) of a copy by its present value.

    Both of torch's weight norms are covered: the parametrisation and the older pre-forward hook. Works in place on a
    copy made by `share`; returns the names of the tensors that were folded.
    """
    folded = []
    for path, part in module.named_modules():
        for name in _hooked(part):
            folded.append(f"{path}.{name}" if path else name)
        if parametrize.is_parametrized(part):
            folded.extend(_bake(part, path))
    return tuple(sorted(folded))


def _bake(part: nn.Module, path: str) -> list[str]:
    parametrizations = part._modules.pop("parametrizations")
    assert isinstance(parametrizations, nn.ModuleDict)
    with torch.no_grad():
        values = {name: chain().detach().clone() for name, chain in parametrizations.items()}
        grads = {name: any(p.requires_grad for p in chain.parameters()) for name, chain in parametrizations.items()}
    part.__class__ = type(part).__bases__[0]
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value, requires_grad=grads[name]))
    return [f"{path}.{name}" if path else name for name in values]


def _hooked(part: nn.Module) -> list[str]:
    """Fold `torch.nn.utils.weight_norm` and `spectral_norm`, the pre-forward hooks of old."""
    done = []
    hooks: dict[int, Any] = dict(part._forward_pre_hooks)
    for key, hook in hooks.items():
        name = getattr(hook, "name", None)
        kind = type(hook).__name__
        if name is None or kind not in ("WeightNorm", "SpectralNorm"):
            continue
        with torch.no_grad():
            if kind == "WeightNorm":
                value, parts = hook.compute_weight(part), [f"{name}_g", f"{name}_v"]
            else:
                value, parts = hook.compute_weight(part, do_power_iteration=False), [f"{name}_orig"]
        grad = any(p.requires_grad for key2 in parts if (p := part._parameters.get(key2)) is not None)
        for old in (*parts, f"{name}_u", f"{name}_v"):
            part._parameters.pop(old, None)
            part._buffers.pop(old, None)
        part.__dict__.pop(name, None)
        del part._forward_pre_hooks[key]
        part.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=grad))
        done.append(name)
    return done
