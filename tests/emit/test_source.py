"""The generated file computes what the graph computes, to the last bit, with the same names."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune.emit.source import generate, state
from fxprune.errors import RewriteError

from .nets import NETS, Residual, traced


def rebuilt(module: fx.GraphModule) -> tuple[nn.Module, str]:
    """The network of the generated file, with the tensors of the graph."""
    text = generate(module, title="A test")
    space: dict[str, Any] = {"__file__": "model.py", "__name__": "generated"}
    exec(compile(text, "model.py", "exec"), space)
    model = space["build_model"]()
    kept = state(module)
    missing = model.load_state_dict(kept, strict=False)
    shared = {id(tensor) for name, tensor in model.state_dict(keep_vars=True).items() if name in kept}
    values = model.state_dict(keep_vars=True)
    assert not missing.unexpected_keys
    assert all(id(values[name]) in shared for name in missing.missing_keys)
    return model.eval(), text


def run(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    with torch.no_grad():
        return module(*copy.deepcopy(inputs))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))
    return bool(one == other)


@pytest.mark.parametrize("name", NETS)
def test_same_numbers_to_the_last_bit(name: str) -> None:
    module, inputs = traced(name)
    model, _ = rebuilt(module)
    ours, theirs = run(model, inputs), run(module, inputs)
    assert pytree.tree_structure(ours) == pytree.tree_structure(theirs)
    for one, other in zip(pytree.tree_leaves(ours), pytree.tree_leaves(theirs), strict=True):
        assert same(one, other)


@pytest.mark.parametrize("name", NETS)
def test_same_names_types_and_gradients(name: str) -> None:
    module, _ = traced(name)
    model, text = rebuilt(module)
    ours, theirs = model.state_dict(keep_vars=True), module.state_dict(keep_vars=True)
    assert sorted(ours) == sorted(theirs)
    for key, tensor in ours.items():
        other = theirs[key]
        assert (tensor.shape, tensor.dtype, tensor.requires_grad) == (other.shape, other.dtype, other.requires_grad)
        assert isinstance(tensor, nn.Parameter) == isinstance(other, nn.Parameter)
    assert "fxprune" not in text


@pytest.mark.parametrize("name", NETS)
def test_the_same_graph_gives_the_same_text(name: str) -> None:
    module, _ = traced(name)
    assert generate(module, title="A") == generate(traced(name)[0], title="A")


READABLE = {
    "residual": [
        "for n in (4, 5, 4, 6)",
        "for block in self.body[:4]:",
        "    y = y + block.conv2(F.relu(block.conv1(y))) * 0.1",
    ],
    "nested": ["for group in self.groups:", "for block in group.blocks:"],
    "groups": ["return self.net(x)"],
    "top level": [
        'setattr(self, "0", nn.Conv2d(3, 4, 3, padding=1))',
        "return self[3](self[2](self[1](self[0](input))))",
    ],
    "gaps": ['self.odd["conv-1"]'],
    "keywords": ['def forward(self, x, k=2, mode="nearest", y=None):'],
}


@pytest.mark.parametrize("name", READABLE)
def test_it_reads_as_one_would_write_it(name: str) -> None:
    text = generate(traced(name)[0], title="A test")
    for line in READABLE[name]:
        assert line in text


def test_deep_networks_stay_short() -> None:
    blocks = [Residual(tuple([4] * n)) for n in (4, 40)]
    short, long = (generate(fx.symbolic_trace(net), title="A test").splitlines() for net in blocks)
    assert len(long) == len(short)


def test_the_docstring_takes_any_words() -> None:
    text = generate(traced("groups")[0], title='says """ and \\ and "', header=["second\\", 'third"'])
    space: dict[str, Any] = {"__file__": "model.py"}
    exec(text, space)
    assert space["__doc__"].splitlines()[0] == 'says """ and \\ and "'


def outside(x: torch.Tensor) -> torch.Tensor:
    return x


def single(function: Any, *args: Any, name: str = "x") -> fx.GraphModule:
    """A graph of one call."""
    graph = fx.Graph()
    graph.output(graph.call_function(function, (graph.placeholder(name), *args)))
    return fx.GraphModule(nn.Module(), graph)


REFUSED = {
    "a function of the user's": (lambda: single(outside), "outside cannot be written without its code"),
    "an input that hides torch": (lambda: single(torch.relu, name="torch"), "called torch"),
    "an odd constant": (lambda: single(torch.add, b"x"), "a value of type bytes cannot be written as source"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(RewriteError, match=reason):
        generate(make(), title="A test")


def test_functions_of_fxprune_are_written_out() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(shifted, (x,), {"by": 2}))
    module = fx.GraphModule(nn.Module(), graph)
    model, text = rebuilt(module)
    assert "def shifted(" in text
    assert "def doubled(" in text
    assert run(model, (torch.ones(2),)).tolist() == [6.0, 6.0]


def test_a_function_of_fxprune_that_names_too_much_is_refused() -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(entangled, (graph.placeholder("x"),)))
    with pytest.raises(RewriteError, match="entangled: names pytest"):
        generate(fx.GraphModule(nn.Module(), graph), title="A test")


OFFSET = 3


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def shifted(x: torch.Tensor, *, by: int = 1) -> torch.Tensor:
    """A function such as the rewrite stage adds to graphs."""
    values = [doubled(part) for part in (x,)]
    return values[0] + by * 2 + OFFSET - 3


def entangled(x: torch.Tensor) -> torch.Tensor:
    return x + len(pytest.__name__)


for helper in (doubled, shifted, entangled):
    helper.__module__ = "fxprune.rewrite.helpers"
