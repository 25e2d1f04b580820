"""`nn.Module` + example → graph, traced with the example's values at hand, so that Python may ask for them.

Every value that flows is known for the example and, where the model runs there, for a second input of other height,
width and batch. A question (`if h % 8`, `range(h)`) is answered from the example and becomes a guard in the graph if
the answer could be another one elsewhere; everything not asked for stays free.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.internals import fake_like, fake_mode, quietly, shell
from fxprune.trace.blame import retell, running_line
from fxprune.trace.constants import anew
from fxprune.trace.diagonals import diagonals
from fxprune.trace.guards import ASKED, HELD, ratio
from fxprune.trace.numbers import patched, plain_type
from fxprune.trace.padded import EVEN, PADS, asks_for_zero
from fxprune.trace.recall import Recall
from fxprune.trace.sizes import resized
from fxprune.trace.tracer import Tracer
from fxprune.trace.valued import Valued

__all__ = ["GUARD", "Answer", "concrete"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A question that the model's code asked while it was traced, and the answer it got."""

    where: str  # file:line, in function: source
    value: Any  # what Python was told
    free: bool  # could be answered otherwise at another size


class _Unknown:
    """The value of a node at the second size, where the model does not run there."""


UNKNOWN = _Unknown()
MOST = 1000  # questions about numbers; more are asked by a loop that waits for them to change
GUARD = "fxprune traced this network for"  # how the message of a guard begins


class ConcreteTracer(Tracer):
    """Runs each node, as it is made, on the example and on the second input, without arithmetic."""

    def __init__(self, example: tuple[Any, ...], other: tuple[Any, ...]) -> None:
        super().__init__(len(example))
        self.param_shapes_constant = False
        self.mode = fake_mode()
        self.recall = Recall(self.mode)
        self.fakes: dict[int, torch.Tensor] = {}
        self.keep = (example, other)  # fakes are known by identity
        self.inputs = iter(pytree.tree_map_only(torch.Tensor, self.fake, list(zip(example, other, strict=True))))
        self.values: dict[fx.Node, tuple[Any, Any]] = {}
        self.free: set[fx.Node] = set()  # nodes whose plain value depends on the size of the input
        self.answers: list[Answer] = []
        self.decisions: dict[str, bool] | None = None  # line → what is answered where the numbers in a picture decide
        self.decided = 0  # how often that was asked

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        """The fake twin of a real tensor, the same one each time."""
        if id(tensor) not in self.fakes:
            self.fakes[id(tensor)] = fake_like(tensor, self.mode)
        return self.fakes[id(tensor)]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A proxy that knows its value."""
        return Valued(node, self)

    def create_arg(self, a: Any) -> Any:
        """Stand-ins for `int` and `float` are not arguments: the types are."""
        return super().create_arg(plain_type(a))

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> Any:
        """Make a node and know its value."""
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if kind != "output":
            self.values[node] = self.run(node)
            here, there = self.values[node]
            if not _tensors(here):
                reads = node.target in ("size", getattr, operator.getitem)
                fed = not reads and any(n in self.free for n in node.all_input_nodes)
                if fed or there is UNKNOWN or not _same(here, there):
                    self.free.add(node)
        return node

    def run(self, node: fx.Node) -> tuple[Any, Any]:
        """Its value for the example and for the second input."""
        if node.op == "placeholder":
            pair = next(self.inputs, None)
            default = node.args[0] if node.args else None
            return (default, default) if pair is None else tuple(pair)
        here = self.apply(node, 0)
        try:
            there = self.apply(node, 1)
        except Exception:  # the model does not run at the second size: nothing is known there
            there = UNKNOWN
        return here, there

    def apply(self, node: fx.Node, which: int) -> Any:
        """Run one node on the values of its arguments."""

        def value(n: fx.Node) -> Any:
            found = self.values[n][which]
            if found is UNKNOWN:
                raise LookupError(n.name)
            return found

        args = fx.node.map_arg(node.args, value)
        kwargs = fx.node.map_arg(node.kwargs, value)
        if node.op == "get_attr":
            held = _fetch(self.root, str(node.target))
            return self.fake(held) if isinstance(held, torch.Tensor) else held
        what = _fetch(self.root, str(node.target)) if node.op == "call_module" else node.target
        return self.recall(what, args, kwargs, lambda: self.call(what, args, kwargs))

    def call(self, what: Any, args: Any, kwargs: Any) -> Any:
        """Call a function, a method by its name or a layer, without arithmetic."""
        with torch.no_grad(), self.mode:
            if isinstance(what, nn.Module):
                return shell(what, self.fake).forward(*args, **kwargs)
            if isinstance(what, str):
                return getattr(args[0], what)(*args[1:], **kwargs)
            return what(*args, **kwargs)

    def answer(self, proxy: Valued, value: Any) -> Any:
        """Tell Python a value; guard it in the graph if it could be another one elsewhere."""
        free = proxy.node in self.free
        where = running_line()
        if free:
            if value is True:
                same: fx.Proxy = proxy
            elif value is False:
                same = self.create_proxy("call_function", operator.not_, (proxy,), {})
            else:
                same = self.create_proxy("call_function", operator.eq, (proxy, value), {})
            note = f"{GUARD} {value!r} at {where}; give fxprune an example of this size"
            guard = self.create_proxy("call_function", torch._assert, (same, note), {})
            if isinstance(value, bool):
                guard.node.meta.update(self.kind(proxy.node, value, f"{value!r} at {where}"))
        self.answers.append(Answer(where, value, free))
        return value

    def decide(self) -> bool | None:
        """The answer to a question about the numbers in a picture; None if it is not to be answered."""
        self.decided += 1
        if self.decisions is None or self.decided > MOST:
            return None
        return self.decisions.setdefault(running_line(short=False), False)

    def count(self, proxy: Valued) -> int:
        """How many there are of a tuple, a list or a tensor's first dimension: asked for only if that may change."""
        here, there = self.values[proxy.node]
        if isinstance(here, torch.Tensor):
            size: Any = self.create_proxy("call_method", "size", (proxy, 0), {})
            return int(size)
        if not _tensors(here) if there is UNKNOWN else len(here) == len(there):
            return len(here)
        size = self.create_proxy("call_function", len, (proxy,), {})
        return int(size)

    def kind(self, condition: fx.Node, value: bool, asked: str) -> dict[str, Any]:
        """What a guard is marked with, if there is a way to be rid of it."""

        def known(node: fx.Node) -> Any:
            return self.values[node][0]

        by = ratio(condition, known)
        if by is not None:
            return {HELD: by} if value is (condition.target is operator.eq) else {ASKED: (by, asked)}
        return {PADS if value else EVEN: asked} if asks_for_zero(condition, known) else {}


def concrete(
    module: nn.Module, example: tuple[Any, ...], decisions: dict[str, bool] | None = None
) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """Trace a copy (`copying.share`) with the example's values at hand; the graph, and the answers that
    could be others at another size.

    Args:
        decisions: what to answer where the numbers in a picture decide, by line; False where it is not said, which is
            written down. By default that stops the trace.

    Raises:
        TraceError: names the line of the model at which the trace stopped, and why.
    """
    tracer = ConcreteTracer(example, _larger(example))
    tracer.decisions = decisions
    try:
        with patched(module), _proxies_as_attributes(), quietly():
            graph = tracer.trace(module)
        told = tuple(f"traced for {a.value!r} at {a.where}" for a in tracer.answers if a.free)
        made = fx.GraphModule(tracer.root, graph, class_name=type(module).__name__)
        return diagonals(anew(made)), told
    except (Exception, SystemExit) as error:  # the model's own code ran: whatever it raised is told as a line of it
        raise retell(error) from None


def _larger(example: tuple[Any, ...]) -> tuple[Any, ...]:
    """Twice the pictures, of twice the height and three times the width."""
    larger: tuple[Any, ...] = resized(
        example, (2, 3), lambda image, shape: image.new_empty(1).expand(shape), batch=lambda count: 2 * count
    )
    return larger


@contextmanager
def _proxies_as_attributes() -> Iterator[None]:
    """A model may keep a traced value in a tensor's place (`self.mean = self.mean.type_as(x)`): the copy lets it.

    Afterwards the tensors stand there again.
    """
    original = nn.Module.__setattr__
    before: dict[tuple[int, str], tuple[nn.Module, Any]] = {}
    nothing = object()

    def put(self: nn.Module, name: str, value: Any) -> None:
        if isinstance(value, fx.Proxy):
            before.setdefault((id(self), name), (self, vars(self).get(name, nothing)))
            object.__setattr__(self, name, value)
        else:
            original(self, name, value)

    nn.Module.__setattr__ = put  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__setattr__ = original  # type: ignore[method-assign]
        for (_, name), (part, value) in before.items():
            if value is not nothing:
                vars(part)[name] = value
            else:
                vars(part).pop(name, None)


def _fetch(root: Any, path: str) -> Any:
    """What stands under a path. While a model is traced, plain attribute access would give proxies."""
    for name in path.split("."):
        homes = [vars(root).get(kind, {}) for kind in ("_parameters", "_buffers", "_modules")] + [vars(root)]
        root = next(home[name] for home in homes if name in home)
    return root


def _tensors(value: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(value))


def _same(a: Any, b: Any) -> bool:
    return bool(type(a) is type(b) and a == b)
