"""Statements and loops: small expressions over numbered values and paths of the network; values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FunctionType

__all__ = [
    "ATOM",
    "LOOSE",
    "UNARY",
    "Carried",
    "Expr",
    "Index",
    "Loop",
    "Node",
    "Path",
    "Program",
    "Ref",
    "Stmt",
    "Use",
    "map_refs",
    "outs",
    "put_uses",
    "refs",
    "uses",
]

ATOM, UNARY, LOOSE = 20, 8, 0  # binding strengths, see INFIX


@dataclass(frozen=True, slots=True)
class Index:
    """The running index of a loop, where it stands in a path."""

    loop: int  # number of the loop


Path = tuple[str | Index, ...]  # ("body", "3", "conv1"): a module, parameter or buffer below the model


@dataclass(frozen=True, slots=True)
class Use:
    """A value read in an expression."""

    value: int
    level: int = LOOSE  # what is put here must bind at least as tightly, or gets parentheses


@dataclass(frozen=True, slots=True)
class Ref:
    """A module, parameter or buffer named in an expression."""

    path: Path


@dataclass(frozen=True, slots=True)
class Expr:
    """Source text with holes."""

    parts: tuple[str | Use | Ref, ...]
    level: int = ATOM


@dataclass(frozen=True, slots=True)
class Stmt:
    """`value = expr`, or `expr` alone when no one reads it."""

    expr: Expr
    out: int | None
    hint: str = ""  # a word for the value, when it needs a name of its own
    apart: bool = False  # it always does: what it holds is not another stage of its input


@dataclass(frozen=True, slots=True)
class Carried:
    """A value handed from one turn of a loop to the next."""

    init: int  # before the first turn
    phi: int  # as read within the loop
    last: int  # as computed within the loop, for the next turn
    result: int  # after the last turn


@dataclass(frozen=True, slots=True)
class Loop:
    """`for block in self.body[start : start + count]`; every path with this loop's index is a list of the network."""

    number: int
    lists: tuple[Path, ...]  # the lists walked along
    start: int
    count: int
    whole: bool  # whether that is all members of the list
    body: tuple[Node, ...]
    carried: tuple[Carried, ...]


Node = Stmt | Loop


@dataclass(frozen=True, slots=True)
class Program:
    """A forward pass."""

    signature: str  # the arguments after self
    inputs: tuple[tuple[int, str], ...]  # value, name
    nodes: tuple[Node, ...]  # the last one is the return statement
    helpers: tuple[FunctionType, ...]  # fxprune's own functions that it calls


def uses(node: Node) -> Iterator[int]:
    """The values a node reads that it does not make itself, in textual order."""
    if isinstance(node, Stmt):
        yield from (part.value for part in node.expr.parts if isinstance(part, Use))
        return
    yield from (c.init for c in node.carried)
    inside = {c.phi for c in node.carried} | {value for inner in node.body for value in outs(inner)}
    yield from (value for inner in node.body for value in uses(inner) if value not in inside)


def outs(node: Node) -> tuple[int, ...]:
    """The values a node makes."""
    if isinstance(node, Stmt):
        return () if node.out is None else (node.out,)
    return tuple(c.result for c in node.carried)


def refs(node: Node) -> Iterator[Path]:
    """The paths a node names, in textual order."""
    if isinstance(node, Stmt):
        yield from (part.path for part in node.expr.parts if isinstance(part, Ref))
    else:
        for inner in node.body:
            yield from refs(inner)


def map_refs(node: Node, change: Callable[[Path], Path]) -> Node:
    """The node with every path replaced."""
    if isinstance(node, Loop):
        return replace(
            node,
            body=tuple(map_refs(inner, change) for inner in node.body),
            lists=tuple(change(path) for path in node.lists),
        )
    parts = tuple(Ref(change(p.path)) if isinstance(p, Ref) else p for p in node.expr.parts)
    return replace(node, expr=replace(node.expr, parts=parts))


def put_uses(node: Node, values: Iterator[int]) -> Node:
    """The node with what it reads replaced, one by one in the order of `uses`."""
    if isinstance(node, Stmt):
        parts = tuple(replace(p, value=next(values)) if isinstance(p, Use) else p for p in node.expr.parts)
        return replace(node, expr=replace(node.expr, parts=parts))
    carried = tuple(replace(c, init=next(values)) for c in node.carried)
    inside = {c.phi for c in node.carried} | {value for inner in node.body for value in outs(inner)}
    body = [put_uses(inner, iter([v if v in inside else next(values) for v in uses(inner)])) for inner in node.body]
    return replace(node, body=tuple(body), carried=carried)
