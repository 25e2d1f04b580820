"""A graph that fills a diagonal coordinate by coordinate → the same in one op, which the rules can follow.

Kernels that are merged in `forward` are made so: `for i in range(n): kernel[i, i] = scale[i, 0]` on a tensor of zeros.
"""

from __future__ import annotations

import operator
from operator import attrgetter
from typing import Any

import torch
from torch import fx

from fxprune.trace.traced import has_effects

__all__ = ["diagonals"]


def diagonals(graph: fx.GraphModule) -> fx.GraphModule:
    """The graph, in which such a loop over a constant that is made anew for each run is one `diag_embed`."""
    changed = False
    for node in list(graph.graph.nodes):
        source = node.args[0] if node.op == "call_method" and node.target == "clone" else None
        if not isinstance(source, fx.Node) or source.op != "get_attr":
            continue
        zeros = attrgetter(str(source.target))(graph)
        if not isinstance(zeros, torch.Tensor) or zeros.dim() < 2 or not 1 < zeros.shape[0] == zeros.shape[1]:
            continue
        count = zeros.shape[0]
        writes = [user for user in node.users if user.target is operator.setitem][:count]
        filled = None if bool(zeros.any()) else _filled(node, writes, count)
        if filled is not None:
            _replace(graph.graph, node, writes, *filled, zeros.dim())
            changed = True
    if changed:
        graph.graph.eliminate_dead_code(lambda n: has_effects(n, dict(graph.named_modules()).get(str(n.target))))
        graph.recompile()
    return graph


def _filled(node: fx.Node, writes: list[fx.Node], count: int) -> tuple[fx.Node, tuple[Any, ...]] | None:
    """What the diagonal is filled with: a tensor, and what is picked of each of its first coordinates."""
    if len(writes) != count or list(node.users)[:count] != writes:
        return None
    found: dict[str, tuple[Any, Any]] = {}
    for k, write in enumerate(writes):
        _, at, value = write.args
        whole = isinstance(at, tuple) and at[:2] == (k, k) and all(item == slice(None) for item in at[2:])
        if not whole or write.users or not isinstance(value, fx.Node) or value.target is not operator.getitem:
            return None
        source: Any = value.args[0]
        picked: Any = value.args[1] if isinstance(value.args[1], tuple) else (value.args[1],)
        if type(picked[0]) is not int or picked[0] != k or any(isinstance(item, fx.Node) for item in picked):
            return None
        found[f"{source} {picked[1:]}"] = source, picked[1:]
    return next(iter(found.values())) if len(found) == 1 else None


def _replace(
    graph: fx.Graph, node: fx.Node, writes: list[fx.Node], source: fx.Node, picked: tuple[Any, ...], rank: int
) -> None:
    """One op in place of the writes: the diagonal along the last two dimensions, and these brought to the front."""
    with graph.inserting_before(writes[-1]):
        line = graph.call_function(operator.getitem, (source, (slice(None), *picked)))
        rest = list(range(1, rank - 1))
        last = graph.call_method("permute", (line, *rest, 0)) if rest else line
        square = graph.call_function(torch.diag_embed, (last,))
        made = graph.call_method("permute", (square, rank - 2, rank - 1, *range(rank - 2))) if rest else square
    for new in (line, last, square, made):
        new.meta.setdefault("source", writes[0].meta.get("source"))
    for write in writes:
        graph.erase_node(write)
    node.replace_all_uses_with(made)
