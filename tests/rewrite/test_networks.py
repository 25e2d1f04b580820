"""Random networks: each compiles to one that the oracle finds exact, or is refused with a reason; nothing else."""

from __future__ import annotations

import warnings
from random import Random

import pytest
import torch
from hypothesis import Phase, given, settings

import fxprune
from fxprune.errors import FxpruneError, RewriteError
from tests.networks import SHAPES, Case, cases, draw_case, draw_network
from tests.oracle import exact, masked

QUICK = (Phase.explicit, Phase.generate)  # shrinking takes minutes; tools/fuzz_networks.py --show does it better


def check(case: Case) -> str:
    """Exact by the oracle at two sizes, or refused: then why."""
    images = [torch.rand(shape, generator=torch.Generator().manual_seed(5)) for shape in SHAPES]
    before = {name: tensor.clone() for name, tensor in case.network.state_dict().items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = fxprune.compile(case.spec, case.network, images[0])
    except RewriteError:
        raise
    except FxpruneError as error:
        return str(error) or pytest.fail("refused without a reason")
    assert all(torch.equal(tensor, before[name]) for name, tensor in case.network.state_dict().items())
    net = masked(case.network, {})  # its weight norms folded, each into the one tensor that it stands for
    names = {n for n, _ in (*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False))}
    assert set(compiled.kept) <= names
    for image in images:
        same, apart = exact(case.network, compiled.kept, compiled.module, (image,))
        assert same, f"masked and compact are {apart:.3g} apart at {tuple(image.shape)}"
    return ""


@settings(max_examples=60, phases=QUICK)
@given(cases(most=8))
def test_exact_or_refused(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=200, phases=QUICK)
@given(cases(most=16))
def test_larger_ones(case: Case) -> None:
    check(case)


def test_most_are_not_refused() -> None:
    refused = [why for why in (check(draw_case(Random(seed))) for seed in range(60)) if why]
    assert len(refused) <= 15, refused


def test_they_can_be_told_apart() -> None:
    """The source of networks is rich: many kinds of blocks, and no two seeds alike."""
    kinds = {type(block).__name__ for seed in range(100) for block in draw_network(Random(seed)).blocks}
    assert len(kinds) > 15
    assert len({repr(draw_network(Random(seed))) for seed in range(50)}) > 45
    assert repr(draw_network(Random(7))) == repr(draw_network(Random(7)))
