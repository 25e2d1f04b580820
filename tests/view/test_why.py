"""Why two layers are tied, why one is protected: the chain is short, true and names the model's lines."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from fxprune.errors import InputError
from fxprune.groups import Groups
from fxprune.pipeline import analyze
from fxprune.view.why import ties_of, why
from fxprune.zoo.hat import OverlappingBlock

Found = Callable[..., Groups]


def test_the_chain_between_two_layers(found: Found) -> None:
    answer = why(found("edsr"), "body.3.conv2", "body.7.conv2")
    assert [(step.start, step.end, step.op, step.path) for step in answer.steps] == [
        ("body.3.conv2", "head", "add", "body.3"),
        ("head", "body.7.conv2", "add", "body.7"),
    ]
    assert all(step.line and "return x + residual" in step.line for step in answer.steps)
    assert "64 channels" in answer.answer


@pytest.mark.parametrize("name", ["edsr", "imdn", "carn", "rfdn"])
def test_any_two_producers_of_a_group_have_a_chain(found: Found, name: str) -> None:
    groups = found(name)
    for group in groups.constrained:
        first, *others = dict.fromkeys(producer.rpartition(".")[0] for producer in group.producers)
        for other in others[-2:]:
            steps = why(groups, first, other).steps
            assert steps[0].start == first
            assert steps[-1].end == other
            assert all(a.end == b.start for a, b in pairwise(steps))


def test_layers_that_are_not_tied(found: Found) -> None:
    answer = why(found("edsr"), "body.1.conv1", "body.2.conv1")
    assert "not tied" in answer.answer
    assert answer.steps == ()


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("body.1.conv1", "free"),
        ("head", "constrained: 64 channels made by 18 layers"),
        ("add_mean", "protected, 3 of its channels: it is the network's output"),
    ],
)
def test_one_layer(found: Found, layer: str, words: str) -> None:
    assert words in why(found("edsr"), layer).answer


def test_a_layer_that_does_not_exist(found: Found) -> None:
    with pytest.raises(InputError, match=r"did you mean .*body\.3\.conv2"):
        why(found("edsr"), "body.3.cnv2")


def test_ties_name_ops_and_lines(found: Found) -> None:
    groups = found("edsr", blocks=2, width=8)
    (index,) = [group.index for group in groups.constrained]
    ties = ties_of(groups)[index]
    assert [(tie.op, tie.path) for tie in ties] == [("add", "body.0"), ("add", "body.1"), ("add", "")]
    assert ties[0].layers == ("head", "body.0.conv2")
    assert ties[-1].line is not None
    assert ties[-1].line.startswith("edsr.py:")


class Overlapping(nn.Module):
    """HAT's overlapping attention by itself: what its queries meet has a size of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 8)
        self.block = OverlappingBlock(8, 2, 4, 6, 2)
        self.register_buffer("positions", torch.zeros(16, 36, dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.head(x.flatten(2).transpose(1, 2)), (8, 8), self.positions)


def test_a_layer_is_not_said_to_be_tied_to_itself() -> None:
    torch.manual_seed(0)
    answer = why(analyze(Overlapping(), torch.rand(1, 3, 8, 8)), "block.qkv")
    assert "protected" in answer.answer
    assert "`matmul`" in answer.answer
    assert answer.steps == ()
