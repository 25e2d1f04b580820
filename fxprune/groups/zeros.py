"""Does an elementwise op keep zeros zero? Found by experiment, once per op and literals.

In the masked network a removed coordinate's slice is exactly zero after the layer that makes it; whether it still is
after `relu` (yes), `sigmoid` (no: 0.5) or `x * gate` (yes) decides if a sum over channels may simply leave it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

__all__ = ["keeps_zero"]

_SAMPLES = (-1e6, -3.0, -1e-3, 0.0, 1e-3, 0.7, 3.0, 1e6)
_DIVIDES = ("div", "div_", "true_divide", "floor_divide", "fmod", "remainder")  # a masked network divides by no zero
_known: dict[Any, bool] = {}


class _Call(Protocol):
    @property
    def name(self) -> str: ...
    def tensors(self) -> list[torch.Tensor]: ...
    def signature(self) -> Any: ...
    def rerun(self, replace: Callable[[torch.Tensor], torch.Tensor]) -> Any: ...


def keeps_zero(call: _Call, zero: list[bool]) -> bool:
    """True if the call gives zero wherever the tensors flagged in `zero` are zero, whatever the others hold."""
    key = (call.signature(), tuple(zero))
    known = _known.get(key)
    if known is None:
        known = _known[key] = _experiment(call, zero)
    return known


def _experiment(call: _Call, zero: list[bool]) -> bool:
    """Run it on zeros for the flagged, on every combination of samples for the others."""
    count = len(zero)
    if count > 5:
        return False
    waiting = iter(range(count))

    def sample(tensor: torch.Tensor) -> torch.Tensor:
        k = next(waiting)
        shape = [len(_SAMPLES) if k == other else 1 for other in range(count)]
        values = torch.zeros(len(_SAMPLES)) if zero[k] else torch.tensor(_SAMPLES)
        if k > 0 and call.name in _DIVIDES:
            values[values == 0] = 1.0
        return values.to(tensor.dtype).reshape(shape).expand([len(_SAMPLES)] * count).clone()

    try:
        out = call.rerun(sample)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False  # not an op on numbers alone: claim nothing
    return isinstance(out, torch.Tensor) and bool((out == 0).all())
