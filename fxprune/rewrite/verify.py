"""masked ≡ compact, on real arithmetic: the promise of every compile, checked each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from fxprune.errors import VerifyError
from fxprune.groups.dispatch import Value
from fxprune.rewrite.rewrite import Rewritten
from fxprune.trace import module_path, op_name

__all__ = ["TOLERANCE", "Check", "Verified", "verify"]

TOLERANCE = 1e-5  # largest difference allowed, relative to the largest output


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison."""

    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    difference: float  # largest |masked - compact| over largest |masked|


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared, and how close it came."""

    checks: tuple[Check, ...]

    @property
    def difference(self) -> float:
        """The largest relative difference."""
        return max((check.difference for check in self.checks), default=0.0)


def verify(rewritten: Rewritten, inputs: Sequence[tuple[Any, ...]], *, tolerance: float = TOLERANCE) -> Verified:
    """Compare the compact network with the masked original on each of several inputs.

    The masked original is the network as it was given, every removed slice of every parameter and buffer at zero; it
    runs its own `forward`, not the trace. Both run in eval mode, without gradients; inputs are cloned before each run.

    Raises:
        VerifyError: they differ by more than `tolerance`; names the first node at which they do.
    """
    traced = rewritten.slicer.groups.traced
    masked = rewritten.slicer.masked()
    names = {name for name, _ in traced.module.named_parameters(remove_duplicate=False)}
    names |= {name for name, _ in traced.module.named_buffers(remove_duplicate=False)}
    state = {name: tensor for name, tensor in masked.items() if name in names}
    checks = []
    for given in inputs:
        with torch.no_grad(), _evaluating(rewritten.module):
            want = functional_call(traced.module, state, _clone(given))
            try:
                got = rewritten.module(*_clone(given))
            except Exception as error:
                raise VerifyError(f"the compact network fails: {error}{_blame(rewritten, state, given)}") from error
        difference = relative(want, got)
        if not difference <= tolerance:
            raise VerifyError(
                f"masked and compact differ by {difference:.3g} of the output's scale{_blame(rewritten, state, given)}",
                hint="this is a fault of fxprune, not of your model: please report it; nothing was written",
            )
        shapes = tuple(tuple(x.shape) for x in given if isinstance(x, torch.Tensor))
        checks.append(Check(shapes, difference))
    return Verified(tuple(checks))


def relative(want: Any, got: Any) -> float:
    """Largest absolute difference between two (nested) outputs, over the largest absolute value of `want`."""
    a, b = (_tensors(x) for x in (want, got))
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return float("inf")
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if not x.numel():
            continue
        scale = max(float(x.abs().max()), 1e-30)
        worst = max(worst, float((x.to(torch.float64) - y.to(torch.float64)).abs().max()) / scale)
        if not torch.isfinite(y).eq(torch.isfinite(x)).all():
            return float("inf")
    return worst


def first_difference(rewritten: Rewritten, state: dict[str, torch.Tensor], given: tuple[Any, ...]) -> fx.Node | None:
    """The first node of the original graph whose masked and compact values part ways.

    `state` holds the masked parameters and buffers by name.
    """
    groups = rewritten.slicer.groups
    graph = groups.traced.graph
    names = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
    old, new = _Watched(graph), _Watched(rewritten.module)
    with torch.no_grad():
        functional_call(old, {f"graph.{name}": state[name] for name in names & state.keys()}, _clone(given))
        new(*_clone(given))
    for node in graph.graph.nodes:
        label = groups.labelled.values[node.name]
        twin = rewritten.node_of[node.name]
        if twin == new.failed:
            return node
        if not isinstance(label, Value) or node.name not in old.values or twin not in new.values:
            continue
        want = old.values[node.name]
        for dim, axis in enumerate(label.labels.axes):
            alive = rewritten.slicer.lives(axis)
            if alive is not None:
                want = want.index_select(dim, torch.from_numpy(np.flatnonzero(alive)).to(want.device))
        if not relative(want, new.values[twin]) <= TOLERANCE:
            return node
    return None


def _blame(rewritten: Rewritten, state: dict[str, torch.Tensor], given: tuple[Any, ...]) -> str:
    node = first_difference(rewritten, state, given)
    if node is None:
        return ""
    graph = rewritten.slicer.groups.traced.graph
    return f"; they first part ways at `{op_name(node, graph)}` ({module_path(node) or 'top level'}, node {node.name})"


class _Watched(nn.Module):
    """A graph that keeps a copy of each tensor value, up to the node that fails."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.values: dict[str, torch.Tensor] = {}
        self.failed: str | None = None

    def forward(self, *given: Any) -> None:
        """Run as far as it goes."""
        watched = self

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                watched.failed = n.name
                out = super().run_node(n)
                watched.failed = None
                if isinstance(out, torch.Tensor):
                    watched.values[n.name] = out.clone()
                return out

        try:
            Recorder(self.graph).run(*given)
        except Exception:
            if self.failed is None:
                raise


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode inside, each part back in its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _clone(given: tuple[Any, ...]) -> tuple[Any, ...]:
    cloned: tuple[Any, ...] = pytree.tree_map_only(torch.Tensor, torch.clone, given)
    return cloned


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
