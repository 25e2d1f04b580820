"""Python's own numbers and tensor factories, taught to let traced values through while a model is traced.

`int(x.shape[2] / 2)` and `torch.zeros(1, h, w)` would end a symbolic trace, or fix a size; patched, they become nodes.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import torch
import torch.utils.checkpoint
from torch import fx, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

__all__ = ["MATH", "patched", "plain_type"]

_FACTORIES = (
    torch.arange,
    torch.as_tensor,
    torch.broadcast_shapes,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.meshgrid,
    torch.ones,
    torch.rand,
    torch.randn,
    torch.randperm,
    torch.tensor,
    torch.tril_indices,
    torch.triu_indices,
    torch.zeros,
)
# given a traced value for a size, these would ask it for the number before they see that it is traced
_SIZED = (
    *(torch.as_strided, torch.broadcast_to, torch.narrow, torch.reshape, torch.roll, torch.select, torch.topk),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.conv1d, F.conv2d, F.conv3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    *(torch.fft.fft, torch.fft.fft2, torch.fft.fftn, torch.fft.ifft, torch.fft.ifft2, torch.fft.ifftn),
    *(torch.fft.irfft, torch.fft.irfft2, torch.fft.irfftn, torch.fft.rfft, torch.fft.rfft2, torch.fft.rfftn),
)
_HOMES = (torch, F, torch.fft, math)  # where the model finds all of these
_MATH = (math.ceil, math.floor, math.log, math.log2, math.pow, math.prod, math.sqrt, math.trunc)
MATH = {function.__name__: function for function in _MATH}  # as they are, while `math` itself is patched
_METHODS = (
    "expand",
    "narrow",
    "new_full",
    "new_ones",
    "new_zeros",
    "repeat",
    "reshape",
    "roll",
    "to",
    "unflatten",
    "view",
)


def _traced(args: Any) -> fx.Proxy | None:
    return next((leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, fx.Proxy)), None)


def _lifted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that becomes a node where one of its arguments is traced."""

    def call(*args: Any, **kwargs: Any) -> Any:
        proxy = _traced((args, kwargs))
        if proxy is None:
            return function(*args, **kwargs)
        return proxy.tracer.create_proxy("call_function", function, args, kwargs)

    return call


def _lifted_method(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a tensor that is not traced, given traced sizes."""

    def call(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        proxy = _traced((args, kwargs))
        if proxy is None:
            return method(self, *args, **kwargs)
        return proxy.tracer.create_proxy("call_method", name, (self, *args), kwargs)

    return call


class _Stand(type):
    """A type that makes nodes of traced values, and otherwise is the type it stands for."""

    real: type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _lifted(cls.real)(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real)

    def __eq__(cls, other: object) -> bool:
        return other is cls.real or other is cls

    def __hash__(cls) -> int:
        return hash(cls.real)


class _Int(metaclass=_Stand):
    real = int


class _Float(metaclass=_Stand):
    real = float


_STANDS = {"int": _Int, "float": _Float}


def plain_type(value: Any) -> Any:
    """`int` for its stand-in, and so on; anything else as it is."""
    return value.real if isinstance(value, _Stand) else value


def _is_instance(value: Any, kinds: Any) -> bool:
    """A traced value is also what it stands for; in the model's own code alone: torch's goes on to C++ with it.

    Numbers are not: code that is told of one (`isinstance(length, int)`, as einops asks) wants its value next.
    """
    if isinstance(value, kinds) or not isinstance(value, fx.Proxy):
        return isinstance(value, kinds)
    stands_for = getattr(value, "value", None)
    return isinstance(stands_for, (torch.Tensor, tuple, list, dict)) and isinstance(stands_for, kinds)


def _checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Checkpointing trades memory for time in training; what it computes is the function."""
    settings = ("use_reentrant", "context_fn", "determinism_check", "debug", "preserve_rng_state", "early_stop")
    return function(*args, **{k: v for k, v in kwargs.items() if k not in settings})


def _namespaces(root: nn.Module) -> list[dict[str, Any]]:
    """Globals of the code that the model's classes, and the functions they know, are written in."""
    found: dict[int, dict[str, Any]] = {}
    waiting = [getattr(sys.modules.get(c.__module__), "__dict__", {}) for m in root.modules() for c in type(m).__mro__]
    waiting += [f.__globals__ for m in root.modules() for f in vars(type(m)).values() if isinstance(f, FunctionType)]
    while waiting:
        namespace = waiting.pop()
        name = str(namespace.get("__name__", ""))
        if id(namespace) in found or name.partition(".")[0] in ("torch", "builtins", "fxprune_internals", ""):
            continue
        if name.partition(".")[0] in sys.stdlib_module_names and name != "__main__":
            continue
        found[id(namespace)] = namespace
        waiting += [v.__globals__ for v in list(namespace.values()) if isinstance(v, FunctionType)]
    return list(found.values())


def _teach_einops(put: Callable[[dict[Any, Any], Any, Any], None]) -> None:
    """einops, where the model uses it, takes traced values for torch's, and remembers no recipe made of them."""
    backends, core = sys.modules.get("einops._backends"), sys.modules.get("einops.einops")
    if backends is None or core is None:
        return
    own = backends.get_backend(torch.empty(0))
    for kind in (fx.Proxy, *fx.Proxy.__subclasses__()):
        put(backends._type2backend, kind, own)
    put(vars(core), "_reconstruct_from_shape", core._reconstruct_from_shape_uncached)


@contextmanager
def patched(root: nn.Module) -> Iterator[None]:
    """Inside, numbers and factories let traced values through; everything is put back on the way out."""
    undo: list[Callable[[], None]] = []

    def put(namespace: dict[Any, Any], name: Any, value: Any) -> None:
        missing = object()
        was = namespace.get(name, missing)
        namespace[name] = value
        undo.append(lambda: namespace.pop(name) if was is missing else namespace.__setitem__(name, was))

    original = torch.utils.checkpoint.checkpoint
    lifted = {id(function): _lifted(function) for function in (*_FACTORIES, *_SIZED, *_MATH)}
    try:
        for namespace in _namespaces(root):
            for name, value in list(namespace.items()):
                if value is original:
                    put(namespace, name, _checkpoint)
                elif id(value) in lifted:
                    put(namespace, name, lifted[id(value)])
            for name, stand in _STANDS.items():
                if name not in namespace:
                    put(namespace, name, stand)
            if "callable" not in namespace:
                put(namespace, "callable", lambda value: not isinstance(value, fx.Proxy) and callable(value))
            if "isinstance" not in namespace:
                put(namespace, "isinstance", _is_instance)
            for name in ("max", "min", "round"):
                if name not in namespace:
                    put(namespace, name, _lifted(getattr(builtins, name)))
        for name in _METHODS:
            own = name in vars(torch.Tensor)
            method = getattr(torch.Tensor, name)
            setattr(torch.Tensor, name, _lifted_method(name, method))
            undo.append(partial(setattr, torch.Tensor, name, method) if own else partial(delattr, torch.Tensor, name))
        _teach_einops(put)
        put(vars(torch), "is_tensor", lambda value: isinstance(getattr(value, "value", value), torch.Tensor))
        for home in _HOMES:
            for name, value in list(vars(home).items()):
                if id(value) in lifted:
                    put(vars(home), name, lifted[id(value)])
        put(vars(torch.utils.checkpoint), "checkpoint", _checkpoint)
        put(vars(nn.functional), "has_torch_function", lambda tensors: False)  # looks into multi-head attention
        yield
    finally:
        for back in reversed(undo):
            back()
