"""A call without arithmetic → the kind of value it gave when it was made before: networks repeat their blocks."""

from __future__ import annotations

from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

from fxprune.internals import FakeTensor, FakeTensorMode, fake_like

__all__ = ["Recall"]

_PLAIN = frozenset([bool, int, float, complex, str, type(None), type(Ellipsis)])
_TORCHS = frozenset([torch.dtype, torch.device, torch.layout, torch.memory_format])


class _StrangeError(Exception):
    """What a call depends on, or gives, is more than the kinds of its arguments."""


class Recall:
    """Remembers calls whose results are asked for shape, strides, type and device alone.

    Law: the kind of what torch gives depends on the kinds of the arguments and on numbers, of which none changes in the
    call. A result shares no memory with anything: nobody reads it.
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        self.mode = mode
        self.known: dict[Any, Any] = {}

    def __call__(self, what: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """`run()`, which calls `what` (a function, a method's name or a layer) on these arguments; or one like it."""
        try:
            key = (_identity(what), _kind(args), _kind(kwargs))
        except _StrangeError:
            return run()
        if key in self.known:
            return self._again(self.known[key])
        out = run()
        try:
            _kind(out)
            if key[1:] == (_kind(args), _kind(kwargs)):
                self.known[key] = out
        except _StrangeError:
            pass
        return out

    def _again(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return fake_like(value, self.mode)
        if type(value) in (tuple, list):
            return type(value)(map(self._again, value))
        return value


def _kind(value: Any) -> Any:
    """What a result can depend on.

    Raises:
        _StrangeError: more than can be told.
    """
    kind = type(value)
    if kind is FakeTensor:
        if value.constant is not None:
            raise _StrangeError
        return value.shape, value.stride(), value.storage_offset(), value.dtype, value.device
    if kind in _PLAIN or kind in _TORCHS:
        return kind, value
    if kind in (tuple, list, torch.Size):
        return kind, tuple(map(_kind, value))
    if kind is dict or kind.__name__ == "immutable_dict":
        return tuple((name, _kind(held)) for name, held in value.items())
    if kind.__name__ == "immutable_list":
        return list, tuple(map(_kind, value))
    if kind is slice:
        return kind, _kind((value.start, value.stop, value.step))
    raise _StrangeError


def _identity(what: Any) -> Any:
    """A function of torch or of Python, the name of a method, or a layer's class and settings."""
    if isinstance(what, nn.Module):
        tensors = [*what._parameters.items(), *what._buffers.items()]
        settings = [(name, value) for name, value in vars(what).items() if not name.startswith("_")]
        if what._modules or not type(what).__module__.startswith("torch."):
            raise _StrangeError
        shapes = tuple((name, t if t is None else (t.shape, t.dtype, t.device)) for name, t in tensors)
        return type(what), shapes, tuple((name, _kind(value)) for name, value in settings)
    if isinstance(what, (str, BuiltinFunctionType, type, torch._ops.OpOverload)):
        return what
    if isinstance(what, FunctionType) and what.__module__.startswith("torch"):
        return what
    raise _StrangeError
