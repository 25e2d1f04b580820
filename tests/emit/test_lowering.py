"""A graph lowered to ATen ops computes the same at every size, or is refused; torch.export says the same of it."""

from __future__ import annotations

import io
import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from fxprune.emit import export
from fxprune.emit.assembly import assembled
from fxprune.emit.export import AXES, export_bytes, runs_of
from fxprune.emit.lowering import NotTaken, lower
from fxprune.emit.sizes import Size, Undecided
from fxprune.internals import DATA_DEPENDENT
from fxprune.trace import trace

from .nets import NETS, traced

EXAMPLE = (torch.rand(1, 3, 8, 12),)


class Padded(nn.Module):
    """Mirrored to whole windows of four, mixed within each, put together and cropped: SwinIR's way with sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        _, c, h, w = x.shape
        x = F.pad(x, (0, (4 - w % 4) % 4, 0, (4 - h % 4) % 4), "reflect")
        high, wide = x.shape[2], x.shape[3]
        y = x.view(x.shape[0], c, high // 4, 4, wide // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 16)
        y = self.mix(y)
        batch = int(y.shape[0] / (high * wide / 4 / 4))
        y = y.view(batch, high // 4, wide // 4, c, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(batch, c, high, wide)
        return (x + y)[:, :, :h, :w]


class Filled(nn.Module):
    """A mask made on the way and written to in place; a constant; outputs in a dict."""

    def forward(self, x: Tensor) -> dict[str, Any]:
        mask = torch.zeros(1, 1, x.shape[2], x.shape[3])
        mask[:, :, : x.shape[2] // 2] = 1
        mask[:, :, :, -2:] = 2
        one, two, three = (x * torch.tensor([1.0, 2.0, 3.0]).view(-1, 1, 1)).chunk(3, 1)
        return {"all": (one + mask, two.add_(mask)), "last": three.var((2, 3))}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.BatchNorm2d(3)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x).flatten(2)[:, :, :8]
        return self.up(x) * self.attention(y, y, y)[0].mean()


class Root(nn.Module):
    """As many rows as the root of the pixels, rounded down: a number that is no polynomial of the sizes."""

    def forward(self, x: Tensor) -> Tensor:
        side = math.floor((x.shape[2] * x.shape[3]) / 10 + 0.5)
        return F.interpolate(x, size=(side, 2 * side))


class Rows(nn.Module):
    """In memory as they should be already where there is only one: torch would leave out what puts them there."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        return x.view(n, c, h // 8, 8, w).transpose(2, 3).contiguous().view(n, -1, w) + 1


ALIKE = {"padded": Padded, "filled": Filled, "attention": Attention, "root": Root, "rows": Rows}
SHAPES = ((1, 3, 9, 14), (3, 3, 11, 8), (2, 3, 8, 8))


def graph_of(make: Callable[[], nn.Module]) -> fx.GraphModule:
    torch.manual_seed(0)
    graph = trace(make().eval(), EXAMPLE).graph
    assert isinstance(graph, fx.GraphModule)
    return graph.eval()


def calling(function: Callable[[Tensor], Any]) -> fx.GraphModule:
    """A graph that hands its input to a function, and gives back what that gives."""
    graph = fx.Graph()
    graph.output(graph.call_function(function, (graph.placeholder("x"),)))
    return fx.GraphModule(nn.Module(), graph)


@pytest.fixture
def ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to torch.export."""

    def refuse(*_: Any) -> Any:
        raise Undecided("not asked")

    monkeypatch.setattr(export, "exported", refuse)


def same(one: Any, other: Any) -> bool:
    pairs = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)


def loaded(data: bytes) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(io.BytesIO(data))


@pytest.mark.usefixtures("ours_alone")
@pytest.mark.parametrize("name", ALIKE)
def test_the_same_at_every_size(name: str) -> None:
    module = graph_of(ALIKE[name])
    exported = export_bytes(module, EXAMPLE)
    assert (exported.free, exported.note) == (("N", "H", "W"), None)
    program = loaded(exported.data)
    for shape in SHAPES:
        x = torch.rand(shape)
        if name == "rows":
            x = F.pad(x, (0, 0, 0, -x.shape[2] % 8))
        with torch.no_grad():
            assert same(program.module()(x.clone()), module(x.clone()))


@pytest.mark.usefixtures("ours_alone")
@pytest.mark.parametrize("name", sorted(NETS.keys() - {"arithmetic", "keywords"}))  # numbers go in, or come out
def test_every_small_network_is_lowered(name: str) -> None:
    module, inputs = traced(name)
    assert export_bytes(module, inputs).done


FIXED: dict[str, tuple[Callable[[Tensor], Any], tuple[str, ...]]] = {
    "a batch": (lambda x: x + torch.ones(8, 12), ("N",)),
    "one image": (lambda x: x.view(3, 8, 12) + 1, ()),
}


@pytest.mark.usefixtures("ours_alone")
@pytest.mark.parametrize("case", FIXED)
def test_one_height_and_width(case: str) -> None:
    function, free = FIXED[case]
    exported = export_bytes(calling(function), EXAMPLE)
    assert exported.free == free
    x = torch.rand(1, 3, 8, 12)
    assert same(loaded(exported.data).module()(x), function(x))


@pytest.mark.usefixtures("ours_alone")
def test_squares_alone_are_left_to_torch() -> None:
    def turned(x: Tensor) -> Tensor:
        return x + x.transpose(2, 3)

    assert not export_bytes(calling(turned), (torch.rand(1, 3, 8, 8),)).done
    assert export_bytes(calling(lambda x: x + 1), (torch.rand(1, 3, 8, 8),)).done


@pytest.mark.parametrize("name", ["padded", "filled", "attention"])
def test_the_ops_are_those_of_torch_export(name: str) -> None:
    module = graph_of(ALIKE[name])
    example = (torch.rand(2, 3, 8, 12),)
    ours = lower(module, [example]).graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.export.export(module, example, strict=False).graph
    counted = [Counter(str(n.target) for n in g.nodes if n.op == "call_function") for g in (ours, theirs)]
    assert counted[0] == counted[1]


@pytest.mark.usefixtures("ours_alone")
def test_the_program_can_be_taken_further() -> None:
    module, inputs = traced("residual")
    program = loaded(export_bytes(module, inputs).data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        core = program.run_decompositions()
    x = torch.rand(2, 3, 10, 13)
    assert same(core.module()(x), module(x))
    core.module()(x).sum().backward()
    assert all(p.grad is not None for p in core.parameters())


def test_shapes_follow_from_those_of_the_input() -> None:
    module = graph_of(lambda: nn.Sequential(nn.Conv2d(3, 12, 3), nn.PixelShuffle(2), nn.Flatten(2)))
    free = ("N", "H", "W")
    runs = runs_of(EXAMPLE, free)
    program = assembled(module, lower(module, runs), runs[0], {axis: n for axis, n in AXES.items() if n in free})
    shapes = {n.name: n.meta["val"].shape for n in program.graph.nodes if n.op != "output"}
    n, _, h, w = shapes[program.graph_signature.user_inputs[0]]
    assert shapes["conv2d_default"] == (n, 12, h - 2, w - 2)
    assert shapes["pixel_shuffle_default"] == (n, 3, 2 * h - 4, 2 * w - 4)
    assert not isinstance(shapes["flatten_using_ints"][2], int)


def counting() -> fx.GraphModule:
    """A graph that counts its runs in a buffer."""
    root = nn.Module()
    root.register_buffer("runs", torch.zeros(1))
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_method("mul", (x, graph.call_method("add_", (graph.get_attr("runs"), 1)))))
    return fx.GraphModule(root, graph)


REFUSED: dict[str, Callable[[], fx.GraphModule]] = {
    "Python asks for a size": lambda: calling(lambda x: x * 2 if x.shape[2] > 12 else x + 1),
    "Python asks for a value": lambda: calling(lambda x: x * float(x.sum())),
    "behind the calls' back": lambda: calling(lambda x: x.data + 1),
    "a buffer is written to": counting,
    "the input is written to": lambda: calling(lambda x: x.add_(1)),
    "a view of the input is written to": lambda: calling(lambda x: x[:, 1].add_(1) * 2),
    "the input is given back": lambda: calling(lambda x: (x, x + 1)),
    "a size is given back": lambda: calling(lambda x: (x + 1, x.shape[2])),
    "as many parts as rows": lambda: calling(lambda x: torch.cat(torch.split(x, 1, 2), 2)),
    "as many numbers as the values say": lambda: calling(lambda x: x + torch.nonzero(x).sum()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    with pytest.raises((Undecided, *DATA_DEPENDENT)):
        lower(REFUSED[case](), runs_of(EXAMPLE, ("N", "H", "W")))


def test_what_switches_gradients_is_refused() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.call_function(torch._C._set_grad_enabled, (False,))
    graph.output(graph.call_function(torch.relu, (x,)))
    with pytest.raises(Undecided, match="switched"):
        lower(fx.GraphModule(nn.Module(), graph), [EXAMPLE])


def test_a_refused_network_is_left_to_torch() -> None:
    exported = export_bytes(calling(lambda x: x.add_(1) * 2), EXAMPLE)
    assert exported.done
    assert exported.free == ("N", "H", "W")


class Remembers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x + 1


class Leaf(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def test_the_network_keeps_nothing_of_it() -> None:
    whole = nn.Sequential(Remembers(), nn.Conv2d(3, 3, 1))
    module = fx.GraphModule(whole, Leaf().trace(whole))
    before = dict(module.state_dict(keep_vars=True))
    lower(module, runs_of(EXAMPLE, ("N", "H", "W")))
    assert "seen" not in vars(module.get_submodule("0"))
    assert all(module.state_dict(keep_vars=True)[name] is tensor for name, tensor in before.items())


def test_a_batch_that_is_fixed_is_known_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneImage(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(1, 3, x.shape[2], x.shape[3]).mean(1)

    written = []
    archive = export.archive
    monkeypatch.setattr(export, "archive", lambda program: written.append(1) or archive(program))
    monkeypatch.setattr(export, "lowered", lambda *_: 1 / 0)
    assert export_bytes(fx.symbolic_trace(OneImage()), EXAMPLE).free == ("H", "W")
    assert written == [1]


ASKED: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda h, w: h + 2 * w - 1,
    "whole part": lambda h, w: (h * w) // 7,
    "rest": lambda h, w: (-h) % 5 + w % 3,
    "rounded": lambda h, w: math.ceil(h / 3) + math.floor(w * 0.5),
    "larger": lambda h, w: torch.sym_max(h, w) - torch.sym_min(h, 9),
    "power": lambda h, w: (h - 1) ** 2 + w,
}


@pytest.mark.parametrize("name", ASKED)
def test_numbers_are_computed_in_the_graph(name: str) -> None:
    asked = calling(lambda x: x.new_zeros(2, ASKED[name](*x.shape[2:])) + 1)
    found = lower(asked, runs_of(EXAMPLE, ("H", "W")))
    module = fx.GraphModule(nn.Module(), found.graph)
    for shape in ((1, 3, 9, 14), (1, 3, 31, 22)):
        assert module(torch.rand(shape))[0].shape == (2, int(ASKED[name](*shape[2:])))


def test_only_one_answer_is_an_answer() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError

    same_size, other = torch.SymInt(Size((4, 4), never, never)), torch.SymInt(Size((4, 5), never, never))
    assert int(same_size) == 4
    assert bool(same_size < 5)
    assert bool(other > 3)
    for ask in (int, lambda size: bool(size - 4), lambda size: bool(size == 4), lambda size: [0] * size, range):
        with pytest.raises(Undecided):
            ask(other)


@pytest.mark.parametrize("function", [min, max])
def test_the_smaller_and_the_larger_are_computed(function: Any) -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    chosen = graph.call_function(function, (graph.call_method("size", (x, 2)), 12))
    graph.output(graph.call_method("new_zeros", (x, 2, chosen)))
    found = lower(fx.GraphModule(nn.Module(), graph), runs_of(EXAMPLE, ("H", "W")))
    module = fx.GraphModule(nn.Module(), found.graph)
    assert [module(torch.rand(1, 3, h, 9))[0].shape[1] for h in (11, 12, 13)] == [function(h, 12) for h in (11, 12, 13)]


def test_the_side_of_a_square_is_computed() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    side = graph.call_function(int, (graph.call_function(math.sqrt, (graph.call_method("size", (x, 2)),)),))
    graph.output(graph.call_method("new_zeros", (x, 2, side)))
    found = lower(fx.GraphModule(nn.Module(), graph), runs_of(EXAMPLE, ("H", "W")))
    module = fx.GraphModule(nn.Module(), found.graph)
    assert [module(torch.rand(1, 3, h, 9))[0].shape[1] for h in (35, 36, 49)] == [5, 6, 7]


def test_a_run_that_is_not_taken_is_named() -> None:
    runs = [(torch.rand(1, 3, size, 8),) for size in (8, 16, 9)]
    with pytest.raises(NotTaken) as told:
        lower(calling(lambda x: x.view(x.shape[0], 3, x.shape[2] // 4, 4, 8) + 1), runs)
    assert told.value.run == 2


def test_what_differs_at_another_size_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is another for small images is lowered from large ones only."""
    module = calling(lambda x: x.mean((2, 3)) if x.shape[2] < 30 else x.view(x.shape[0], 3, -1) + 1)
    monkeypatch.setattr(export, "runs_of", lambda example, free: [(torch.rand(1, 3, n, 40),) for n in (40, 50)])
    with pytest.raises(ValueError, match="differs by inf"):
        export.lowered(module, EXAMPLE, ("H", "W"), 1e-5)


def test_the_sizes_that_torch_left_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "lowered", lambda *_: 1 / 0)
    exported = export_bytes(calling(lambda x: x * 2 if x.shape[2] > 18 else x + 1), (torch.rand(1, 3, 20, 20),))
    assert exported.done
    assert exported.note == "not for 11 x 22"
