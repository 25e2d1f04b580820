"""Networks with several inputs: by position, by name, nested, and what they give back."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

import fxprune
from fxprune.errors import InputError
from tests.networks import fill
from tests.oracle import exact


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.map, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(1, 8, 1), nn.Conv2d(8, 3, 1)

    def joined(self, image: Any, mask: Any, strength: float = 1.0) -> Any:
        return self.last(torch.relu(self.image(image)) + strength * self.map(mask))


class Positional(Base):
    def forward(self, image: Any, mask: Any, strength: float = 1.0) -> Any:
        return self.joined(image, mask, strength)


class Late(Base):
    def forward(self, image: Any, strength: float = 0.5, mask: Any = None) -> Any:
        return self.joined(image, mask, strength) if mask is not None else self.last(self.image(image))


class NameOnly(Base):
    def forward(self, image: Any, *, mask: Any, strength: float = 0.5) -> Any:
        return self.joined(image, mask, strength)


class OneDict(Base):
    def forward(self, batch: Any) -> Any:
        found = dict(batch.items())
        if "mask" in batch and len(batch) == 2:
            return {"sr": self.joined(found["image"], batch.get("mask")), "shape": batch["image"].shape[2:]}
        return {"sr": self.last(self.image(batch["image"]))}


class Unpacked(Base):
    def forward(self, batch: Any) -> Any:
        return self.named(**batch), [batch["mask"]]

    def named(self, image: Any, mask: Any) -> Any:
        return self.joined(image, mask)


class Pair(Base):
    def forward(self, pair: Any) -> Any:
        image, mask = pair
        return self.joined(image, mask)


def image(*size: int) -> torch.Tensor:
    return torch.rand(1, 3, *size)


def mask(*size: int) -> torch.Tensor:
    return torch.rand(1, 1, *size)


CASES: dict[str, tuple[type[Base], Any]] = {
    "by position": (Positional, lambda *s: (image(*s), mask(*s))),
    "a list": (Positional, lambda *s: [image(*s), mask(*s)]),
    "by name": (Positional, lambda *s: {"mask": mask(*s), "image": image(*s)}),
    "by name, one in between left out": (Late, lambda *s: {"mask": mask(*s), "image": image(*s)}),
    "by name, the last left out": (Late, lambda *s: {"image": image(*s)}),
    "by name only": (NameOnly, lambda *s: {"mask": mask(*s), "image": image(*s)}),
    "one dict": (OneDict, lambda *s: {"mask": mask(*s), "image": image(*s), "extra": mask(*s)}),
    "one dict of two": (OneDict, lambda *s: ({"mask": mask(*s), "image": image(*s)},)),
    "one dict unpacked": (Unpacked, lambda *s: {"mask": mask(*s), "image": image(*s)}),
    "a pair": (Pair, lambda *s: ((image(*s), mask(*s)),)),
}


class ByName(nn.Module):
    """Takes by position what the network takes by name only, for the oracle."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Any, mask: Any) -> Any:
        return self.net(image, mask=mask)


@pytest.mark.parametrize("name", CASES)
def test_compiles(name: str) -> None:
    torch.manual_seed(0)
    kind, example = CASES[name]
    net = kind()
    fill(net, Random(0))
    compiled = fxprune.compile("cut filters 50%", net, example(8, 8))
    assert len(compiled.kept["image.weight"][0]) == 4
    assert not any("fixed" in note for note in compiled.report.notes)
    for size in ((8, 8), (10, 6)):
        inputs = fxprune.models.inputs_of(net, example(*size))
        kept, original = compiled.kept, net
        if kind is NameOnly:
            kept, original = {f"net.{key}": dims for key, dims in kept.items()}, ByName(net)
        same, apart = exact(original, kept, compiled.module, inputs)
        assert same, apart


@pytest.mark.parametrize("name", CASES)
def test_saves_and_loads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    kind, example = CASES[name]
    net = kind()
    inputs = fxprune.models.inputs_of(net, example(8, 8))
    compiled = fxprune.compile("cut filters 50%", net, example(8, 8))
    compiled.save(tmp_path / "out")
    again = fxprune.load(tmp_path / "out")
    want, got = (torch.utils._pytree.tree_leaves(each.eval()(*inputs)) for each in (compiled.module, again))
    for a, b in zip(want, got, strict=True):
        assert a == b if isinstance(a, int) else torch.allclose(a, b, atol=1e-6)


class OfVideos(nn.Module):
    """Frames side by side; pads where it must. A code for each video tells how much of it to take."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.read, self.last = nn.Conv2d(9, 8, 3, padding=1), nn.Linear(5, 8), nn.Conv2d(8, 3, 1)

    def forward(self, video: Any, code: Any, level: Any) -> Any:
        n, t, c, h, w = video.shape
        x = self.first(video.reshape(n, t * c, h, w))
        if h % 4:
            x = torch.nn.functional.pad(x, (0, 0, 0, 4 - h % 4))
        return self.last(x * torch.sigmoid(self.read(code))[:, :, None, None] + level)[..., :h, :]


def test_videos_and_codes() -> None:
    """A video's height and width are as free as a picture's, whatever else goes in."""
    torch.manual_seed(0)
    net = OfVideos()
    example = torch.rand(1, 3, 3, 16, 16), torch.rand(1, 5), torch.rand(1, 1, 1, 1)
    compiled = fxprune.compile("cut filters 50%", net, example)
    assert len(compiled.kept["first.weight"][0]) == 4
    for n, h, w in ((1, 8, 12), (2, 4, 6), (1, 10, 8)):
        same, apart = exact(
            net, compiled.kept, compiled.module, (torch.rand(n, 3, 3, h, w), torch.rand(n, 5), torch.rand(n, 1, 1, 1))
        )
        assert same, apart
    assert not any("verified at one size" in note for note in compiled.report.notes)


def test_a_name_too_few() -> None:
    with pytest.raises(InputError, match=r"no mask, which Positional\.forward needs"):
        fxprune.analyze(Positional(), {"image": image(8, 8)})


def test_something_else() -> None:
    with pytest.raises(InputError, match="a tensor, a tuple of inputs or a dict of inputs by name, not str"):
        fxprune.analyze(Positional(), "an image")
