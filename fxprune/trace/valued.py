"""A traced value that knows what it is for the example: what Python may ask of it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from fxprune.internals import DATA_DEPENDENT
from fxprune.trace.numbers import MATH

if TYPE_CHECKING:
    from fxprune.trace.concrete import ConcreteTracer

__all__ = ["Valued"]


class Valued(fx.Proxy):
    """A proxy that knows its value for the example."""

    tracer: ConcreteTracer

    def __getitem__(self, key: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.getitem, (self, key), {})

    @property
    def value(self) -> Any:
        """What it is for the example; tensors without their numbers."""
        return self.tracer.values[self.node][0]

    def _ask(self, convert: Any) -> Any:
        return self.tracer.answer(self, convert(self.value))

    def __bool__(self) -> bool:
        try:
            return bool(self._ask(bool))
        except DATA_DEPENDENT:
            decided = self.tracer.decide()
            if decided is None:
                raise
            return decided

    def __int__(self) -> int:
        return int(self._ask(int))

    def __index__(self) -> int:
        return int(self._ask(operator.index))

    def __float__(self) -> float:
        return float(self._ask(float))

    def __len__(self) -> int:
        return self.tracer.count(self)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.value, dict):
            return iter(list(self.value))
        return iter([self[k] for k in range(len(self))])

    def __contains__(self, item: Any) -> bool:
        return item in self.value if isinstance(self.value, dict) else any(bool(item == own) for own in self)

    def keys(self) -> Any:
        """Of a dict, known as they are: `**batch`."""
        return list(self.value) if isinstance(self.value, dict) else super().keys()

    def __format__(self, spec: str) -> str:
        return str(self.node) if isinstance(self.value, torch.Tensor) else format(self.value, spec)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})

    def __round__(self, digits: int | None = None) -> Any:
        return self.tracer.create_proxy("call_function", round, (self,) if digits is None else (self, digits), {})

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """numpy's `ceil`, `floor`, `sqrt`, … of a traced number: math's."""
        function = MATH.get(ufunc.__name__)
        if function is None or method != "__call__" or settings:
            return NotImplemented
        return self.tracer.create_proxy("call_function", function, inputs, {})

    def __getattr__(self, name: str) -> Any:
        if name in ("dim", "ndimension"):
            return lambda: self.value.dim()
        if name in ("ndim", "dtype", "requires_grad", "is_cuda", "layout"):
            return getattr(self.value, name)
        if isinstance(self.value, dict) and name in _VIEWS:
            return lambda: _VIEWS[name]({key: self[key] for key in self.value})
        found = getattr(self.value, name)
        if callable(found) and not isinstance(found, torch.Tensor):
            return lambda *args, **kwargs: self.tracer.create_proxy("call_method", name, (self, *args), kwargs)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})


_VIEWS: dict[str, Callable[[dict[Any, Any]], list[Any]]] = {
    "values": lambda held: list(held.values()),
    "items": lambda held: list(held.items()),
}
