"""Blocks that are told again, not run: the same to the last id as if they had been run."""

from __future__ import annotations

import operator
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fxprune.errors import TraceError
from fxprune.groups import Groups, discover, guard, repeats
from fxprune.groups.dispatch import count_macs
from fxprune.groups.labels import Axis, Labels
from fxprune.groups.op import Op
from fxprune.groups.registry import RULES
from fxprune.groups.renaming import Renaming
from fxprune.groups.roots import Roots
from fxprune.groups.twins import Twins
from fxprune.internals import Memo
from fxprune.rewrite import can_mend
from fxprune.trace import Traced, trace
from fxprune.zoo import build
from tests.networks import draw_network
from tests.zoo.test_forward import CHANNELS, TINY

NEVER = 10**9


def plain(value: Any) -> Any:
    """What can be compared of anything that discovery gives."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tolist()
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return [(key, plain(held)) for key, held in value.items()]
    if type(value).__module__.startswith("fxprune.groups"):
        return type(value).__name__, *(plain(getattr(value, key)) for key in type(value).__slots__)
    return value


def facts(groups: Groups) -> dict[str, Any]:
    """All that discovery found."""
    labelled = groups.labelled
    parts = {"unit_of": groups.unit_of, "groups": groups.groups, "ties": labelled.ties}
    return {k: plain(v) for k, v in parts.items()} | {
        name: plain(getattr(labelled, name)) for name in ("names", "owners", "size", "values", "output", "needs")
    }


def told(traced: Traced, shortest: int = repeats.SHORTEST) -> tuple[Groups, int]:
    """The groups, and how many nodes were not run."""
    counted = [0]
    tell = repeats.Repeats.tell

    def counting(self: repeats.Repeats) -> int:
        count = tell(self)
        counted[0] += count
        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "SHORTEST", shortest)
        patch.setattr(repeats.Repeats, "tell", counting)
        return discover(traced, can_mend), counted[0]


def same_as_run(traced: Traced, shortest: int = 2) -> int:
    """Check the law; how many nodes were not run."""
    groups, count = told(traced, shortest)
    want, none = told(traced, NEVER)
    assert none == 0
    ours, theirs = facts(groups), facts(want)
    for key, value in theirs.items():
        assert ours[key] == value, key
    return count


@pytest.mark.parametrize("name", TINY)
def test_zoo(name: str) -> None:
    example = torch.rand(1, CHANNELS.get(name, 3), 24, 16)
    assert same_as_run(trace(build(name, **TINY[name]), (example,))) > 0 or name in ("fsrcnn_small", "srcnn")


class Chain(nn.Module):
    """Networks from images to images, one after the other."""

    def __init__(self, parts: list[nn.Module], residual: bool) -> None:
        super().__init__()
        self.parts, self.residual = nn.ModuleList(parts), residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            y = part(x)
            y = next(iter(y.values())) if isinstance(y, dict) else y[0] if isinstance(y, tuple) else y
            x = x + y if self.residual and y.shape == x.shape else y
            x = x if x.shape[1] == 3 else x[:, :1].repeat(1, 3, 1, 1)
        return x


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.booleans(), st.lists(st.booleans(), min_size=2, max_size=3))
def test_random_networks(seed: int, residual: bool, again: list[bool]) -> None:
    first = draw_network(Random(seed), 5)
    net = Chain([first, *(first if same else draw_network(Random(seed), 5) for same in again)], residual)
    try:
        traced = trace(net, (torch.rand(1, 3, 16, 12),))
    except TraceError:
        return
    same_as_run(traced)


class Body(nn.Module):
    """A convolution, what the blocks make of it, a convolution."""

    def __init__(self, blocks: list[nn.Module], width: int = 8) -> None:
        super().__init__()
        self.head, self.body = nn.Conv2d(3, width, 3, padding=1), nn.ModuleList(blocks)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        for block in self.body:
            x = block(x)
        return self.tail(x)


class Res(nn.Module):
    """A residual block with a literal, a buffer and a mean in it."""

    def __init__(self, width: int = 8, scale: float = 0.1) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.scale = scale
        self.shift = nn.Buffer(torch.rand(width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(torch.relu(self.a(x)) + self.shift)
        return x + self.scale * (y - y.mean(1, keepdim=True))


class InPlace(Res):
    """Writes into what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(super().forward(x)).sigmoid_()


class Slices(Res):
    """Writes into a slice of what it made, and into a slice of what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y[:, :2] = torch.sigmoid(y[:, 2:4])
        x[:, 4:] = y[:, 4:]
        return self.b(y.relu_()) + x


class Dirty(Res):
    """Gives back something of which a part was overwritten."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y[:, :2] = torch.sigmoid(y[:, 2:4])
        return y


class Picks(Res):
    """Puts the channels in an order of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.a(x)[:, self.order]


class Views(Res):
    """Gives back a view of what it was given, and one of what it made."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(torch.relu(self.a(x))).flatten(2)
        return (x.flatten(2) * y.permute(0, 2, 1).permute(0, 2, 1)).unflatten(2, x.shape[2:])


class Pair(nn.Module):
    """Two values in, two values out, in an order that changes."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.relu(self.a(x)) + y, torch.relu(self.b(y)) * x


class Pairs(nn.Module):
    """Pairs of which the first gets one value twice, and the others two that are tied, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.other = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.ModuleList(Pair() for _ in range(6))
        self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.head(x), self.other(x)
        a, b = self.body[0](first, first)
        c, d = self.body[1](first, second)
        e, f = self.body[2](a, torch.sigmoid(d))
        g, h = self.body[3](second, first)
        i, j = self.body[4](e, h)
        k, m = self.body[5](*self.body[4](g, f))
        return self.tail(torch.cat([b + c + i, j + k + m], 1))


class Copies(nn.Module):
    """Pairs of a value and its copy: ids of two arrays, of one, and one value twice."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(3, 8, 3, padding=1) for _ in range(4))
        self.body = nn.ModuleList(Pair() for _ in range(4))
        self.tail = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c, d = [head(x) for head in self.heads]
        pairs = (a, a.flip(1).flip(1)), (b, b.clone()), (c, c), (d, d.flip(1).flip(1))
        return self.tail(torch.cat([y for part, pair in zip(self.body, pairs, strict=True) for y in part(*pair)], 1))


class Halves(nn.Module):
    """Views of halves of one value, then of two, and of these one is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(3, 8, 3, padding=1) for _ in range(3))
        self.tail = nn.Conv2d(9, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c = [head(x) for head in self.heads]
        first = self.views(*a.chunk(2, 1))
        second = self.views(b.chunk(2, 1)[0], c.chunk(2, 1)[1])
        second[1].sigmoid_()
        return self.tail(torch.cat([first[0] + first[1], b.mean(1, True), second[0] + c[:, :4]], 1))

    def views(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = x.unsqueeze(0), y.unsqueeze(0)
        return x.squeeze(0), y.squeeze(0)


def order(block: nn.Module, seed: int) -> nn.Module:
    block.register_buffer("order", torch.randperm(8, generator=torch.Generator().manual_seed(seed)))
    return block


def tied() -> nn.Module:
    net = Body([Res() for _ in range(5)])
    net.body[3].b.weight = net.body[3].a.weight
    net.body[4].b.weight = net.body[1].a.weight
    return net


def frozen() -> nn.Module:
    net = Body([Res() for _ in range(4)])
    net.body[2].requires_grad_(False)
    return net


def wide() -> nn.Module:
    return Body([Res(), Res(), Res(), nn.Conv2d(8, 12, 1), Res(12), Res(12), nn.Conv2d(12, 8, 1), Res(), Res()])


def one_block() -> nn.Module:
    block = Res()
    return Body([block, block, Res(), block, Res(), Res()])


# networks that lay snares, and whether anything can be told again there
SNARES: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "residual": (lambda: Body([Res() for _ in range(6)]), True),
    "a literal differs": (lambda: Body([Res(scale=s) for s in (0.1, 0.1, 0.2, 0.1, 0.1, 1.0)]), True),
    "zero and minus zero": (lambda: Body([Res(scale=s) for s in (0.0, -0.0, 0.0, -0.0)]), True),
    "one block many times": (one_block, True),
    "widths differ": (wide, True),
    "tied": (tied, True),
    "frozen": (frozen, True),
    "views": (lambda: Body([Views() for _ in range(5)]), True),
    "orders differ": (lambda: Body([order(Picks(), seed) for seed in (0, 0, 1, 2)]), True),
    "in place": (lambda: Body([InPlace() for _ in range(4)]), False),
    "slices": (lambda: Body([Slices() for _ in range(4)]), True),
    "overwritten": (lambda: Body([Res(), Res(), Dirty(), Res(), Res()]), True),
    "copies": (Copies, True),
    "halves": (Halves, True),
    "now in place": (lambda: Body([Res(), Res(), InPlace(), Res(), Res(), Slices(), Res(), Res()]), True),
    "pairs": (Pairs, True),
    "relu in place": (
        lambda: Body([nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(True), nn.Conv2d(8, 8, 1)) for _ in range(5)]),
        True,
    ),
    "norms": (lambda: Body([nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.GELU()) for _ in range(5)]), True),
    "grouped": (lambda: Body([nn.Sequential(nn.Conv2d(8, 8, 1, groups=2), nn.PReLU(8)) for _ in range(6)]), True),
}


@pytest.mark.parametrize("snare", SNARES)
def test_snares(snare: str) -> None:
    make, some = SNARES[snare]
    assert (same_as_run(trace(make(), (torch.rand(1, 3, 6, 8),))) > 0) == some


def test_repeated_blocks_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    call = Memo.__call__
    monkeypatch.setattr(Memo, "__call__", lambda self, *args: ran.append(args[0]) or call(self, *args))
    traced = [
        trace(build("rcan", groups=2, blocks=n, width=8, reduction=4), (torch.rand(1, 3, 8, 8),)) for n in (4, 12)
    ]
    often = []
    for each in traced:
        ran.clear()
        discover(each, can_mend)
        often.append(len(ran))
    assert len(traced[1].graph.graph.nodes) > len(traced[0].graph.graph.nodes) + 100
    assert often[1] <= often[0] + 5, "blocks were run that had been run before"


def test_the_book_can_be_written_on() -> None:
    groups, count = told(trace(Body([Res() for _ in range(6)]), (torch.rand(1, 3, 6, 8),)))
    assert count > 20
    barred = guard(groups, next(n.name for n in groups.traced.graph.graph.nodes if str(n.target) == "body.5.a"))
    assert barred is not None
    assert len(barred.protected) > len(groups.protected)


def test_macs_are_counted_as_if_all_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    example = (torch.rand(1, 3, 24, 16),)
    traced = trace(build("swinir", **TINY["swinir"]), example)
    counted = count_macs(traced, example)
    monkeypatch.setattr(repeats, "SHORTEST", NEVER)
    assert counted == count_macs(traced, example)
    assert len(counted) > 20


def test_a_rule_of_the_user_is_asked_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    known = RULES["mean"]

    def mine(op: Op) -> list[Labels]:
        asked.append(op.place.node)
        return known(op)

    monkeypatch.setitem(RULES, "mean", mine)
    assert same_as_run(trace(Body([Res() for _ in range(6)]), (torch.rand(1, 3, 6, 8),)), 4) > 0
    assert len(set(asked)) == 6
    assert len(asked) == 12, "six with, six without"


def test_lists_that_change_are_left_alone() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(6))
            self.head, self.tail = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.head(x)
            for layer in self.body:
                parts = torch.split(layer(x), 4, 1)
                x = torch.cat([parts[1], torch.relu(parts[0])], 1) + x
            return self.tail(x)

    traced = trace(Lists(), (torch.rand(1, 3, 6, 8),))
    assert same_as_run(traced) > 0
    graph = traced.graph.graph
    first = next(n for n in graph.nodes if n.target in ("split", torch.split))
    with graph.inserting_after(first):
        made = graph.call_function(list, (first,))
        with graph.inserting_after(made):
            graph.call_method("reverse", (made,))
    first.replace_all_uses_with(made, lambda user: user is not made)
    traced.graph.recompile()
    assert same_as_run(traced) == 0


def test_a_list_that_changes_after_another_was_told_of_it() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(6))
            self.head, self.tail = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, kept = self.head(x), []
            for layer in self.body:
                parts = torch.split(layer(x), [3, 5], 1)
                kept.append(parts)
                x = torch.relu(torch.cat(parts, 1)) + x
            return self.tail(x + torch.cat([kept[4][1], kept[5][0]], 1))

    traced = trace(Lists(), (torch.rand(1, 3, 6, 8),))
    graph = traced.graph.graph
    lists = []
    for node in [n for n in graph.nodes if n.target in ("split", torch.split)]:
        with graph.inserting_after(node):
            lists.append(graph.call_function(list, (node,)))
        node.replace_all_uses_with(lists[-1], lambda user: user is not lists[-1])
    used = next(n for n in graph.nodes if n.target == operator.getitem)
    with graph.inserting_before(used):
        graph.call_method("reverse", (lists[0],))
    traced.graph.recompile()
    assert same_as_run(traced) > 20


def test_what_is_known_of_ids_is_one_to_one() -> None:
    names = Renaming(100, Roots([]), lambda root: pytest.fail("there is none"), [])
    a, b = np.array([1, 2, 3]), np.array([11, 12, 13])

    def labels(*ids: Any) -> Labels:
        return Labels(tuple(Axis(i, False) for i in ids))

    assert names._meet_labels(labels(a), labels(b))
    assert names._meet_labels(labels(np.array([3, 4])), labels(np.array([13, 14])))
    assert not names._meet_labels(labels(np.array([3, 5])), labels(np.array([14, 15]))), "3 is 13"
    assert not names._meet_labels(labels(np.array([6])), labels(np.array([12]))), "12 is 2's"
    assert not names._meet_labels(labels(np.array([7])), labels(np.array([0]))), "a constant is no id"
    assert not names._meet_labels(labels(np.array([0])), labels(np.array([20])))
    names.clear(0)
    assert names._meet_labels(labels(np.array([7, 7, 0])), labels(np.array([12, 12, 0])))
    assert not names._meet_labels(labels(a), Labels((Axis(b, True),)))
    assert not names._meet_labels(labels(a, a), labels(b, b.copy())), "one array is not two"


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 4))
def test_twins(kinds: list[int], most: int) -> None:
    twins = Twins(kinds)
    for node in range(len(kinds)):
        longest = 0
        for other in range(node):
            alike = 0
            while other + alike < node and node + alike < len(kinds) and kinds[other + alike] == kinds[node + alike]:
                alike += 1
            longest = max(longest, alike)
            assert min(twins.alike(other, node), node - other) == alike
        found = twins.of(node, range(node), most)
        assert all(kinds[a : a + length] == kinds[node : node + length] for a, length in found)
        assert all(a + length <= node for a, length in found)
        assert 2 * max((length for _, length in found), default=0) > longest or longest == 0
        assert len(found) <= most
