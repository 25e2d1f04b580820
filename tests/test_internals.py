"""Calls repeated from memory give what torch gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fxprune.internals import Memo, Mode, fake_like, fake_mode

CALLS: dict[str, Callable[[Any], Any]] = {
    "a new tensor": lambda x: torch.nn.functional.conv2d(x, x),
    "in place": lambda x: x.relu_(),
    "a view": lambda x: x.permute(0, 2, 3, 1)[:, 1:],
    "a view of a slice": lambda x: x[1:].flatten(2),
    "views in a list": lambda x: x.chunk(2, 1)[1],
    "another type": lambda x: torch.view_as_real(torch.view_as_complex(x.unflatten(3, (2, 2)))),
    "the conjugate": lambda x: torch.view_as_complex(x.unflatten(3, (2, 2))).conj(),
    "expanded": lambda x: x[:, :1].expand(2, 4, 4, 4) + x,
}


class Remembering(Mode):
    """Every call goes through the memo."""

    def __init__(self, call: Memo) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.call = call

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})[0]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_from_memory_as_from_torch(call: Callable[[Any], Any]) -> None:
    fake = fake_mode()
    with torch.no_grad(), fake:
        base = fake_like(torch.rand(2, 4, 4, 4), fake)
        want = call(base)
        with Remembering(Memo(fake)):
            for _ in range(3):
                other = fake_like(torch.rand(2, 4, 4, 4), fake)
                got = call(other)
                assert type(got) is type(want)
                for facts in (lambda t: t.shape, lambda t: t.stride(), lambda t: t.storage_offset(), lambda t: t.dtype):
                    assert facts(got) == facts(want)
                assert got.device == want.device
                assert got.is_conj() == want.is_conj()
                shared = [
                    a.untyped_storage()._cdata == b.untyped_storage()._cdata for a, b in ((base, want), (other, got))
                ]
                assert shared[0] == shared[1]


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "scaled": lambda x, y: torch.add(x, y, alpha=2),
    "true division": lambda x, y: x / y,
    "a whole number": lambda x, y: x * 3,
    "a fraction": lambda x, y: x * 0.5,
    "compare": lambda x, y: x > y,
    "power": lambda x, y: x**2,
    "clamp": lambda x, y: x.clamp_min(0),
    "bounds": lambda x, y: torch.clamp(x, min=y),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "fill": lambda x, y: x.masked_fill(x > y, 1),
    "sigmoid": lambda x, y: torch.sigmoid(x),
    "float": lambda x, y: x.to(torch.float64) + y,
}
SHAPES = [
    ((2, 3, 4), (2, 3, 4)),
    ((5, 1), (5, 1)),
    ((2, 3, 4), (4,)),
    ((2, 3, 4), ()),
    ((), ()),
    ((3, 1), (1, 7)),
    ((0, 3), (1, 3)),
]
TYPES = [
    (torch.float32, torch.float32),
    (torch.int64, torch.int64),
    (torch.int64, torch.float32),
    (torch.bool, torch.float32),
]


@pytest.mark.parametrize("call", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_elementwise_at_any_shape_as_torch(call: Callable[..., Any]) -> None:
    fake = fake_mode()
    with torch.no_grad(), fake:
        memo = Memo(fake)
        for types in TYPES:
            for shapes in (*SHAPES, *reversed(SHAPES)):
                pair = [fake_like(torch.zeros(s, dtype=d), fake) for s, d in zip(shapes, types, strict=True)]
                want = call(*pair)
                with Remembering(memo):
                    got = call(*pair)
                assert (got.shape, got.stride(), got.dtype) == (want.shape, want.stride(), want.dtype)


def test_elementwise_calls_are_asked_for_once() -> None:
    fake = fake_mode()
    memo = Memo(fake)
    with torch.no_grad(), fake, Remembering(memo):
        assert (fake_like(torch.zeros(2, 3), fake) * 2).dtype == torch.float32
        memo.types = dict.fromkeys(memo.types, torch.float64)  # as torch would not say
        assert (fake_like(torch.zeros(5, 3), fake) * 2).dtype == torch.float64
        assert (fake_like(torch.zeros(5, 3), fake) * 2.0).dtype == torch.float32
        with pytest.raises(RuntimeError, match="broadcast"):
            fake_like(torch.zeros(2, 3), fake) + fake_like(torch.zeros(2, 4), fake)


def test_views_in_a_list_are_views() -> None:
    fake = fake_mode()
    with torch.no_grad(), fake, Remembering(Memo(fake)):
        x = fake_like(torch.zeros(2, 6, 4), fake)
        for parts in (x.split(2, 1), x.chunk(4, 1), x.unbind(0), x.split([1, 5], 1), torch.tensor_split(x, 4, 1)):
            for part in parts:
                assert part.untyped_storage()._cdata == x.untyped_storage()._cdata
        assert [part.storage_offset() for part in x.split(2, 1)] == [0, 8, 16]
        assert [part.shape[1] for part in torch.tensor_split(x, 4, 1)] == [2, 2, 1, 1]
