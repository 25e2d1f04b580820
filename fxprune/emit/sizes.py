"""Numbers that are known for several sizes of input at once, in the guise of torch's symbolic integers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

__all__ = ["Size", "Undecided", "Write", "number", "symbolic"]

Write = Callable[[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]], fx.Node]  # (operator, arguments, values)


class Undecided(Exception):  # noqa: N818, a finding: no user meets it
    """Something depends on the size of the input for which the graph has no words."""


# What torch calls an operation on a symbolic number → what computes it, of those that torch.export.save knows.
OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "and_": operator.and_,
    "eq": operator.eq,
    "float_pow": operator.pow,
    "float_truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "ge": operator.ge,
    "gt": operator.gt,
    "int_floordiv": operator.floordiv,
    "int_truediv": operator.truediv,
    "le": operator.le,
    "lt": operator.lt,
    "mod": operator.mod,
    "mul": operator.mul,
    "ne": operator.ne,
    "neg": operator.neg,
    "or_": operator.or_,
    "pow": operator.pow,
    "pow_by_natural": operator.pow,
    "sub": operator.sub,
    "sym_and": operator.and_,
    "sym_float": torch.sym_float,
    "sym_max": torch.sym_max,
    "sym_min": torch.sym_min,
    "sym_not": torch.sym_not,
    "sym_or": operator.or_,
    "trunc": math.trunc,
}


class Size:
    """A number in each of several runs, and the graph's node for it, made when it is asked for.

    What torch asks symbolic numbers, in Python and in C++, is asked by the names below. Law: a question has an answer
    only where it is the same in all runs; a graph traced by another would be for some sizes only.
    """

    constant = None

    def __init__(self, values: Sequence[Any], write: Write, make: Callable[[], Any]) -> None:
        self.values = tuple(values)
        self.write = write
        self.make = make
        self.same = all(value == self.values[0] for value in self.values)

    def told(self) -> Any:
        """The number, where there is only one.

        Raises:
            Undecided: it is not the same in all runs.
        """
        if not self.same:
            raise Undecided("a number depends on the size of the input where Python or torch must know it")
        return self.values[0]

    def node(self) -> Any:
        """The number itself where it is the same in all runs, the node that computes it where not."""
        return self.values[0] if self.same else self.make()

    def is_int(self) -> bool:
        return type(self.values[0]) is int

    def is_float(self) -> bool:
        return type(self.values[0]) is float

    def is_bool(self) -> bool:
        return type(self.values[0]) is bool

    def is_nested_int(self) -> bool:
        return False

    def nested_int(self) -> None:
        return None

    def is_symbolic(self) -> bool:
        return True

    def is_constant(self) -> bool:
        return self.same and not self.is_float()

    def has_hint(self) -> bool:
        return True

    def maybe_as_int(self) -> Any:
        return self.values[0] if self.same else None

    def clone(self) -> Size:
        return self

    def str(self) -> Any:
        return f"size{self.values}"

    _graph_repr = str

    def wrap_int(self, value: Any) -> Size:
        return Size((value,) * len(self.values), self.write, lambda: value)

    wrap_float = wrap_bool = wrap_int

    def int_(self) -> int:
        return int(self.told())

    def bool_(self) -> bool:
        return bool(self.told())

    def guard_int(self, file: Any, line: Any) -> int:
        return int(self.told())

    def guard_float(self, file: Any, line: Any) -> float:
        return float(self.told())

    def guard_bool(self, file: Any, line: Any) -> bool:
        return bool(self.told())

    guard_size_oblivious = expect_true = guard_bool

    def guard_or_false(self, file: Any, line: Any) -> bool:
        return all(self.values)

    statically_known_true = guard_or_false

    def guard_or_true(self, file: Any, line: Any) -> bool:
        return any(self.values)

    def __getattr__(self, name: Any) -> Any:
        if name in OPERATORS:
            return lambda *others: self.computed(OPERATORS[name], others)
        if name in ROUNDED:
            return lambda: ROUNDED[name](self)
        if name in LAYOUTS:
            return lambda sizes, strides: self.laid_out(LAYOUTS[name], sizes, strides)
        raise AttributeError(name)

    def computed(self, function: Callable[..., Any], others: tuple[Size, ...]) -> Size:
        """What a function gives for this number and others."""
        given = (self, *others)
        values = tuple(function(*row) for row in zip(*(size.values for size in given), strict=True))
        return Size(values, self.write, lambda: self.write(function, tuple(size.node() for size in given), values))

    def laid_out(
        self, test: Callable[[Sequence[int], Sequence[int]], bool], sizes: Sequence[Size], strides: Sequence[Size]
    ) -> Size:
        """Whether a tensor of these sizes and strides, this being one of them, lies in memory as a test wants."""
        runs = range(len(self.values))
        return Size(
            [test([size.values[k] for size in sizes], [stride.values[k] for stride in strides]) for k in runs],
            self.write,
            self.told,
        )


def down(size: Size) -> Size:
    """The whole number below."""
    return size if size.is_int() else size.computed(operator.floordiv, (size.wrap_float(1.0),)).trunc()


ROUNDED: dict[str, Callable[[Size], Any]] = {"ceil": lambda size: down(size.neg()).neg(), "floor": down}


def contiguous(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Are rows, the last dimension first, one behind the other?"""
    want = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size != 1 and stride != want:
            return False
        want *= size
    return True


def channels_last(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """The same with the channels, dimension 1, innermost."""
    order = (0, *range(2, len(sizes)), 1)
    return contiguous([sizes[d] for d in order], [strides[d] for d in order])


def dense(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """The same in any order of dimensions."""
    order = sorted(range(len(sizes)), key=lambda d: (-strides[d], sizes[d] == 1))
    return contiguous([sizes[d] for d in order], [strides[d] for d in order])


LAYOUTS: dict[str, Callable[[Sequence[int], Sequence[int]], bool]] = {
    "is_contiguous": contiguous,
    "is_channels_last_contiguous_2d": lambda sizes, strides: len(sizes) == 4 and channels_last(sizes, strides),
    "is_channels_last_contiguous_3d": lambda sizes, strides: len(sizes) == 5 and channels_last(sizes, strides),
    "is_channels_last_strides_2d": lambda sizes, strides: len(sizes) == 4 and channels_last(sizes, strides),
    "is_channels_last_strides_3d": lambda sizes, strides: len(sizes) == 5 and channels_last(sizes, strides),
    "is_non_overlapping_and_dense": dense,
    "is_non_overlapping_and_dense_indicator": dense,
}


def symbolic(value: Any) -> bool:
    """Is it a symbolic number?"""
    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))


def number(values: Sequence[int], write: Write, make: Callable[[], Any]) -> Any:
    """A plain number where all are the same, else a symbolic one."""
    return values[0] if all(value == values[0] for value in values) else torch.SymInt(Size(values, write, make))  # type: ignore[no-untyped-call]
