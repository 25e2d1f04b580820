"""masked ≡ compact on every network of the zoo, judged by the oracle; what must make no difference makes none."""

from __future__ import annotations

import copy
from random import Random

import pytest
import torch
from torch import nn

import fxprune
from fxprune import zoo
from fxprune.errors import VerifyError
from fxprune.groups import Groups
from fxprune.rewrite import Slicer
from tests.networks import fill
from tests.oracle import assert_exact, exact

NETWORKS: dict[str, tuple[str, dict[str, object]]] = {
    "edsr": ("edsr", {"blocks": 3, "width": 16}),
    "edsr ×3, scaled residuals": ("edsr", {"blocks": 2, "width": 16, "scale": 3, "res_scale": 0.1}),
    "edsr ×4, straight to pixels": ("edsr", {"blocks": 2, "width": 16, "scale": 4, "final_conv": False}),
    "edsr without mean shift": ("edsr", {"blocks": 2, "width": 16, "mean_shift": False}),
    "rcan": ("rcan", {"groups": 2, "blocks": 2, "width": 16, "reduction": 4}),
    "rcan without attention": ("rcan", {"groups": 2, "blocks": 2, "width": 16, "attention": False}),
    "srcnn": ("srcnn", {}),
    "fsrcnn on luma": ("fsrcnn", {"channels": 1}),
    "fsrcnn": ("fsrcnn", {"scale": 3}),
    "vdsr": ("vdsr", {"layers": 8, "width": 16}),
    "imdn": ("imdn", {"blocks": 2, "width": 24, "reduction": 4}),
    "carn": ("carn", {"width": 16}),
    "carn-m": ("carn_m", {"width": 16}),
}

SWINIR: dict[str, object] = {"groups": 1, "blocks": 2, "width": 16, "heads": 4, "window": 4, "tail_width": 8}
LATER: dict[str, tuple[str, dict[str, object]]] = {
    "drcn": ("drcn", {"recursions": 3, "width": 16}),
    "drrn": ("drrn", {"units": 3, "width": 16}),
    "esrb": ("esrb", {"blocks": 2, "width": 32, "inner": 8}),
    "hat": ("hat", {"groups": 1, "blocks": 2, "width": 16, "heads": 4, "window": 4, "tail_width": 8, "reduction": 4}),
    "lapsrn": ("lapsrn", {"layers": 2, "width": 16}),
    "lapsrn, all levels": ("lapsrn", {"layers": 2, "width": 16, "pyramid": True}),
    "latticenet": ("latticenet", {"blocks": 2, "width": 16, "inner": 12, "reduction": 4}),
    "memnet": ("memnet", {"blocks": 2, "units": 2, "width": 16, "ensemble": True}),
    "nafnet": ("nafnet", {"width": 8, "encoder": (1, 1), "middle": 1, "decoder": (1, 1)}),
    "nafssr, one view": ("nafssr", {"blocks": 2, "width": 8, "stereo": False}),
    "pan": ("pan", {"blocks": 2, "width": 16, "tail_width": 8}),
    "rdn": ("rdn", {"blocks": 2, "layers": 3, "width": 16, "growth": 8}),
    "restormer": ("restormer", {"blocks": (1, 1, 1, 1), "width": 8}),
    "rfdn": ("rfdn", {"blocks": 2, "width": 24}),
    "rrdb": ("rrdb", {"blocks": 1, "width": 16, "growth": 8}),
    "srdensenet": ("srdensenet", {"blocks": 2, "layers": 3, "growth": 8, "width": 32}),
    "swinir": ("swinir", {**SWINIR, "image_size": 12}),
    "swinir, light": ("swinir", {**SWINIR, "final_conv": False, "scale": 3}),
}


def built(name: str) -> nn.Module:
    """A network of the zoo with random weights and biases."""
    kind, arguments = {**NETWORKS, **LATER}[name]
    torch.manual_seed(1)
    net = zoo.build(kind, **arguments)
    with torch.no_grad():
        for part in net.parameters():
            if part.dim() == 1 and part.numel() > 3:
                part.add_(0.05 * torch.randn(part.shape))
    return net


@pytest.mark.parametrize(
    ("share", "by"),
    [
        (10, "l1"),
        (50, "l1"),
        (90, "l1"),
        (50, "random(seed=1)"),
        pytest.param(10, "random(seed=1)", marks=pytest.mark.slow),
        pytest.param(90, "random(seed=1)", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_masked_equals_compact(name: str, share: int, by: str) -> None:
    net, c = built(name), 1 if name.endswith("on luma") else 3
    compiled = fxprune.compile(f"cut filters {share}% by {by}", net, torch.rand(1, c, 12, 12))
    assert compiled.report.verified is not None
    assert compiled.report.verified.difference < 1e-5
    assert len(compiled.report.verified.checks) >= 2
    assert any(shape[2] != shape[3] for check in compiled.report.verified.checks for shape in check.shapes)
    assert compiled.report.params[1] < compiled.report.params[0]
    assert_exact(net, compiled.kept, compiled.module, (1, c, 12, 12), (2, c, 9, 14))


@pytest.mark.parametrize("by", ["l1", "random(seed=1)"])
@pytest.mark.parametrize("name", LATER)
def test_masked_equals_compact_later(name: str, by: str) -> None:
    """Networks with windows, recursions, pyramids, dense blocks: nearly all of each may be cut."""
    net = built(name)
    compiled = fxprune.compile(f"cut filters 50% by {by}", net, torch.rand(1, 3, 16, 16))
    inner = [row for row in compiled.report.groups if row.why != "it is the network's output"]
    free = [row for row in inner if row.kind != "protected"]
    assert sum(len(r.producers) * r.before for r in free) >= 0.9 * sum(len(r.producers) * r.before for r in inner)
    assert compiled.report.params[1] < 0.55 * compiled.report.params[0]
    assert_exact(net, compiled.kept, compiled.module, (1, 3, 16, 16), (2, 3, 16, 24))


@pytest.mark.parametrize("mode", ["heads", "head_dim"])
@pytest.mark.parametrize("name", ["swinir", "hat", "restormer"])
def test_attention_shrinks_as_the_spec_says(name: str, mode: str) -> None:
    """Heads go whole, with their columns of the position table; or all heads lose the same channels."""
    net = built(name)
    compiled = fxprune.compile(f"attention {mode}\ncut filters 50% by random(seed=2)", net, torch.rand(1, 3, 16, 16))
    assert_exact(net, compiled.kept, compiled.module, (1, 3, 16, 16), (2, 3, 16, 24))
    paths = [path for path, part in net.named_modules() if hasattr(part, "qkv")]
    checked = 0
    for path in paths:
        part = net.get_submodule(path)
        heads, rows = int(part.heads), part.get_parameter("qkv.weight").shape[0] // 3  # type: ignore[arg-type]
        kept = compiled.kept.get(f"{path}.qkv.weight", {}).get(0, ())
        per_head = [sum(k // (rows // heads) == h for k in kept if k < rows) for h in range(heads)]
        if heads > 1 and 0 < sum(per_head) < rows:
            checked += 1
            assert set(per_head) == ({0, rows // heads} if mode == "heads" else {sum(per_head) // heads}), path
        table = f"{path}.relative_position_bias_table"
        if table in compiled.kept:
            assert mode == "heads"
            assert compiled.kept[table][1] == tuple(h for h in range(heads) if per_head[h])
    assert checked or mode == "heads"


def small() -> nn.Module:
    """A residual block between two convolutions, batch norms, a depthwise layer, channel attention."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(3, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.one = nn.Conv2d(8, 12, 3, padding=1)
            self.deep = nn.Conv2d(12, 12, 3, padding=1, groups=12)
            self.two = nn.Conv2d(12, 8, 3, padding=1)
            self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
            self.tail = nn.Conv2d(8, 12, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.head(x))
            y = self.two(self.deep(torch.relu(self.one(x))))
            y = y * torch.sigmoid(self.up(torch.relu(self.down(y.mean((2, 3), keepdim=True)))))
            return nn.functional.pixel_shuffle(self.tail(x + y), 2)

    return fill(Small(), Random(0))


SPEC = "cut filters 50% by random(seed=2)"
IMAGE = (1, 3, 12, 12)


def described(groups: Groups) -> list[tuple[str, str, int, tuple[str, ...]]]:
    """What there is to know of groups, in an order of its own."""
    return sorted((g.name, g.kind, g.width, tuple(sorted(f"{m.tensor}:{m.dim}" for m in g.members))) for g in groups)


class TestMakesNoDifference:
    def test_gradients(self) -> None:
        net = small()
        wanted = described(fxprune.analyze(net, torch.rand(IMAGE)))
        frozen = small().requires_grad_(False)
        assert described(fxprune.analyze(frozen, torch.rand(IMAGE))) == wanted
        one = fxprune.compile(SPEC, net, torch.rand(IMAGE)).kept
        assert fxprune.compile(SPEC, frozen, torch.rand(IMAGE)).kept == one
        with torch.no_grad():
            assert fxprune.compile(SPEC, small(), torch.rand(IMAGE)).kept == one

    def test_mode(self) -> None:
        training, evaluating = small().train(), small().eval()
        kept = fxprune.compile(SPEC, evaluating, torch.rand(IMAGE)).kept
        compiled = fxprune.compile(SPEC, training, torch.rand(IMAGE))
        assert compiled.kept == kept
        assert_exact(training, compiled.kept, compiled.module, IMAGE)

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_batch(self, batch: int) -> None:
        net = small()
        wanted = described(fxprune.analyze(net, torch.rand(IMAGE)))
        example = torch.rand(batch, *IMAGE[1:])
        assert described(fxprune.analyze(net, example)) == wanted
        compiled = fxprune.compile(SPEC, net, example)
        assert_exact(net, compiled.kept, compiled.module, IMAGE, (batch + 1, 3, 8, 10))

    @pytest.mark.parametrize("size", [(12, 12), (9, 17)])
    def test_size(self, size: tuple[int, int]) -> None:
        net = small()
        wanted = described(fxprune.analyze(net, torch.rand(IMAGE)))
        assert described(fxprune.analyze(net, torch.rand(1, 3, *size))) == wanted

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    @pytest.mark.parametrize("flipped", [False, True])
    def test_order_of_consumers(self, order: tuple[int, ...], flipped: bool) -> None:
        """Three branches read the same stream, in any order; they are registered in any order."""

        class Branches(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Conv2d(3, 8, 3, padding=1)
                made = {
                    "plain": nn.Conv2d(8, 8, 1),
                    "piece": nn.Conv2d(4, 8, 1),
                    "wide": nn.Conv2d(16, 8, 1),
                }
                for name in sorted(made, reverse=flipped):
                    self.add_module(name, made[name])
                self.tail = nn.Conv2d(8, 3, 3, padding=1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.head(x)
                branches = [
                    lambda: self.plain(x),
                    lambda: self.piece(x.chunk(2, 1)[1]),
                    lambda: self.wide(torch.cat([x, x.relu()], 1)),
                ]
                found = {k: branches[k]() for k in order}
                return self.tail(found[0] + found[1] + found[2])

        net = fill(Branches(), Random(0))
        groups = fxprune.analyze(net, torch.rand(IMAGE))
        found = sorted((g.kind, g.width, tuple(sorted(f"{m.tensor}:{m.dim}" for m in g.members))) for g in groups)
        stream = ("piece.bias:0", "piece.weight:0", "plain.bias:0", "plain.weight:0", "tail.weight:1")
        assert ("constrained", 8, (*stream, "wide.bias:0", "wide.weight:0")) in found
        head = ("head.bias:0", "head.weight:0", "plain.weight:1", "wide.weight:1")
        assert ("free", 4, head) in found
        assert ("free", 4, tuple(sorted((*head, "piece.weight:1")))) in found
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 8, 10))


class TestTheModelComesBack:
    def test_bit_by_bit(self) -> None:
        net = small()
        net.two.eval()
        net.train(True)
        net.deep.eval()
        before = copy.deepcopy(net.state_dict())
        modes = {name: part.training for name, part in net.named_modules()}
        attributes = {name: set(vars(part)) for name, part in net.named_modules()}
        identities = {name: id(p) for name, p in net.named_parameters()}
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        assert {name: part.training for name, part in net.named_modules()} == modes
        assert {name: set(vars(part)) for name, part in net.named_modules()} == attributes
        assert {name: id(p) for name, p in net.named_parameters()} == identities
        after = net.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)
        with torch.no_grad():
            for tensor in compiled.module.parameters():
                tensor.fill_(7)  # nothing is shared with what came out
        assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)

    def test_the_input_too(self) -> None:
        class Impolite(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.b(self.a(x.mul_(0.5)).relu_())

        net, image = fill(Impolite(), Random(0)), torch.rand(IMAGE)
        before = image.clone()
        compiled = fxprune.compile(SPEC, net, image)
        assert torch.equal(image, before)
        assert_exact(net, compiled.kept, compiled.module, IMAGE)

    def test_requires_grad_is_taken_over(self) -> None:
        net = small()
        net.head.requires_grad_(False)
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        assert not compiled.module.get_parameter("head.weight").requires_grad
        assert compiled.module.get_parameter("one.weight").requires_grad


class TestAWrongCutIsCaught:
    def test_a_wrong_channel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The slicer takes other input channels of one layer than the ones that live."""
        right = Slicer.tensors

        def wrong(self: Slicer) -> dict[str, torch.Tensor]:
            made = right(self)
            made["two.weight"].data = made["two.weight"].data.roll(1, dims=1)
            return made

        monkeypatch.setattr(Slicer, "tensors", wrong)
        with pytest.raises(VerifyError, match=r"differ by .*Conv2d.*\(two, node two\)"):
            fxprune.compile(SPEC, small(), torch.rand(IMAGE))

    def test_a_wrong_number_of_channels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        right = Slicer.tensors

        def wrong(self: Slicer) -> dict[str, torch.Tensor]:
            made = right(self)
            made["two.weight"].data = made["two.weight"].data[:, :-1]
            return made

        monkeypatch.setattr(Slicer, "tensors", wrong)
        with pytest.raises(VerifyError, match=r"the compact network fails: .*\(two, node two\)"):
            fxprune.compile(SPEC, small(), torch.rand(IMAGE))

    def test_nothing_masked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The comparison is with the masked network, not with any that happens to be near."""
        monkeypatch.setattr(Slicer, "masked", lambda self: dict(self.groups.labelled.tensors))
        with pytest.raises(VerifyError, match=r"differ by"):
            fxprune.compile(SPEC, small(), torch.rand(IMAGE))

    def test_an_unmended_reduction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A mean over channels that divides by what is left."""
        from fxprune.rewrite import mends

        class Centred(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.a(x)
                return self.b(x - x.mean(1, keepdim=True))

        net = fill(Centred(), Random(0))
        assert fxprune.compile(SPEC, net, torch.rand(IMAGE)).report.params[1] < 59
        monkeypatch.setitem(mends.MENDS, ("mean", "mean"), lambda site, layer: site.node)
        with pytest.raises(VerifyError, match=r"differ by .*`mean`"):
            fxprune.compile(SPEC, net, torch.rand(IMAGE))


class TestTheOracleSaysNo:
    def test_to_other_indices(self) -> None:
        net = small()
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        kept = {name: dict(dims) for name, dims in compiled.kept.items()}
        lost = next(k for k in range(12) if k not in kept["one.weight"][0])
        kept["one.weight"][0] = (lost, *kept["one.weight"][0][1:])
        kept["one.bias"][0] = (lost, *kept["one.bias"][0][1:])
        assert not exact(net, kept, compiled.module, (torch.rand(IMAGE),))[0]

    def test_to_nothing_kept_back(self) -> None:
        net = small()
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        assert not exact(net, {}, compiled.module, (torch.rand(IMAGE),))[0]

    def test_to_another_weight(self) -> None:
        net = small()
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        with torch.no_grad():
            compiled.module.get_parameter("one.weight").view(-1)[0] += 1e-3
        same, apart = exact(net, compiled.kept, compiled.module, (torch.rand(IMAGE),))
        assert not same
        assert 1e-7 < apart < 1e-1

    def test_to_another_shape(self) -> None:
        net = small()
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        assert exact(net, compiled.kept, nn.Identity(), (torch.rand(IMAGE),)) == (False, float("inf"))

    def test_and_yes_to_rounding_alone(self) -> None:
        net = small()
        compiled = fxprune.compile(SPEC, net, torch.rand(IMAGE))
        same, apart = exact(net, compiled.kept, compiled.module, (torch.rand(IMAGE),))
        assert same
        assert apart < 1e-5
