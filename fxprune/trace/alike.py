"""Two programs + inputs → do they make the same calls on the same things? Then they are the same function there.

No arithmetic is done: every value is numbered by the call that made it and by the numbers of what went in. What the
inputs have no part in, such as a mask made from their sizes, is computed, and numbered by what it holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from fxprune.internals import FakeTensor, FakeTensorMode, Memo, Mode, fake_like, fake_mode, quietly

__all__ = ["alike"]

Program = Callable[..., Any]


def alike(first: Program, second: Program, inputs: tuple[Any, ...]) -> bool:
    """Do both give the same, for all numbers that inputs of these shapes and the parameters they share may hold?

    Programs run on tensors without values, and may keep some: give copies. They must not write to parameters through
    `.data`, which nobody is told of. False says nothing: they may still be the same, draw random numbers, or not run.
    """
    mode, known, made = fake_mode(), dict[Any, int](), dict[Any, Any]()
    try:
        with quietly(), torch.no_grad():
            one, other = (_Calls(mode, known, made).told(program, inputs) for program in (first, second))
    except Exception:  # whatever the model's own code raises where tensors have no values
        return False
    return bool(one == other)


class _StrangeError(Exception):
    """A call whose result is not told by the call and what goes in."""


class _Calls(Mode):  # type: ignore[no-untyped-call]
    """Makes calls without arithmetic and numbers their results: equal numbers, equal values."""

    def __init__(self, mode: FakeTensorMode, known: dict[Any, int], made: dict[Any, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mode = mode
        self.known = known  # how a value is made → its number
        self.made = made  # a call that makes something new → what it gave
        self.memo = Memo(mode)
        # held on to, so that no other tensor gets the same id, or its memory the same place
        self.numbers: dict[int, tuple[torch.Tensor, int]] = {}  # id of a tensor without values → it, its number
        self.twins: dict[int, tuple[nn.Parameter, torch.Tensor]] = {}  # id of a parameter → it, its like without values
        self.written: dict[int, int] = {}  # memory → number of the call that last wrote to it

    def told(self, program: Program, inputs: tuple[Any, ...]) -> Any:
        """What the program gives: the number of each tensor, and all else as it is."""
        leaves, form = pytree.tree_flatten(inputs)
        given = [self.fake(x, ("input", k)) if isinstance(x, torch.Tensor) else x for k, x in enumerate(leaves)]
        with self:
            out = program(*pytree.tree_unflatten(given, form))
        leaves, form = pytree.tree_flatten(out)
        return form, [self.number(self.twin(x)) if isinstance(x, torch.Tensor) else x for x in leaves]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(type(x) is FakeTensor for x in _leaves((*args, *kwargs.values()))):
            return func(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise _StrangeError
        written = self.targets(func, args, kwargs) if func._schema.is_mutable else []
        args = tuple(map(self.given, args))
        kwargs = {name: self.given(value) for name, value in kwargs.items()}
        made = func, tuple(map(self.facts, args)), tuple((name, self.facts(value)) for name, value in kwargs.items())
        new = _makes_new(func)
        out = self.again(made) if new and made in self.made else self.memo(func, args, kwargs)[0]
        if new:
            self.made.setdefault(made, out)
        for k, x in enumerate(written):  # all views of that memory are something else from now on
            self.written[_memory(x)] = self.numbered((made, "written", k))
        for k, x in enumerate(_leaves((out,))):
            if isinstance(x, torch.Tensor) and id(x) not in self.numbers:
                if type(x) is not FakeTensor:
                    raise _StrangeError
                self.numbers[id(x)] = x, self.numbered((made, k))
        return out

    def again(self, made: Any) -> Any:
        """The like of what a call gave when it was made before."""
        out = self.made[made]
        single = isinstance(out, torch.Tensor)
        like = [fake_like(x, self.mode) if isinstance(x, torch.Tensor) else x for x in ((out,) if single else out)]
        return like[0] if single else tuple(like)

    def targets(self, func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
        """What a call in place writes to: only tensors without values."""
        arguments = func._schema.arguments
        by_name = {**dict(zip((a.name for a in arguments), args, strict=False)), **kwargs}
        written = [by_name[a.name] for a in arguments if a.alias_info and a.alias_info.is_write and a.name in by_name]
        if not all(type(x) is FakeTensor for x in written):
            raise _StrangeError
        return written

    def given(self, value: Any) -> Any:
        """An argument, of which no tensor has values."""
        if isinstance(value, torch.Tensor):
            return self.twin(value)
        return type(value)(map(self.given, value)) if type(value) in (list, tuple) else value

    def facts(self, value: Any) -> Any:
        """What an argument is told by: a tensor by its numbers."""
        if type(value) is FakeTensor:
            return self.number(value)
        return type(value), tuple(map(self.facts, value)) if type(value) in (list, tuple) else value

    def number(self, x: torch.Tensor) -> tuple[int, int]:
        """A tensor's own number, and that of what was last written to its memory."""
        return self.numbers[id(x)][1], self.written.get(_memory(x), -1)

    def numbered(self, made: Any) -> int:
        """The number of what is made so: the next one, the first time."""
        return self.known.setdefault(made, len(self.known))

    def twin(self, x: torch.Tensor) -> torch.Tensor:
        """A tensor without values for one with: of a parameter always the same, else told by what it holds by now."""
        if type(x) is FakeTensor:
            return x
        if not isinstance(x, nn.Parameter):
            held: Any = x.detach().contiguous().view(-1).view(torch.uint8).numpy() if x.numel() else b""
            digest = zlib.crc32(held), zlib.adler32(held)  # masks of windows are large: the quickest there are
            return self.fake(x, (digest, x.shape, x.stride(), x.dtype, x.device))
        if id(x) not in self.twins:
            self.twins[id(x)] = x, self.fake(x, id(x))
        return self.twins[id(x)][1]

    def fake(self, x: torch.Tensor, made: Any) -> torch.Tensor:
        """A tensor without values, numbered."""
        out = fake_like(x, self.mode)
        self.numbers[id(out)] = out, self.numbered(made)
        return out


@cache
def _makes_new(func: Any) -> bool:
    """Are its results tensors that share no memory with anything?"""
    schema = func._schema
    kinds = [result.type for result in schema.returns]
    return (
        not schema.is_mutable
        and all(result.alias_info is None for result in schema.returns)
        and all(isinstance(kind, torch.TensorType) for kind in kinds)
    )


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _memory(x: torch.Tensor) -> int:
    return int(x.untyped_storage()._cdata)
