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
