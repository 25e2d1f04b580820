"""`Pruner` in a plain loop: marks, gradients, phases, weight norm, saving, and cuts that are exact."""

from __future__ import annotations

import copy
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from fxprune import zoo
from fxprune.errors import PlanError
from fxprune.schedule import Pruner, cutting
from tests.oracle import assert_exact

SRP = """
protect tail.*
mark filters 50% {
    free by l1
    constrained by random(seed=1)
}
shrink l2 { step 0.5 every 2, until 1 }
hold 3 steps
cut
finetune 5 steps
"""
ASSL = """
protect tail.*
weight_norm
mark free 50% by scale
align constrained 50% for 4 steps, while shrink l2 on scale { step 0.1 every 2, until 0.3 }
mark filters 50% by scale
shrink l2 on scale { step 0.1 every 2, until 0.3 }
hold 2 steps
cut
"""
EXAMPLE = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def edsr(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return zoo.build("edsr", blocks=2, width=6, scale=2, mean_shift=False)


def batch(step: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(100 + step)
    return torch.rand(2, 3, 8, 8, generator=random), torch.rand(2, 3, 16, 16, generator=random)


def train(pruner: Pruner, optimizer: torch.optim.Optimizer, steps: int | None = None, start: int = 0) -> int:
    """The loop of the docs; how many steps it took."""
    done = start
    while not pruner.done and (steps is None or done < start + steps):
        given, target = batch(done)
        F.l1_loss(pruner.model(given), target).backward()
        pruner.before_step()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
        done += 1
    return done


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2)


def smallest(weight: Tensor, count: int) -> tuple[int, ...]:
    """By brute force: filters in order of their L1 norm, the first ones."""
    sums = [sum(abs(x) for x in row.flatten().tolist()) for row in weight.detach()]
    return tuple(sorted(sorted(range(len(sums)), key=sums.__getitem__)[:count]))


def test_marks_are_those_of_a_brute_force_pick() -> None:
    model = edsr()
    pruner = Pruner(SRP, model, EXAMPLE)
    marks = pruner.marks()
    for block in (0, 1):
        name = f"body.{block}.conv1.weight"
        assert marks[name] == smallest(model.get_parameter(name), 3)
    tied = {marks[name] for name in ("head.weight", "body.0.conv2.weight", "body.1.conv2.weight", "body.2.weight")}
    assert len(tied) == 1
    assert len(tied.pop()) == 3
    assert set(marks) == {f"{n}.weight" for n in ("head", "body.0.conv1", "body.0.conv2", "body.1.conv1",
                                                  "body.1.conv2", "body.2")}  # fmt: skip
    assert marks == Pruner(SRP, edsr(), EXAMPLE).marks()
    assert marks != Pruner(SRP.replace("seed=1", "seed=2"), edsr(), EXAMPLE).marks()


def test_the_gradient_is_that_of_the_formula() -> None:
    model = edsr()
    pruner = Pruner(SRP, model, EXAMPLE)
    pruner.after_step()  # at step 1 the penalty has grown once
    assert pruner.strongest == 0.5
    want = copy.deepcopy(model)
    total = torch.zeros(())
    for name, marked in pruner.marks().items():
        layer = name.removesuffix(".weight")
        for part in (want.get_parameter(f"{layer}.weight"), want.get_parameter(f"{layer}.bias")):
            total = total + 0.5 / 2 * part[list(marked)].square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(pruner.penalty(), total.detach())
    pruner.before_step()
    for (name, mine), theirs in zip(model.named_parameters(), want.parameters(), strict=True):
        expected = theirs.grad if theirs.grad is not None else torch.zeros_like(theirs)
        torch.testing.assert_close(mine.grad if mine.grad is not None else torch.zeros_like(mine), expected, msg=name)


def test_before_step_adds_to_what_is_there() -> None:
    model = edsr()
    pruner = Pruner(SRP, model, EXAMPLE)
    pruner.after_step()
    pruner.before_step()
    once = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    pruner.before_step()
    assert once
    for name, gradient in once.items():
        torch.testing.assert_close(model.get_parameter(name).grad, 2 * gradient)


def test_phases_take_the_steps_they_say() -> None:
    model = edsr()
    pruner = Pruner(SRP, model, EXAMPLE)
    course = []
    for _ in range(9):
        course.append((pruner.run.word if pruner.run else None, pruner.strongest))
        pruner.after_step()
    growing = [("shrink", a) for a in (0, 0.5, 0.5, 1, 1, 1.5)]
    assert course == [*growing, *[("hold", 1.5)] * 3]
    assert pruner.done
    with pytest.raises(PlanError, match="no steps are left"):
        pruner.after_step()


def test_the_marked_vanish_and_the_cut_is_exact() -> None:
    model = edsr()
    pruner = Pruner(SRP, model, EXAMPLE)
    kept, marked = pruner.norms()
    train(pruner, adam(model))
    after = pruner.norms()
    assert after[1] < marked / 2
    assert after[1] / after[0] < marked / kept
    trained = copy.deepcopy(model)
    cutting = pruner.cut()
    assert cutting.verified is not None
    assert cutting.verified.difference < 1e-5
    assert_exact(trained, cutting.kept, cutting.module, (1, 3, 9, 13), (2, 3, 8, 8))
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), trained.state_dict().values(), strict=True)
    )
    assert next(cutting.module.get_submodule("head").parameters()).shape[0] == 3


def test_it_is_not_time_to_cut() -> None:
    pruner = Pruner(SRP, edsr(), EXAMPLE)
    with pytest.raises(PlanError, match="6 steps of `shrink` are left"):
        pruner.cut()


# -- ASSL --------------------------------------------------------------------------------------------------------------


def test_weight_norm_leaves_the_function_as_it_is() -> None:
    model = edsr()
    with torch.no_grad():
        model.get_parameter("head.weight")[2] = 0  # ‖w‖ = 0 has no direction
    before = model(EXAMPLE)
    pruner = Pruner(ASSL, model, EXAMPLE)
    torch.testing.assert_close(model(EXAMPLE), before)
    normed = {path for path, part in model.named_modules() if parametrize.is_parametrized(part)}
    assert normed == {"head", "body.0.conv1", "body.0.conv2", "body.1.conv1", "body.1.conv2", "body.2"}
    assert pruner.generation == 1


def scales(model: nn.Module, layer: str) -> Tensor:
    part: Any = model.get_submodule(layer)
    gamma: Tensor = part.parametrizations.weight.original0
    return gamma


TIED = ("head", "body.0.conv2", "body.1.conv2", "body.2")


def test_alignment_pushes_scales_alone() -> None:
    model = edsr()
    pruner = Pruner(ASSL, model, EXAMPLE)
    gammas = torch.stack([scales(model, layer).flatten() for layer in TIED]).detach().requires_grad_()
    threshold = gammas.sort(dim=1).values[:, 3:4]
    soft = torch.sigmoid(gammas - threshold)
    loss = -(soft @ soft.T).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(pruner.penalty(), loss.detach())
    pruner.before_step()
    assert gammas.grad is not None
    for layer, want in zip(TIED, gammas.grad, strict=True):
        gradient = scales(model, layer).grad
        assert gradient is not None
        torch.testing.assert_close(gradient.flatten(), want)


def test_free_groups_shrink_while_constrained_ones_align() -> None:
    model = edsr()
    pruner = Pruner(ASSL, model, EXAMPLE)
    assert set(pruner.marks()) == {"body.0.conv1.weight", "body.1.conv1.weight"}
    optimizer = adam(model)
    done = train(pruner, optimizer, 4)
    assert done == 4
    assert pruner.run is not None
    assert pruner.run.word == "shrink"
    assert set(pruner.alphas.values()) == {Fraction(2, 10)}  # what was grown beside the alignment stands
    assert len(pruner.cohorts) == 2
    assert pruner.length == 8  # the constrained ones start from 0
    assert set(pruner.marks()) == {f"{layer}.weight" for layer in (*TIED, "body.0.conv1", "body.1.conv1")}
    train(pruner, optimizer, start=4)
    assert set(pruner.alphas.values()) == {Fraction(4, 10)}
    trained = copy.deepcopy(model)
    cutting = pruner.cut()
    assert not any(parametrize.is_parametrized(part) for part in cutting.module.modules())
    assert_exact(trained, cutting.kept, cutting.module, (1, 3, 9, 13), (2, 3, 8, 8))


def test_layers_that_are_aligned_agree_more() -> None:
    model = edsr(3)
    pruner = Pruner(
        "protect tail.*\nweight_norm\nalign 50% for 300 steps { weight 10 }\ncut 50% by scale\n", model, EXAMPLE
    )
    (before,) = pruner.agreement().values()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    while not pruner.done:
        (after,) = pruner.agreement().values()
        optimizer.zero_grad()
        pruner.before_step()
        optimizer.step()
        pruner.after_step()
    assert before < 0.9
    assert after > before


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("mark filters 50%\nshrink l2 on scale { step 1 every 1, until 2 }\ncut\n", "has no scale"),
        ("align 50% for 3 steps\ncut filters 50%\n", "has no scale"),
        ("shrink l2 { step 1 every 1, until 2 }\ncut filters 50%\n", "nothing is marked that could shrink"),
        ("mark filters 50%\nshrink l1 { step 1 every 1, until 2 }\ncut\n", "no penalty `l1`"),
        ("mark filters 50%\nshrink l2 { step 1 every 1 }\ncut\n", "how long"),
        ("mark filters 50%\nshrink l2 { step 0 every 1, until 2 }\ncut\n", "grows by a number"),
        ("cut weights 50%\n", "`cut` of weights(?s:.*)is filters: mark filters 50%"),
        ("cut kernels 50% by l1\n", "`cut` of kernels"),
        ("mask kernels by random(keep=25%)\ntrain 3 steps\n", "`mask` is not available(?s:.*)there are train"),
        ("widen 2x\ntrain 3 steps\n", "`widen` is not available"),
        ("hypernet { latent 8 }\ntrain 3 steps\n", "`hypernet` is not available"),
        ("shrink filters 50% { times 0.95 every 1, until 3 }\ncut\n", "`times` is not(?s:.*)shrink l2 { step 1e-4"),
        ("shrink filters 50% { mark again every 1, until 3 }\ncut\n", "`mark again` is not available"),
        ("save as start\nrewind to start\ncut 50%\n", "the trainer's"),
        ("mark filters 50%\nhold 2 epochs\ncut\n", "how many steps is an epoch"),
    ],
)  # fmt: skip
def test_refused(spec: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        Pruner(spec, edsr(), EXAMPLE)


# -- saving ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SRP, ASSL])
@pytest.mark.parametrize("stop", [0, 1, 3, 5, 8])
def test_it_goes_on_from_a_saved_state(spec: str, stop: int) -> None:
    model = edsr()
    pruner = Pruner(spec, model, EXAMPLE)
    optimizer = adam(model)
    train(pruner, optimizer, stop)
    state = copy.deepcopy([pruner.state_dict(), model.state_dict(), optimizer.state_dict()])
    steps = train(pruner, optimizer, start=stop)

    other = edsr(7)
    again = Pruner(spec, other, EXAMPLE, resuming=True)
    again.load_state_dict(state[0])
    other.load_state_dict(state[1])
    second = adam(other)
    second.load_state_dict(state[2])
    assert train(again, second, start=stop) == steps
    mine, theirs = pruner.cut(), again.cut()
    assert mine.kept == theirs.kept
    for a, b in zip(mine.module.state_dict().values(), theirs.module.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_marks_of_another_network_are_refused() -> None:
    state = Pruner(SRP, edsr(), EXAMPLE).state_dict()
    small = zoo.build("edsr", blocks=2, width=4, scale=2, mean_shift=False)
    with pytest.raises(PlanError, match="another network"):
        Pruner(SRP, small, EXAMPLE, resuming=True).load_state_dict(state)


def test_an_accumulated_gradient_gets_the_penalty_once() -> None:
    whole, split = edsr(), edsr()
    given, target = batch(0)
    for model, parts in ((whole, [slice(0, 2)]), (split, [slice(0, 1), slice(1, 2)])):
        pruner = Pruner(SRP, model, EXAMPLE)
        pruner.after_step()
        for part in parts:
            (F.l1_loss(model(given[part]), target[part]) / len(parts)).backward()
        pruner.before_step()
    for a, b in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_under_a_gradient_scaler_the_penalty_is_not_scaled() -> None:
    plain, scaled = edsr(), edsr()
    given, target = batch(0)
    for model, scaler in ((plain, None), (scaled, torch.amp.GradScaler("cpu", init_scale=1024.0))):
        pruner, optimizer = Pruner(SRP, model, EXAMPLE), torch.optim.SGD(model.parameters(), lr=0.1)
        pruner.after_step()
        loss = F.l1_loss(model(given), target)
        if scaler is None:
            loss.backward()
            pruner.before_step()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            pruner.before_step()
            scaler.step(optimizer)
            scaler.update()
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Guided(nn.Module):
    """Takes its inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(1, 6, 1), nn.Conv2d(6, 3, 1)

    def forward(self, image: Tensor, *, mask: Tensor) -> Tensor:
        return self.tail(self.a(image) * self.b(mask))


def test_inputs_may_go_by_name() -> None:
    example = {"image": EXAMPLE, "mask": EXAMPLE[:, :1]}
    model = Guided()
    pruner = Pruner("mark filters 50% by l1\nshrink l2 { step 0.5 every 1, until 1 }\ncut", model, example)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    while not pruner.done:
        optimizer.zero_grad()
        pruner.model(**example).mean().backward()
        pruner.before_step()
        optimizer.step()
        pruner.after_step()
    done = pruner.cut()
    assert done.module.a.out_channels == 3
    assert done.module(**example).shape == EXAMPLE.shape


def test_nothing_marked_has_no_norm() -> None:
    kept, marked = Pruner("hold 1 steps\ncut 50%\n", edsr(), EXAMPLE).norms()
    assert math.isnan(kept)
    assert math.isnan(marked)


def test_batch_norms_have_scales() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.PReLU(6), nn.Conv2d(6, 3, 3))
    spec = "mark filters 50% by scale\nshrink l2 on scale { step 1 every 1, until 3 }\ncut\n"
    pruner = Pruner(spec, model, EXAMPLE)
    pruner.before_step()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {"0.bias", "1.weight", "1.bias", "2.weight"}
    train_on_noise(pruner, model)
    pruner.cut()


def train_on_noise(pruner: Pruner, model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    while not pruner.done:
        optimizer.zero_grad()
        model(batch(pruner.step)[0]).square().mean().backward()
        pruner.before_step()
        optimizer.step()
        pruner.after_step()


def test_a_slope_is_no_scale() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.Conv2d(6, 3, 3))
    with pytest.raises(PlanError, match="has no scale"):
        Pruner("mark filters 50%\nshrink l2 on scale { step 1 every 1, until 3 }\ncut\n", model, EXAMPLE)


def test_a_cut_is_verified_at_the_sizes_given() -> None:
    pruner = Pruner("cut filters 50%", edsr(), EXAMPLE, sizes=((8, 8), (4, 20)))
    verified = pruner.cut().verified
    assert verified is not None
    assert [check.shapes[0] for check in verified.checks] == [(1, 3, 8, 8), (2, 3, 4, 20)]


def test_a_mark_is_rehearsed_at_the_sizes_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cutting, "verify", lambda made, sizes: asked.append(sizes))
    Pruner(SRP, edsr(), EXAMPLE, sizes=[(8, 8)])
    assert asked == [((8, 8),)]
