"""Scores by torch-pruning on our groups: equal to its own where it finds the same groups, to brute force elsewhere."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxprune import zoo
from fxprune.errors import PlanError
from fxprune.groups import Group, Groups, discover
from fxprune.plan.peer import PEER_CRITERIA, Calibration, peer_scores
from fxprune.trace import trace


class Chain(nn.Module):
    """Convolution, batch norm, convolution, linear, on vectors of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.c = nn.Conv2d(8, 6, 3, padding=1), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.norm(self.a(x)).relu()).mean((2, 3)))
        return y


class Residual(nn.Module):
    """EDSR without its upsampler."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)) for _ in range(3)
        )
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        for block in self.body:
            x = x + block(x)
        y: Tensor = self.tail(x)
        return y


class Shuffled(nn.Module):
    """Four filters to a unit: a convolution, a pixel shuffle by two, another convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.tail = nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tail(F.pixel_shuffle(self.up(x), 2))
        return y


def built(make: Callable[[], nn.Module]) -> tuple[nn.Module, Groups, Calibration]:
    torch.manual_seed(0)
    model = make().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 2)
    x = torch.rand(3, 3, 8, 10)
    calibration = Calibration((x,), torch.rand_like(model(x).detach()), "l2")
    return model, discover(trace(model, (x[:1],))), calibration


def cuttable(groups: Groups) -> list[Group]:
    return [group for group in groups if group.kind != "protected"]


def scores(groups: Groups, name: str, data: Calibration | None = None, aggregate: str = "mean", **args: object) -> Any:
    return peer_scores(groups, cuttable(groups), name, args=args, aggregate=aggregate, calibration=data)


def peers_own(model: nn.Module, group: Group, importance: Any) -> Any:
    """torch-pruning's score of the group it finds by itself at the same producer."""
    import torch_pruning as tp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = tp.DependencyGraph().build_dependency(model, torch.rand(1, 3, 8, 10))
        layer = model.get_submodule(group.name)
        prune = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else tp.prune_conv_out_channels
        return importance(found.get_pruning_group(layer, prune, list(range(group.width)))).numpy()


def importance_of(name: str, **args: object) -> Any:
    from torch_pruning.pruner import importance

    return getattr(importance, PEER_CRITERIA[name].importance)(**args)


@pytest.mark.parametrize("make", [Chain, Residual])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("magnitude", {"p": 1}),
        ("magnitude", {"p": 2}),
        ("magnitude", {"p": 1, "normalizer": None, "bias": True}),
        ("magnitude", {"normalizer": "gaussian"}),
        ("lamp", {}),
        ("lamp", {"p": 1}),
        ("fpgm", {}),
    ],
)
def test_the_weights_are_scored_as_torch_pruning_does(make: Any, name: str, args: dict[str, Any]) -> None:
    model, groups, _ = built(make)
    found = scores(groups, name, **args)
    assert len(found) >= 2
    for group in cuttable(groups):
        own = peers_own(model, group, importance_of(name, **args))
        np.testing.assert_allclose(found[group.index], own, rtol=1e-5, err_msg=group.name)
        assert len(np.unique(own)) == group.width


@pytest.mark.parametrize("aggregate", ["mean", "sum", "max", "first"])
def test_layers_are_combined_as_torch_pruning_does(aggregate: str) -> None:
    model, groups, _ = built(Residual)
    found = scores(groups, "magnitude", aggregate=aggregate, normalizer=None)
    for group in cuttable(groups):
        own = peers_own(model, group, importance_of("magnitude", group_reduction=aggregate, normalizer=None))
        np.testing.assert_allclose(found[group.index], own, rtol=1e-5)


@pytest.mark.parametrize("make", [Chain, Residual])
@pytest.mark.parametrize("args", [{}, {"multivariable": True}, {"bias": True}])
def test_taylor_is_torch_prunings(make: Any, args: dict[str, Any]) -> None:
    model, groups, data = built(make)
    found = scores(groups, "taylor", data, **args)
    assert data.target is not None
    F.mse_loss(model(*data.inputs), data.target).backward()  # type: ignore[no-untyped-call]
    for group in cuttable(groups):
        own = peers_own(model, group, importance_of("taylor", **args))
        np.testing.assert_allclose(found[group.index], own, rtol=1e-4, err_msg=group.name)


@pytest.mark.parametrize("make", [Chain, Residual])
def test_hessian_is_torch_prunings_on_the_mean_of_squared_gradients(make: Any) -> None:
    model, groups, data = built(make)
    found = scores(groups, "hessian", data)
    assert data.target is not None
    squares: dict[nn.Parameter, Tensor] = {}
    for x, y in zip(data.inputs[0], data.target, strict=True):
        model.zero_grad()
        F.mse_loss(model(x[None]), y[None]).backward()  # type: ignore[no-untyped-call]
        for p in model.parameters():
            assert p.grad is not None
            squares[p] = squares.get(p, torch.zeros_like(p)) + p.grad**2 / 3
    for p, square in squares.items():
        p.grad = square
    for group in cuttable(groups):
        own = peers_own(model, group, importance_of("hessian"))
        np.testing.assert_allclose(found[group.index], own, rtol=1e-4, err_msg=group.name)


def test_a_unit_of_several_filters_gets_their_sum() -> None:
    model, groups, data = built(Shuffled)
    assert isinstance(model, Shuffled)
    (group,) = cuttable(groups)
    assert group.width == 5
    made, used = model.up.weight.detach().reshape(5, 4, -1), model.tail.weight.detach().movedim(1, 0).flatten(1)
    brute = (made.abs().sum((1, 2)) + used.abs().sum(1)) / 2
    found = scores(groups, "magnitude", p=1, normalizer=None)[group.index]
    np.testing.assert_allclose(found, brute.numpy(), rtol=1e-5)
    assert data.target is not None
    F.mse_loss(model(*data.inputs), data.target).backward()  # type: ignore[no-untyped-call]
    weights = [layer.weight for layer in (model.up, model.tail)]
    terms = [(w * w.grad).detach().abs() for w in weights if w.grad is not None]
    brute = (terms[0].reshape(5, -1).sum(1) + terms[1].movedim(1, 0).flatten(1).sum(1)) / 2
    found = scores(groups, "taylor", data, normalizer=None)[group.index]
    np.testing.assert_allclose(found, brute.numpy(), rtol=1e-4)


def test_activation_is_the_mean_input_of_the_consumers() -> None:
    model, groups, data = built(Shuffled)
    assert isinstance(model, Shuffled)
    (group,) = cuttable(groups)
    seen = F.pixel_shuffle(model.up(data.inputs[0]), 2).abs().mean((0, 2, 3)).detach()
    found = scores(groups, "activation", data, normalizer=None)[group.index]
    np.testing.assert_allclose(found, seen.numpy(), rtol=1e-5)


def test_obdc_is_the_fisher_information_of_the_filters() -> None:
    model, groups, data = built(Residual)
    found = scores(groups, "obdc", data, normalizer=None)
    group = next(group for group in cuttable(groups) if group.kind == "free")
    weight = model.get_parameter(f"{group.name}.weight")
    assert data.target is not None
    total = torch.zeros(8)
    for x, y in zip(data.inputs[0], data.target, strict=True):
        (g,) = torch.autograd.grad(F.mse_loss(model(x[None]), y[None]), [weight])
        total += (weight**2 * (g**2 / 3)).detach().flatten(1).sum(1)
    np.testing.assert_allclose(found[group.index], total.numpy(), rtol=1e-3)


def channels_split() -> nn.Module:
    class Split(nn.Module):
        """One convolution's filters in two groups, and a grouped, a depthwise and a transposed convolution."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 12, 3, padding=1)
            self.b = nn.Conv2d(4, 4, 3, padding=1, groups=4)
            self.c = nn.Conv2d(8, 8, 3, padding=1, groups=2)
            self.d = nn.ConvTranspose2d(4, 6, 2, 2)
            self.e, self.f = nn.Conv2d(6, 3, 1), nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            p, q = self.a(x).split([4, 8], 1)
            y: Tensor = self.e(self.d(self.b(p))) + F.interpolate(self.f(self.c(q)), scale_factor=2)
            return y

    return Split()


@pytest.mark.parametrize("name", sorted(set(PEER_CRITERIA) - {"bn_scale"}))
@pytest.mark.parametrize("aggregate", ["mean", "min", "product"])
def test_every_criterion_scores_layers_of_every_shape(name: str, aggregate: str) -> None:
    _, groups, data = built(channels_split)
    assert len(cuttable(groups)) >= 3
    which = [g for g in cuttable(groups) if name != "activation" or g.name != "d"]  # `d` feeds nothing but `e`
    found = peer_scores(groups, which, name, args={}, aggregate=aggregate, calibration=data)
    assert sorted(found) == [group.index for group in which]
    for group in which:
        assert found[group.index].shape == (group.width,)
        assert found[group.index].dtype == np.float64
        assert np.isfinite(found[group.index]).all()


def test_coordinates_find_their_units_where_a_layer_has_two_groups() -> None:
    model, groups, _ = built(channels_split)
    found = scores(groups, "magnitude", p=1, normalizer=None, aggregate="first")
    weight = model.get_parameter("a.weight").detach().abs().flatten(1).sum(1)
    first, second = (group for group in cuttable(groups) if group.producers == ("a.weight",))
    np.testing.assert_allclose(found[first.index], weight[:4].numpy(), rtol=1e-5)
    np.testing.assert_allclose(found[second.index], weight[4:].numpy(), rtol=1e-5)
    # of the grouped convolution behind the other eight, the four filters of a group see its four channels
    both = scores(groups, "magnitude", p=1, normalizer=None, aggregate="sum")
    seen = model.get_parameter("c.weight").detach().abs().reshape(2, 4, 4, -1).sum((1, 3)).flatten()
    np.testing.assert_allclose(both[second.index], (weight[4:] + seen).numpy(), rtol=1e-5)


def test_a_transposed_convolution_is_scored_along_its_second_dimension() -> None:
    model, groups, _ = built(channels_split)
    found = scores(groups, "magnitude", p=1, normalizer=None, aggregate="first")
    group = next(group for group in cuttable(groups) if group.name == "d")
    weight = model.get_parameter("d.weight").detach()
    np.testing.assert_allclose(found[group.index], weight.abs().sum((0, 2, 3)).numpy(), rtol=1e-5)


def test_batch_norm_scales() -> None:
    model, groups, _ = built(Chain)
    first, second = cuttable(groups)[:2]
    found = peer_scores(groups, [first], "bn_scale", args={"normalizer": "none"}, aggregate="mean", calibration=None)
    np.testing.assert_allclose(found[first.index], model.get_parameter("norm.weight").detach().abs().numpy())
    with pytest.raises(PlanError, match="says nothing about the group `b`"):
        peer_scores(groups, [second], "bn_scale", args={}, aggregate="mean", calibration=None)


def test_a_group_of_zeros_scores_zero() -> None:
    torch.manual_seed(0)
    model = Residual()
    for p in model.parameters():
        nn.init.zeros_(p)
    groups = discover(trace(model, (torch.rand(1, 3, 8, 8),)))
    for name in ("magnitude", "lamp", "fpgm"):
        assert all((found == 0).all() for found in scores(groups, name).values())


@pytest.mark.parametrize("name", sorted(PEER_CRITERIA))
def test_the_model_is_left_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    model = Chain().train()
    model.a.weight.requires_grad_(False)
    model.b.weight.grad = torch.ones_like(model.b.weight)
    before = copy.deepcopy(model.state_dict())
    groups = discover(trace(model, (torch.rand(1, 3, 8, 10),)))
    data = Calibration((torch.rand(2, 3, 8, 10),), torch.rand(2, 2))
    which = [group for group in cuttable(groups) if group.name == "a"]
    random = torch.random.get_rng_state()
    peer_scores(groups, which, name, args={}, aggregate="mean", calibration=data)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training
    assert model.norm.training
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["a.weight"]
    assert [n for n, p in model.named_parameters() if p.grad is not None] == ["b.weight"]
    assert torch.equal(model.b.weight.grad, torch.ones_like(model.b.weight))
    for root in (model, groups.traced.module):
        for part in root.modules():
            assert not part._forward_hooks
            assert not hasattr(part, "_importance")


def test_frozen_weights_are_scored_all_the_same() -> None:
    model, groups, data = built(Residual)
    want = scores(groups, "taylor", data)
    model.requires_grad_(False)
    found = scores(discover(trace(model, (data.inputs[0][:1],))), "taylor", data)
    for index, values in want.items():
        np.testing.assert_array_equal(found[index], values)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no data for gradients": ("taylor", {}, "`by taylor` needs gradients\n.*calibration"),
    "no data for activations": ("activation", {}, "`by activation` needs activations"),
    "an unknown argument": ("lamp", {"q": 1}, "`lamp` takes no argument `q`\n.*bias, p"),
    "a norm of zero": ("magnitude", {"p": 0}, "`0` does not fit `p`"),
    "a norm in words": ("magnitude", {"p": "two"}, "`two` does not fit `p`"),
    "a normalizer nobody knows": ("magnitude", {"normalizer": "median"}, "`median` does not fit"),
    "an aggregate nobody knows": ("magnitude", {"aggregate": "middle"}, "no aggregate `middle`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    name, args, message = REFUSED[case]
    _, groups, _ = built(Residual)
    with pytest.raises(PlanError, match=message):
        scores(groups, name, None, **args)


BATCH = torch.zeros(2, 3, 8, 8)
UNFIT: dict[str, tuple[Callable[[], Calibration], str]] = {
    "a loss nobody knows": (lambda: Calibration((BATCH,), BATCH, "l3"), "no loss `l3`"),
    "no target": (lambda: Calibration((BATCH,)), "needs a target"),
    "a target of another size": (lambda: Calibration((BATCH,), BATCH[..., 1:]), "makes 2x3x8x8 .* is 2x3x8x7"),
    "an input of another width": (lambda: Calibration((BATCH[:, :2],), BATCH), "does not run on the calibration batch"),
    "a loss of many numbers": (lambda: Calibration((BATCH,), None, lambda y: y), "one number"),
    "a loss of nothing": (lambda: Calibration((BATCH,), None, lambda y: y.detach().sum()), "does not depend"),
    "NaN": (lambda: Calibration((BATCH * float("nan"),), BATCH), "not finite"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_calibration(case: str) -> None:
    make, message = UNFIT[case]
    _, groups, _ = built(Residual)
    with pytest.raises(PlanError, match=message):
        scores(groups, "taylor", make())


@pytest.mark.parametrize(("same_size", "low", "high"), [(False, 0.0, 1.0), (False, 0.0, 255.0), (True, 0.0, 1.0)])
def test_made_up_pictures_fit_the_network(same_size: bool, low: float, high: float) -> None:
    torch.manual_seed(0)
    model = Residual() if same_size else zoo.build("edsr", blocks=1, width=8)
    example = (torch.rand(1, 3, 12, 10).mul(high - low).add(low),)
    data = Calibration.synthetic(example, model, count=2)
    assert data.target is not None
    assert data.inputs[0].shape == (2, *example[0].shape[1:])
    assert data.target.shape == model(data.inputs[0]).shape
    assert not torch.equal(data.inputs[0], data.target)
    for pictures in (data.inputs[0], data.target):
        assert low - 1e-4 * high <= float(pictures.min()) < float(pictures.max()) <= high * (1 + 1e-4)
    again = Calibration.synthetic(example, model, count=2)
    assert torch.equal(again.inputs[0], data.inputs[0])
    groups = discover(trace(model, example))
    for criterion in ("taylor", "hessian"):
        assert all(values.any() for values in scores(groups, criterion, data).values())


def test_pictures_are_not_made_up_for_what_takes_none() -> None:
    model, groups, _ = built(Chain)
    with pytest.raises(PlanError, match="cannot be made up"):
        Calibration.synthetic(groups.traced.example, model)
