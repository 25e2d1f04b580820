"""Example inputs: their shape and values, and telling that a network does not take one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import fxprune
from fxprune.errors import InputError, TraceError
from fxprune.models import check_example, example_for, initialise


class Late(nn.Module):
    """Its first convolution in order of registration is not the first to run."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.head(x))


class Wilful(nn.Module):
    """Right, but not to be run on shapes alone; writes to itself and to its input, draws, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.mean = torch.full((1, 1, 1, 1), 0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x -= self.mean
        self.last = x
        self.calls += 1
        x = x + torch.rand(1)
        return self.conv(x) if x.sum().item() > -1e9 else x


@pytest.mark.parametrize(
    ("module", "channels"),
    [
        (nn.Conv2d(3, 8, 3), 3),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 3, 3)), 1),
        (Late(), 3),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3)), 3),
        (nn.ReLU(), 3),
        (nn.LazyConv2d(4, 3), 3),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_channels_are_the_networks(module: nn.Module, channels: int) -> None:
    (image,) = example_for(module)
    assert image.shape == (1, channels, 48, 48)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_layers_take_their_shapes_from_the_example() -> None:
    module = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyConv2d(2, 1))
    with pytest.raises(TraceError, match=r"0\.weight has no shape yet"):
        fxprune.analyze(module, example_for(module))
    initialise(module, example_for(module))
    assert [tuple(p.shape) for p in module.parameters()] == [(4, 3, 3, 3), (4,), (2, 4, 1, 1), (2,)]
    assert len(fxprune.analyze(module, example_for(module)).free) == 1
    with pytest.raises(InputError):
        initialise(nn.Sequential(nn.LazyConv2d(4, 3), nn.Linear(5, 5)), example_for(module))


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=3), st.integers(0))
def test_values_are_uniform_reproducible_and_apart_from_the_process(shapes: list[tuple[int, ...]], seed: int) -> None:
    state = torch.get_rng_state()
    example = example_for(nn.ReLU(), tuple(shapes), seed % 2**63)
    again = example_for(nn.ReLU(), tuple(shapes), seed % 2**63)
    assert torch.equal(torch.get_rng_state(), state)
    assert [tuple(tensor.shape) for tensor in example] == shapes
    assert all(torch.equal(a, b) and a.min() >= 0 and a.max() < 1 for a, b in zip(example, again, strict=True))


@pytest.mark.parametrize(
    "shape", [(), (1, 0, 4, 4), (1, 3, -1, 4), (1, 3, 4.5, 4), (10**6, 10**6), (1, True, 4, 4), "1x3"]
)
def test_shapes_that_are_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="1x3x48x48"):
        example_for(nn.ReLU(), shape)


def test_wrong_channels_name_the_layer_and_the_line() -> None:
    net = Late()
    check_example(net, example_for(net))
    with pytest.raises(InputError) as caught:
        check_example(net, example_for(net, (1, 4, 8, 8)))
    said = str(caught.value)
    assert "does not take an input of 1x4x8x8: layer head (Conv2d)" in said
    assert "test_example.py:" in said.partition(" ")[0]
    assert "expected input[1, 4, 8, 8] to have 3 channels" in said


@pytest.mark.parametrize("shape", [(48,), (1, 3), ((1, 3, 8, 8), (1, 3, 8, 8)), (1, 3, 1, 1)])
def test_other_wrong_inputs(shape: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(InputError):
        check_example(net, example_for(net, shape))


def test_code_that_needs_values_is_run_for_real_on_a_copy() -> None:
    net = Wilful().train()
    example = example_for(net)
    before, state = example[0].clone(), torch.get_rng_state()
    check_example(net, example)
    assert torch.equal(example[0], before)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.calls == 0
    assert net.training
    assert not hasattr(net, "last")
    assert not net._forward_hooks
    with pytest.raises(InputError):
        check_example(net, example_for(net, (1, 3, 8, 8)))


def test_network_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = Late()
    check_example(net, example_for(net))
    with pytest.raises(InputError):
        check_example(net, example_for(net, (1, 5, 8, 8)))
