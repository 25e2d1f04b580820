"""The trainer: it does what a plain loop with `Pruner` does, takes every phase, and fails early and clearly."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fxprune import zoo
from fxprune.errors import InputError, PlanError
from fxprune.lang import parse
from fxprune.pipeline import compile
from fxprune.schedule import Pruner
from fxprune.train.events import Event, TrainError
from fxprune.train.loop import train
from fxprune.train.patches import PatchSource
from fxprune.train.pictures import leaves_set
from tests.oracle import assert_exact
from tests.train.runs import ASSL, DATA, EXAMPLE, LOTTERY, SRP, network, of, run, same, weights


def edsr() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.build("edsr", blocks=2, width=6, scale=2)


@pytest.mark.parametrize("spec", [SRP, ASSL], ids=["SRP", "ASSL"])
def test_a_plain_loop_with_the_pruner_gives_the_same(spec: str) -> None:
    """Up to the cut, to the bit: the trainer is one user of `Pruner`."""
    upto = spec.partition("finetune")[0]
    trained = run(upto, model=edsr())
    model = edsr().train()
    pruner = Pruner(upto, model, EXAMPLE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    source = PatchSource([leaves_set(3, 48, scale=2)], patch=8, batch=2)
    step = 0
    while not pruner.done:
        lr, hr = source.batch(step)
        (F.l1_loss(model(lr) * 255, hr * 255)).backward()
        pruner.before_step()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
        step += 1
    made = pruner.cut()
    assert step == trained.steps
    assert made.kept == trained.kept
    for name, tensor in weights(trained).items():
        torch.testing.assert_close(tensor, made.module.state_dict()[name], rtol=1e-5, atol=1e-7)


def test_what_it_was_given_stays_as_it_was() -> None:
    model = network().eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    trained = run(ASSL, model=model)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert not any(part.training for part in trained.module.modules())
    assert not model.training


def test_the_result_is_told_in_terms_of_the_original() -> None:
    trained = run(LOTTERY, model=edsr())
    widths = {d.group.name: (d.group.width, d.kept) for d in trained.plan.decisions if d.group.kind != "protected"}
    halved = {"head": (6, 3), "body.0.conv1": (6, 3), "body.1.conv1": (6, 3)}
    assert widths == {**halved, "tail.0": (6, 6), "tail.2": (3, 3), "sub_mean": (3, 3)}
    for name, dims in trained.kept.items():
        for dim, kept in dims.items():
            assert weights(trained)[name].shape[dim] == len(kept)
    # two cuts on end, composed: the compact network with the original's weights is the masked original
    module = copy.deepcopy(trained.module)
    original = edsr().state_dict()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            value = original[name]
            for dim, kept in trained.kept.get(name, {}).items():
                value = value.index_select(dim, torch.tensor(kept))
            tensor.copy_(value)
    assert_exact(edsr(), trained.kept, module, (1, 3, 9, 13))


def test_a_rewind_brings_the_saved_weights_back() -> None:
    spec = DATA + "protect tail.*\nsave as start\ntrain 2 steps\ncut filters 50% by l1\nrewind to start\n"
    trained = run(spec, model=edsr())
    original = edsr().state_dict()
    for name, tensor in weights(trained).items():
        value = original[name]
        for dim, kept in trained.kept.get(name, {}).items():
            value = value.index_select(dim, torch.tensor(kept))
        assert torch.equal(tensor, value), name


def test_a_spec_that_cuts_nothing_trains() -> None:
    events: list[Event] = []
    trained = run(DATA + "train 20 steps { lr 1e-3, log every 5 }\n", events, model=edsr())
    losses = [event.data["loss"] for event in of(events, "step")]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert trained.kept == {}


def test_rates_are_those_of_the_schedule() -> None:
    events: list[Event] = []
    run(DATA + "train 6 steps { lr 1, times 0.1 at 2, 4, warmup 2, log every 1 }\n", events, model=tiny())
    assert [event.data["lr"] for event in of(events, "step")] == pytest.approx([0.5, 1, 0.1, 0.1, 0.01, 0.01])


def tiny() -> nn.Module:
    """Two numbers to train: x2 by nearest neighbours, times a + b."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(self.mix(x), scale_factor=2)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Scaled()


def test_the_running_mean_is_the_phases_result() -> None:
    events: list[Event] = []
    one = DATA + "optimizer sgd(lr=1e-3)\ntrain"
    path = [weights(run(f"{one} {n} steps\n", model=tiny()))["mix.bias"] for n in (1, 2, 3)]
    mean = path[0]
    for later in path[1:]:
        mean = 0.75 * mean + 0.25 * later
    torch.testing.assert_close(weights(run(one + " 3 steps { ema 0.75 }\n", events, model=tiny()))["mix.bias"], mean)


def test_clipping_bounds_the_losss_gradient() -> None:
    spec = DATA + "optimizer sgd(lr=1)\ntrain 1 steps { clip 1e-3 }\n"
    before, after = tiny().state_dict(), weights(run(spec, model=tiny()))
    moved = math.sqrt(sum(float((after[name] - before[name]).square().sum()) for name in before))
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_until() -> None:
    events: list[Event] = []
    spec = (
        DATA
        + "train until psnr >= 1 for 50 steps { validate every 3 }\ntrain 50 steps until loss <= 1000 { log every 2 }\n"
    )
    assert run(spec, events, model=tiny()).steps == 5
    assert [event.step for event in of(events, "phase")] == [0, 3]


def test_new_weights() -> None:
    spec = DATA + "train 1 steps { init new, lr 0 }\n"
    model = edsr()
    first, second = weights(run(spec, model=model)), weights(run(spec, model=network(5)))
    name = "body.0.conv1.weight"
    assert not torch.equal(first[name], model.get_parameter(name))
    assert torch.equal(first[name], second[name])  # of the seed alone
    assert torch.equal(first["sub_mean.weight"], model.get_parameter("sub_mean.weight"))  # fixed, not trained


def test_epochs() -> None:
    assert run(DATA + "train 2 epochs\n", model=tiny()).steps == 4  # three pictures, two a step


def test_bf16_runs() -> None:
    trained = run(SRP.replace("hold 3 steps", "hold 3 steps { precision bf16 }"))
    assert all(tensor.dtype == torch.float32 for tensor in weights(trained).values())


def test_workers_change_nothing() -> None:
    assert same(run(SRP), run(SRP.replace("workers 0", "workers 2")))


def test_metrics(tmp_path: Path) -> None:
    run(SRP, run=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds[0] == "start"
    assert kinds[-1] == "finish"
    alphas = [line["alpha"] for line in lines if line["kind"] == "step" and line["phase"] == "shrink"]
    assert alphas == [0, 1, 1, 2, 2, 3, 3, 4]
    assert {"psnr", "sets"} <= next(line for line in lines if line["kind"] == "validate").keys()


def test_a_loss_that_is_no_number_ends_it_early(tmp_path: Path) -> None:
    spec = DATA + "train 4 steps\ntrain 50 steps { lr 1e30, log every 50 }\n"
    with pytest.raises(TrainError, match=r"not a number at step \d+(?s:.*)checkpoint is that of step 4 in"):
        run(spec, run=tmp_path, model=edsr(), checkpoint_every=4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("train 3 steps { lrr 1e-4 }", "`lrr` says nothing about training(?s:.*)did you mean `lr`"),
        ("train 3 steps { lr no }", "`lr` takes a number"),
        ("train 3 steps { ema 1.5 }", "less than 1"),
        ("train 3 steps { halve }", "needs the steps"),
        ("train 3 steps { precision half }", "bf16, fp16 or full"),
        ("train 3 steps { init old }", "`init` is `new`"),
        ("train 3 steps { precision fp16 }", "fp16 needs a GPU"),
        ("train 3 steps { patch 4k }", "has 8000x8000 pixels"),
        ("loss huber\ntrain 3 steps", "no loss `huber`"),
        ("loss l1(pek=3)\ntrain 3 steps", "did you mean `peak`"),
        ("optimizer adan\ntrain 3 steps", "did you mean `adam`"),
        ("optimizer adam(betas=0.9)\ntrain 3 steps", "cannot be that"),
        ("train 3 steps until ssim >= 1", "ends at a PSNR or a loss"),
        ("train", "how long"),
    ],
)
def test_refused(options: str, said: str) -> None:
    with pytest.raises((PlanError, InputError), match=said):
        run(DATA + options + "\n", model=tiny())


def test_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder DIV2K"):
        run('data train "DIV2K"\ntrain 3 steps\n', model=tiny(), data=tmp_path)


def test_a_network_that_is_no_upscaler() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(InputError, match="loop of your own"):
        train(parse(DATA + "train 3 steps\n"), model, EXAMPLE)


class Whole(nn.Module):
    """Takes whole windows of four by four, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.net = edsr()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] % 4 or x.shape[3] % 4:
            raise ValueError("not whole windows")
        made: torch.Tensor = self.net(x)
        return made


def test_every_cut_is_verified_at_the_networks_own_sizes() -> None:
    twice = DATA + "train 2 steps\ncut filters 20%\ntrain 2 steps\nmark filters 20% by l1\nhold 1 steps\ncut\n"
    sizes = ((8, 8), (4, 20))
    done = run(twice, model=Whole(), sizes=sizes)
    assert done.verified is not None
    assert [check.shapes[0] for check in done.verified.checks] == [(1, 3, 8, 8), (2, 3, 4, 20)] * 2
    compiled = compile(twice, Whole(), EXAMPLE, sizes=sizes)
    assert compiled.report.verified == done.verified
