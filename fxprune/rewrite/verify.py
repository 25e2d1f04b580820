"""masked ≡ compact, on real arithmetic: the promise of every compile, checked each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from fxprune.errors import InputError, VerifyError
from fxprune.groups.dispatch import Value
from fxprune.rewrite.rewrite import Rewritten
from fxprune.trace import GUARD, Traced, module_path, op_name
from fxprune.trace.sizes import images, resized

__all__ = ["TOLERANCE", "Check", "Verified", "verify"]

TOLERANCE = 1e-5  # largest difference allowed, relative to the largest output
TOLERANCE_64 = (
    1e-8  # and in float64, which is asked where float32 differs by more: rounding shrinks, a wrong cut does not
)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison."""

    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    difference: float  # largest |masked - compact| over largest |masked|; in float64 where rounding is much in float32


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared, and how close it came."""

    checks: tuple[Check, ...]
    refused: tuple[tuple[int, ...], ...] = ()  # image sizes that the original, or its trace, does not run at

    @property
    def difference(self) -> float:
        """The largest relative difference."""
        return max((check.difference for check in self.checks), default=0.0)


def verify(
    rewritten: Rewritten,
    inputs: Iterable[tuple[Any, ...]] | None = None,
    *,
    sizes: Sequence[tuple[int, int]] = (),
    enough: int = 2,
    tolerance: float = TOLERANCE,
) -> Verified:
    """Compare the compact network with the masked original on several inputs.

    The masked original is the network as it was given, every removed slice of every parameter and buffer at zero; it
    runs its own `forward`, not the trace. Both run in eval mode, without gradients; inputs are cloned before each run.

    Args:
        inputs: what to run on; by default images of several sizes made after the example, not all square. One that
            the original itself does not run on, or that the network was not traced for, is passed over.
        sizes: heights and widths that the network is known to take, tried first.
        enough: stop after so many comparisons.

    Raises:
        VerifyError: they differ by more than `tolerance`; names the first node at which they do.
        InputError: the original runs on none of the inputs.
    """
    traced = rewritten.slicer.groups.traced
    names = {name for name, _ in (*traced.module.named_parameters(), *traced.module.named_buffers())}
    masked = rewritten.slicer.masked()
    state = {name: tensor for name, tensor in masked.items() if name in names}
    checks: list[Check] = []
    refused: list[tuple[int, ...]] = []
    failure: BaseException | None = None
    for given in inputs if inputs is not None else variations(traced.example, sizes):
        if len(checks) == enough:
            break
        try:
            with torch.no_grad(), _same_draws(), _held(traced, state):
                want = functional_call(traced.module, state, _clone(given))
        except (
            Exception,
            SystemExit,
        ) as error:  # the model's own: it does not run at this size
            failure = error
            refused.extend(tuple(x.shape[2:]) for x in _tensors(given)[:1])
            continue
        if not all(torch.isfinite(t).all() for t in _tensors(want)):
            raise InputError(
                "the model's own output is not finite: nothing can be compared",
                hint="look for NaN or infinity in its weights",
            )
        try:
            checks.append(_compare(rewritten, state, given, want, tolerance))
        except _GuardError as guard:
            failure = guard
            refused.extend(tuple(x.shape[2:]) for x in _tensors(given)[:1])
    if not checks:
        raise InputError(
            f"the model does not run on its example input: {failure}",
            hint="give an input it accepts: a line such as `input 1x3x64x64`",
        ) from None
    return Verified(tuple(checks), tuple(refused))


class _GuardError(Exception):
    """The trace, and so the compact network, is not for this size: it says so itself, or fails before it is cut."""


def _runs(graph: fx.GraphModule, given: tuple[Any, ...]) -> bool:
    try:
        graph.forward(*_clone(given))
    except Exception:  # whatever the trace of the user's model raises
        return False
    return True


def _compare(
    rewritten: Rewritten, state: dict[str, torch.Tensor], given: tuple[Any, ...], want: Any, tolerance: float
) -> Check:
    with torch.no_grad(), _evaluating(rewritten.module):
        try:
            with _same_draws():
                got = rewritten.module.forward(*_clone(given))
        except Exception as error:
            guarded = isinstance(error, AssertionError) and str(error).startswith(GUARD)
            if guarded or not _runs(rewritten.slicer.groups.traced.graph, given):
                raise _GuardError(str(error)) from None
            node = first_difference(rewritten, state, given)
            what = f"the compact network fails: {str(error).splitlines()[0]}"
            raise VerifyError(
                f"{what}{_told(rewritten, node)}", hint=_OURS, node=node.name if node else None
            ) from error
        difference = relative(want, got)
        if not difference <= tolerance:
            precise = _in_double(rewritten, state, given, want)
            if precise <= min(tolerance, TOLERANCE_64):
                return Check(tuple(tuple(x.shape) for x in _tensors(given)), precise)
            traced = rewritten.slicer.groups.traced
            with _same_draws(), _held(traced, state):
                again = functional_call(traced.module, state, _clone(given))
            if relative(want, again) > tolerance:
                raise InputError(
                    "the model gives another output each time: nothing can be compared",
                    hint="it must not be random in eval mode",
                )
            node = first_difference(rewritten, state, given)
            what = f"masked and compact differ by {difference:.3g} of the output's scale"
            raise VerifyError(f"{what}{_told(rewritten, node)}", hint=_OURS, node=node.name if node else None)
    return Check(tuple(tuple(x.shape) for x in _tensors(given)), difference)


def variations(example: tuple[Any, ...], sizes: Sequence[tuple[int, int]] = ()) -> Iterator[tuple[Any, ...]]:
    """Inputs after the example: of half its size, two images of another shape, as given, larger. Values in [0, 1].

    Those of the sizes given come first, of one image and of two by turns. Networks that need whole windows get to
    choose: the caller passes over what they refuse.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = images(example)

    def made(image: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.rand(shape, generator=generator).to(image.device, image.dtype)

    if not pictures or any(not x.is_floating_point() for x in pictures):
        yield example
        return
    high, wide = pictures[0].shape[-2:]
    for k, size in enumerate(sizes):
        scale = Fraction(size[0], high), Fraction(size[1], wide)
        yield resized(example, scale, made, batch=lambda count, more=k % 2: count + more)  # type: ignore[misc]
    half = Fraction(1, 2)
    # images more, height and width times
    for more, tall, broad in (
        (0, half, half), (1, Fraction(1, 3), Fraction(2, 3)), (0, Fraction(1, 3), Fraction(2, 3)), (0, 1, 1),
        (1, 2, 1), (0, 1, 2), (0, 2, 1),
    ):  # fmt: skip
        yield resized(example, (tall, broad), made, batch=lambda count, more=more: count + more)  # type: ignore[misc]


def _in_double(rewritten: Rewritten, state: dict[str, torch.Tensor], given: tuple[Any, ...], want: Any) -> float:
    """The difference in float64, over the largest output there or in `want`; infinite if that cannot be run.

    A network whose output is all rounding, such as one scaled by the sum of what was centred, gives less of it there.
    """
    traced, inputs = rewritten.slicer.groups.traced, pytree.tree_map(_double, given)
    masked = {name: _double(tensor) for name, tensor in state.items()}
    compact = {name: _double(tensor) for name, tensor in rewritten.module.state_dict().items()}
    try:
        with _same_draws(), _held(traced, masked):
            precise = functional_call(traced.module, masked, _clone(inputs))
        with _same_draws():
            got = functional_call(rewritten.module, compact, _clone(inputs))
    except Exception:  # a tensor of float32 that is no parameter, or whatever the model does with types
        return float("inf")
    return relative(precise, got, want)


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def relative(want: Any, got: Any, scale: Any = None) -> float:
    """Largest absolute difference between two (nested) outputs, over the largest absolute value of `want` or `scale`.

    Infinite if their shapes differ, or one is not a number where the other is.
    """
    a, b, c = (_tensors(x) for x in (want, got, want if scale is None else scale))
    if not len(a) == len(b) == len(c) or any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return float("inf")
    worst = 0.0
    for three in zip(a, b, c, strict=True):
        x, y, z = (t.to(torch.complex128 if t.is_complex() else torch.float64) for t in three)
        if not x.numel():
            continue
        finite = torch.isfinite(x)
        if not torch.equal(finite, torch.isfinite(y)):
            return float("inf")
        x, y = x[finite], y[finite]
        if x.numel():
            high = max(float(x.abs().max()), float(z.abs().nan_to_num(0, 0, 0).max()), 1e-30)
            worst = max(worst, float((x - y).abs().max()) / high)
    return worst


def first_difference(rewritten: Rewritten, state: dict[str, torch.Tensor], given: tuple[Any, ...]) -> fx.Node | None:
    """The first node of the original graph whose masked and compact values part ways.

    `state` holds the masked parameters and buffers by name.
    """
    groups = rewritten.slicer.groups
    graph = groups.traced.graph
    nodes: list[fx.Node] = list(graph.graph.nodes)
    names = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
    old, new = _Watched(graph), _Watched(rewritten.module)
    with torch.no_grad():
        functional_call(old, {f"graph.{name}": state[name] for name in names & state.keys()}, _clone(given))
        new(*_clone(given))
    for node in nodes:
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


_OURS = "this is a fault of fxprune, not of your model: please report it; nothing was written"


def _told(rewritten: Rewritten, node: fx.Node | None) -> str:
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
def _same_draws() -> Iterator[None]:
    """Inside, random numbers are those of seed 0: a network that adds noise adds the same to both."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@contextmanager
def _held(traced: Traced, state: dict[str, torch.Tensor]) -> Iterator[None]:
    """Inside, parameters that the network's own forward overwrites are masked again when their layer runs."""
    hooks = []
    for name in traced.merged:
        path, _, own = name.rpartition(".")
        if name in state:
            hooks.append(traced.module.get_submodule(path).register_forward_pre_hook(_Restored(own, state[name])))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Restored:
    """A hook that puts a parameter's value back before its layer runs."""

    def __init__(self, name: str, value: torch.Tensor) -> None:
        self.name = name
        self.value = value.clone()

    def __call__(self, layer: nn.Module, given: tuple[Any, ...]) -> None:
        getattr(layer, self.name).data = self.value.clone()


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
