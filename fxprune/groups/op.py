"""One ATen call as a rule sees it: its arguments by name, the labels of its tensors, the book to write into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fxprune.groups import zeros
from fxprune.groups.labels import Axis, Count, Ids, Labels, Place, Ties
from fxprune.groups.movement import Prefer

__all__ = ["Op"]


@dataclass(slots=True, eq=False)
class Op:
    """One call. Rules read `args`, write ties, and return the labels of the outputs."""

    func: Any  # the ATen overload
    args: dict[str, Any]  # arguments by their name in the schema, defaults filled in
    outputs: tuple[Any, ...]  # fake tensors, flat
    place: Place
    ties: Ties
    lookup: Callable[[torch.Tensor], Labels]
    mends: Callable[[str], bool]  # can the rewrite keep this kind of reduction exact at this node?
    macs: int = 0  # multiply-accumulates of this call
    fresh: Callable[[tuple[int, ...], bool], Labels] | None = None  # new ids for a tensor made on the way
    prefer: Prefer = "most"  # of heads and head_dim, the one that may shrink
    plain: bool = False  # the fx node can be run again on a single removed channel: it has no parameters of its own

    @property
    def name(self) -> str:
        """`mean` for `aten.mean.dim`."""
        return str(self.func.overloadpacket.__name__)

    def labels(self, tensor: torch.Tensor | None) -> Labels | None:
        """Labels of a tensor argument; None for an absent one."""
        return None if tensor is None else self.lookup(tensor)

    def tensors(self) -> list[torch.Tensor]:
        """All tensor arguments, in order, those in lists included."""
        found: list[torch.Tensor] = []
        for value in self.args.values():
            if isinstance(value, torch.Tensor):
                found.append(value)
            elif isinstance(value, (list, tuple)):
                found.extend(v for v in value if isinstance(v, torch.Tensor))
        return found

    def tie(self, a: Ids, b: Ids) -> None:
        """Coordinates `a[i]` and `b[i]` live or go together."""
        self.ties.tie(a, b, self.place)

    def fix(self, axis: Axis | None, reason: str | None) -> None:
        """Everything on `axis` must exist. `reason` is shown to the user; None keeps it quiet."""
        if axis is not None:
            self.ties.protect(axis.ids, reason, self.place)

    def fix_all(self, labels: Labels | None, reason: str | None) -> None:
        """Every dimension of a tensor must exist."""
        for axis in labels.axes if labels else ():
            self.fix(axis, reason)

    def join(
        self, axes: Sequence[tuple[Axis | None, int]], zero: bool | None = None, alike: bool = False
    ) -> Axis | None:
        """Dimensions that are aligned coordinate by coordinate: one axis for all of them.

        Args:
            axes: (axis, size) of each; sizes are equal, or 1 where the op broadcasts.
            zero: the flag of the result; by default that of the first labelled axis.
            alike: the other flag of the result.
        """
        size = max(size for _, size in axes)
        labelled: list[Axis] = []
        fixed = False
        for axis, length in axes:
            if axis is not None and length < size:
                self.fix(axis, f"`{self.place.op}` broadcasts it over {size} coordinates")
            elif axis is not None:
                labelled.append(axis)
            elif length == size and size > 1:
                fixed = True
        if not labelled:
            return None
        if fixed:
            for axis in labelled:
                self.fix(axis, f"`{self.place.op}` combines it with something of fixed size")
            return None
        first = labelled[0]
        for other in labelled[1:]:
            self.tie(first.ids, other.ids)
        return Axis(first.ids, first.zero if zero is None else zero, alike)

    def vanish(self, axis: Axis | None, kind: str) -> None:
        """A dimension that is reduced away.

        Law: leaving removed coordinates out is exact if they hold exact zeros and the reduction ignores zeros
        (`kind` "sum") or the rewrite can make up for their number (any other kind, where it says so); or if they are
        all alike and the rewrite can add one of them so many times.
        """
        if axis is None:
            return
        if axis.alike and self.mends(f"{kind} of alike"):
            return
        if not axis.zero:
            self.fix(axis, f"`{self.place.op}` reduces over it where removed channels would not be zero")
        elif kind != "sum" and not self.mends(kind):
            self.fix(axis, f"`{self.place.op}` reduces over it")

    def broadcast(self, tensors: Sequence[torch.Tensor], zero: Callable[[list[bool]], bool]) -> Labels:
        """Tensors aligned from the last dimension back, as elementwise ops align them; labels of the result.

        Args:
            tensors: the operands.
            zero: given which operands are zero at a removed coordinate, whether the result is.
        """
        labels = [self.lookup(t) for t in tensors]
        rank = self.outputs[0].dim()
        axes: list[Axis | None] = []
        for back in range(rank, 0, -1):
            aligned = [
                (lab.axes[-back], t.shape[-back]) if back <= t.dim() else (None, 1)
                for lab, t in zip(labels, tensors, strict=True)
            ]
            if all(axis is None for axis, _ in aligned):
                axes.append(None)
                continue
            flags = [axis is not None and axis.zero for axis, _ in aligned]
            stays = any(flags) and zero(flags)
            alike = self.plain and not stays and all(a is None or a.zero or a.alike for a, _ in aligned)
            axes.append(self.join(aligned, stays, alike))
        return Labels(tuple(axes), weight=all(lab.weight for lab in labels))

    def keeps_zero(self, flags: list[bool]) -> bool:
        """Does this elementwise op give zero where the flagged tensors are zero?"""
        return zeros.keeps_zero(self, flags)

    def rerun(self, replace: Callable[[torch.Tensor], torch.Tensor], **literals: Any) -> Any:
        """The same call on other tensors, on real arithmetic, with some literals changed."""
        args, kwargs = [], {}
        for argument in self.func._schema.arguments:
            value = literals.get(argument.name, self.args[argument.name])
            if isinstance(value, torch.Tensor):
                value = replace(value)
            elif isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
                value = [replace(v) if isinstance(v, torch.Tensor) else v for v in value]
            if argument.kwarg_only:
                kwargs[argument.name] = value
            else:
                args.append(value)
        return self.func(*args, **kwargs)

    def signature(self) -> Any:
        """Hashable: the call without the values of its tensors."""
        return self.func, tuple(_freeze(value) for value in self.args.values())

    def count(self, *products: Sequence[Axis]) -> None:
        """Book this call's multiply-accumulates: equal parts, each proportional to what lives of some axes."""
        if self.macs:
            letters = tuple(tuple(axis.ids for axis in axes) for axes in products)
            self.ties.counts.append(Count(self.place.node, self.macs, letters))

    def contract(self, spec: str, *operands: torch.Tensor | None) -> Labels:
        """A product summed over the letters that vanish, as in einsum; labels of the result.

        `...` is any number of dimensions that must stay as they are (space, kernel taps); an operand after `+` is
        added to the product. Absent operands are skipped.
        """
        left, right = spec.replace(" ", "").split("->")
        letters: dict[str, list[tuple[Axis | None, int]]] = {}
        factors: dict[str, bool] = {}  # letter → some factor is zero there
        terms: dict[str, bool] = {}  # letter → every added operand is zero there
        weights: list[tuple[bool, dict[str, Axis | None]]] = []
        added: list[set[str]] = []
        for term, tensor in zip(left.split(","), operands, strict=True):
            if tensor is None:
                continue
            labels = self.lookup(tensor)
            plus = term.startswith("+")
            mine: dict[str, Axis | None] = {}
            for letter, axis, size in _spread(term.lstrip("+"), labels, tensor):
                if letter == "~":
                    self.fix(axis, None if labels.weight else f"`{self.place.op}` mixes along it")
                    continue
                mine[letter] = axis
                letters.setdefault(letter, []).append((axis, size))
                flag = axis is not None and axis.zero
                if plus:
                    terms[letter] = terms.get(letter, True) and flag
                else:
                    factors[letter] = factors.get(letter, False) or flag
            if plus:
                added.append(set(mine))
            else:
                weights.append((labels.weight, mine))
        joined: dict[str, Axis | None] = {}
        for letter, axes in letters.items():
            zero = factors.get(letter, False) and all(letter in names for names in added) and terms.get(letter, True)
            joined[letter] = self.join(axes, zero if letter in right else factors.get(letter, False))
            if letter not in right:
                self.vanish(joined[letter], "sum")
        self._roles(weights, right)
        self.count([axis for axis in joined.values() if axis is not None])
        rank = self.outputs[0].dim()
        return Labels(_fold(right, joined, rank), weight=all(w for w, _ in weights))

    def _roles(self, operands: list[tuple[bool, dict[str, Axis | None]]], right: str) -> None:
        """A weight meeting an activation produces the letters that survive and consumes those that vanish."""
        if all(weight for weight, _ in operands):
            return
        for weight, letters in operands:
            for letter, axis in letters.items() if weight else ():
                if axis is not None:
                    book = self.ties.produced if letter in right else self.ties.consumed
                    book.append((axis.ids, self.place))


def _freeze(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(v) for v in value)
    return value


def _spread(term: str, labels: Labels, tensor: torch.Tensor) -> list[tuple[str, Axis | None, int]]:
    """(letter, axis, size) for each dimension; `~` for the dimensions under `...`."""
    rest = tensor.dim() - len(term.replace("...", ""))
    names = list(term.replace("...", "~" * rest, 1))
    return list(zip(names, labels.axes, tensor.shape, strict=True))


def _fold(right: str, joined: dict[str, Axis | None], rank: int) -> tuple[Axis | None, ...]:
    rest = rank - len(right.replace("...", ""))
    return tuple(joined.get(letter) for letter in right.replace("...", "~" * rest, 1))
