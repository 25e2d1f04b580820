"""Random networks of which it is known by construction what can be cut: the measure of what discovery finds.

The bookkeeping here is a list with one name per channel, and sets of names that were tied; it knows nothing of ids,
labels or ATen. Nets are made of those blocks for which there is only one right answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import torch
from torch import nn
from torch.nn import functional as F

from fxprune.groups import Groups
from tests.blocks import Block, Call, ChannelAttention, Plain, Scale
from tests.networks import Network, Step, fill

__all__ = ["Known", "draw_known", "units_found"]

Names = tuple[str, ...]  # who a channel is, for each channel of a value


@dataclass(slots=True)
class Book:
    """Who is tied to whom, and who must stay."""

    parent: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    ties: list[tuple[int, Names, Names]] = field(default_factory=list)  # block that ties, who, whom

    def new(self, layer: str, count: int) -> Names:
        """Fresh channels."""
        names = tuple(f"{layer}:{k}" for k in range(count))
        self.parent.update((name, name) for name in names)
        return names

    def root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def tie(self, a: Names, b: Names) -> None:
        """Each of `a` lives or goes with its partner of `b`."""
        for x, y in zip(a, b, strict=True):
            self.parent[self.root(x)] = self.root(y)

    def settle(self, live: set[int]) -> None:
        """Only blocks that the output depends on tie anything."""
        for block, a, b in self.ties:
            if block in live:
                self.tie(a, b)

    def fix(self, names: Names) -> None:
        self.fixed.update(names)

    def units(self, names: Names) -> list[frozenset[int]]:
        """The channels of a layer as sets of those that go together, without those that must stay."""
        held = {self.root(name) for name in self.fixed}
        found: dict[str, set[int]] = {}
        for k, name in enumerate(names):
            if self.root(name) not in held:
                found.setdefault(self.root(name), set()).add(k)
        return sorted((frozenset(unit) for unit in found.values()), key=min)


@dataclass(frozen=True, slots=True)
class Known:
    """A network, and the units of each layer's filters."""

    network: Network
    units: dict[str, list[frozenset[int]]]  # path of a convolution → sets of filters that go together


class _Maker:
    """Draws a network block by block, keeping the book."""

    def __init__(self, r: Random) -> None:
        self.r = r
        self.book = Book()
        self.blocks: list[Block] = []
        self.steps: list[Step] = []
        self.values: list[tuple[Names, int]] = [((), 0)]  # names, times the size was doubled; value 0 is the image
        self.layers: dict[str, Names] = {}

    def put(self, block: Block, inputs: tuple[int, ...], outputs: list[Names], up: int = 0) -> None:
        self.blocks.append(block)
        self.steps.append(Step(len(self.blocks) - 1, inputs))
        at = self.values[inputs[0]][1] + up
        self.values.extend((names, at) for names in outputs)

    def conv(self, source: int, out: int | None = None, groups: int = 1) -> None:
        width = out or self.r.choice([4, 6, 8, 12])
        into = len(self.values[source][0]) or 3
        path = f"blocks.{len(self.blocks)}.layers.0"
        self.layers[path] = self.book.new(path, width)
        bias = self.r.random() < 0.7
        block = Plain(width, nn.Conv2d(into, width, 3, padding=1, groups=groups, bias=bias))
        self.put(block, (source,), [self.layers[path]])

    def tie(self, a: Names, b: Names) -> None:
        """The block that comes next ties these."""
        self.book.ties.append((len(self.blocks), a, b))

    def pick(self) -> int:
        return max(1, len(self.values) - 1 - self.r.choice([0, 0, 0, 1, 1, 2, 3]))

    def step(self) -> None:
        k = self.pick()
        names, _ = self.values[k]
        blocks = [self.conv_of, self.grouped, self.plain, self.add, self.cat, self.split, self.move, self.gate]
        self.r.choice(blocks)(k, names)

    def conv_of(self, k: int, names: Names) -> None:
        self.conv(k)

    def grouped(self, k: int, names: Names) -> None:
        """Two groups, which tie nothing: each keeps channels of its own."""
        self.conv(k, groups=1 if len(names) % 2 or len(names) < 4 else 2)

    def plain(self, k: int, names: Names) -> None:
        """What works on each channel by itself."""
        c = len(names)
        made: list[Block] = [
            Plain(c, nn.Identity(), nn.ReLU()),
            Plain(c, nn.Identity(), nn.GELU()),
            Plain(c, nn.Identity(), nn.PReLU(c)),
            Plain(c, nn.BatchNorm2d(c)),
            Plain(c, nn.InstanceNorm2d(c, affine=True)),
            Plain(c, nn.Identity(), nn.Conv2d(c, c, 3, padding=1, groups=c)),
            Plain(c, nn.AvgPool2d(3, 1, 1)),
            Scale(c, (c, 1, 1), "mul", False),
            Scale(c, (1, c, 1, 1), "add", False),
            Scale(c, (), "mul", False),
            ChannelAttention(c, 2, "conv"),
        ]
        self.put(self.r.choice(made), (k,), [names])

    def add(self, k: int, names: Names) -> None:
        others = [j for j, v in enumerate(self.values) if j not in (0, k) and (len(v[0]), v[1]) == self.like(k)]
        if not others:
            self.conv(k, len(names))
            others = [len(self.values) - 1]
        j = self.r.choice(others)
        how: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
            "add": lambda x, y: x + y,
            "gate": lambda x, y: torch.sigmoid(x) * y,
            "max": torch.maximum,
        }
        name = self.r.choice(list(how))
        self.tie(names, self.values[j][0])
        self.put(Call(name, [len(names)], how[name]), (k, j), [names])

    def like(self, k: int) -> tuple[int, int]:
        return len(self.values[k][0]), self.values[k][1]

    def cat(self, k: int, names: Names) -> None:
        j = self.r.choice([j for j, v in enumerate(self.values) if j and v[1] == self.values[k][1]])
        both = names + self.values[j][0]
        if len(both) <= 32:
            self.put(Call("cat", [len(both)], lambda x, y: torch.cat([x, y], 1)), (k, j), [both])

    def split(self, k: int, names: Names) -> None:
        c = len(names)
        if c < 6:
            return
        a = self.r.randint(2, c - 2)
        how: list[tuple[str, Callable[[torch.Tensor], object], list[Names]]] = [
            ("split", lambda x: torch.split(x, [a, c - a], 1), [names[:a], names[a:]]),
            ("slices", lambda x: (x[:, :a], x[:, a:]), [names[:a], names[a:]]),
            ("steps", lambda x: (x[:, ::2], x[:, 1::2]), [names[::2], names[1::2]]),
            ("chunk", lambda x: x.chunk(2, 1), [names[: -(-c // 2)], names[-(-c // 2) :]]),
        ]
        name, function, outputs = self.r.choice(how)
        self.put(Call(name, [len(o) for o in outputs], function), (k,), outputs)

    def move(self, k: int, names: Names) -> None:
        """Channels that change places; those that become neighbouring pixels go together."""
        c = len(names)
        if c % 4 == 0 and c > 4 and self.values[k][1] == 0:
            for first in range(0, c, 4):
                self.tie(names[first : first + 3], names[first + 1 : first + 4])
            self.put(Call("pixel shuffle", [c // 4], lambda x: F.pixel_shuffle(x, 2)), (k,), [names[::4]], up=1)
        else:
            self.put(Call("flip", [c], lambda x: x.flip(1)), (k,), [names[::-1]])

    def gate(self, k: int, names: Names) -> None:
        """Two halves multiplied."""
        c = len(names)
        if c % 2 == 0 and c >= 4:
            a, b = names[: c // 2], names[c // 2 :]
            self.tie(a, b)
            self.put(Call("gate", [c // 2], lambda x: x[:, : c // 2] * x[:, c // 2 :]), (k,), [a])


def draw_known(r: Random, most: int = 10) -> Known:
    """A random network of up to so many blocks, ending in an image that must stay whole."""
    maker = _Maker(r)
    maker.conv(0)
    for _ in range(r.randint(3, most)):
        maker.step()
    maker.conv(len(maker.values) - 1, 3)
    maker.book.fix(maker.values[-1][0])
    net = Network(maker.blocks, maker.steps, [len(maker.values) - 1])
    fill(net, r).eval()  # in training mode a batch norm has effects even if nobody reads it
    kept = {id(block) for block in net.pruned().blocks}
    live = {k for k, block in enumerate(net.blocks) if id(block) in kept}
    maker.book.settle(live)
    layers = {path: names for path, names in maker.layers.items() if int(path.split(".")[1]) in live}
    return Known(net, {path: maker.book.units(names) for path, names in layers.items()})


def units_found(groups: Groups, path: str) -> list[frozenset[int]]:
    """Sets of filters of a layer that go together, without those that must stay."""
    barred = {int(unit) for group in groups.protected for unit in group.units}
    units: dict[int, set[int]] = {}
    for k, unit in enumerate(groups.units_along(f"{path}.weight", 0).tolist()):
        if unit not in barred:
            units.setdefault(unit, set()).add(k)
    return sorted((frozenset(unit) for unit in units.values()), key=min)
