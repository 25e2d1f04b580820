"""Tracing works on a copy: what is folded, what is kept, and what is said when it stops."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import fx, nn
from torch.nn.utils import parametrizations, parametrize

import fxprune
from fxprune.errors import FxpruneError, TraceError
from fxprune.trace import trace
from tests.networks import fill
from tests.oracle import assert_exact

IMAGE = (1, 3, 8, 8)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = nn.utils.weight_norm(layer)
    return made


class Doubled(nn.Module):
    """A parametrisation that changes nothing about a channel being zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def doubled(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


NORMED = {
    "weight norm": parametrizations.weight_norm,
    "weight norm of old": old_weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "spectral norm of old": nn.utils.spectral_norm,
    "of one's own": doubled,
}


class TestFolding:
    @pytest.mark.parametrize("name", NORMED)
    def test_the_function_is_the_same(self, name: str) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(
            NORMED[name](nn.Conv2d(3, 8, 3, padding=1)), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
        ).eval()
        image = torch.rand(IMAGE)
        want = net(image)
        traced = trace(net, (image,))
        assert torch.allclose(traced.graph(image), want, atol=1e-6)
        assert "0.weight" in traced.tensors()
        assert not any("original" in n or n.endswith(("_g", "_v", "_orig", "_u")) for n in traced.tensors())
        assert "0.weight" in traced.notes[0]

    @pytest.mark.parametrize("name", NORMED)
    def test_the_model_keeps_its_own(self, name: str) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(NORMED[name](nn.Conv2d(3, 8, 3, padding=1)), nn.Conv2d(8, 3, 3, padding=1)).train()
        before, kinds = copy.deepcopy(net.state_dict()), [type(part) for part in net.modules()]
        hooks = len(net[0]._forward_pre_hooks)
        trace(net, (torch.rand(IMAGE),))
        assert [type(part) for part in net.modules()] == kinds
        assert len(net[0]._forward_pre_hooks) == hooks
        assert list(net.state_dict()) == list(before)
        assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
        net(torch.rand(IMAGE)).sum().backward()

    def test_a_weight_normed_network_compiles(self) -> None:
        net = nn.Sequential(
            parametrizations.weight_norm(nn.Conv2d(3, 8, 3, padding=1)),
            nn.ReLU(),
            old_weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
            nn.Conv2d(8, 3, 3, padding=1),
        )
        compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
        assert_exact(net, compiled.kept, compiled.module, IMAGE)


class TestWhatModelsDo:
    """Habits that trip stock tracing, or a careless rewrite."""

    def check(self, net: nn.Module, spec: str = "cut filters 50%") -> fxprune.Compiled:
        fill(net, Random(0))
        compiled = fxprune.compile(spec, net, torch.rand(IMAGE))
        assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 10, 6))
        return compiled

    def test_a_module_used_twice(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

            def forward(self, x: Any) -> Any:
                return self.c(self.b(torch.relu(self.b(self.a(x)))))

        compiled = self.check(Twice())
        assert compiled.kept["b.weight"][0] == compiled.kept["b.weight"][1] == compiled.kept["a.weight"][0]

    def test_a_parameter_shared_by_two_layers(self) -> None:
        class Shared(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(16, 3, 1)
                self.b.weight = self.a.weight

            def forward(self, x: Any) -> Any:
                return self.c(torch.cat([self.a(x), self.b(x.flip(-1))], 1))

        compiled = self.check(Shared())
        assert compiled.module.get_parameter("a.weight") is compiled.module.get_parameter("b.weight")

    def test_lists_dicts_and_several_outputs(self) -> None:
        class Several(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.many = nn.ModuleList(nn.Conv2d(3 if k == 0 else 8, 8, 1) for k in range(3))
                self.named = nn.ModuleDict({"a": nn.Conv2d(8, 3, 1), "b": nn.Conv2d(8, 1, 1)})

            def forward(self, x: Any) -> Any:
                for layer in self.many:
                    x = torch.relu(layer(x))
                return {"big": self.named["a"](x), "rest": (self.named["b"](x), x.shape[2])}

        self.check(Several())

    def test_sizes_asked_for(self) -> None:
        class Asks(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

            def forward(self, x: Any) -> Any:
                b, _, h, w = x.size()
                assert x.dim() == 4
                x = self.a(x)
                y = x.view(b, -1, h * w).transpose(1, 2).reshape(b, h, w, x.shape[1])
                return self.b(y.permute(0, 3, 1, 2))

        self.check(Asks())

    def test_a_tensor_kept_as_an_attribute(self) -> None:
        class Keeps(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
                self.mean = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)

            def forward(self, x: Any) -> Any:
                self.mean = self.mean.type_as(x)
                return self.b(self.a(x - self.mean)) + self.mean

        net = Keeps()
        self.check(net)
        assert isinstance(net.mean, torch.Tensor)
        assert not any(isinstance(value, fx.Proxy) for part in net.modules() for value in vars(part).values())

    def test_buffers_follow_channels(self) -> None:
        class Buffered(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
                self.register_buffer("gain", torch.rand(1, 8, 1, 1))
                self.register_buffer("shift", torch.rand(8, 1, 1), persistent=False)

            def forward(self, x: Any) -> Any:
                return self.b(self.a(x) * self.gain + self.shift)

        compiled = self.check(Buffered())
        assert compiled.module.get_buffer("gain").shape == (1, 4, 1, 1)
        assert compiled.module.get_buffer("shift").shape == (4, 1, 1)

    def test_no_grad_and_half_of_a_network_frozen(self) -> None:
        class Frozen(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1).requires_grad_(False), nn.Conv2d(8, 3, 1)

            @torch.no_grad()
            def features(self, x: Any) -> Any:
                return self.a(x)

            def forward(self, x: Any) -> Any:
                with torch.no_grad():
                    y = self.features(x)
                return self.b(y)

        self.check(Frozen())

    def test_dead_code(self) -> None:
        class Dead(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(8, 5, 1)

            def forward(self, x: Any) -> Any:
                x = self.a(x)
                self.c(x)
                return self.b(x)

        self.check(Dead())


class TestErrors:
    def test_a_decision_on_values_names_the_line(self) -> None:
        class Decides(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

            def forward(self, x: Any) -> Any:
                if x.sum() > 0:
                    x = -x
                return self.b(self.a(x))

        with pytest.raises(TraceError, match=r"test_trace\.py:\d+, in forward: if x\.sum\(\) > 0:"):
            fxprune.analyze(Decides(), torch.rand(IMAGE))

    def test_a_model_that_raises(self) -> None:
        class Raises(nn.Module):
            def forward(self, x: Any) -> Any:
                raise ValueError("not today")

        with pytest.raises(FxpruneError, match=r"in forward: raise ValueError.*not today"):
            fxprune.analyze(Raises(), torch.rand(IMAGE))

    def test_the_wrong_number_of_channels(self) -> None:
        net = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 3, 1))
        with pytest.raises(FxpruneError, match="4 channels"):
            fxprune.analyze(net, torch.rand(IMAGE))

    def test_a_model_that_goes_to_numpy_and_back(self) -> None:
        class Net(nn.Module):
            def forward(self, x: Any) -> Any:
                return x * torch.from_numpy(x.detach().numpy() > 0)

        with pytest.raises(TraceError, match=r"numpy\(\) > 0\): it hands a picture's numbers to numpy"):
            fxprune.analyze(Net(), torch.rand(IMAGE))

    def test_a_model_that_cannot_be_copied(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1))
        net.generator = (k for k in range(3))  # type: ignore[assignment]
        with pytest.raises(TraceError, match="cannot be copied"):
            fxprune.analyze(net, torch.rand(IMAGE))


class Merging(nn.Module):
    """A convolution and a 1 x 1 beside it that in eval mode are merged anew each time into one more convolution."""

    def __init__(self, c: int, out: int, in_place: bool) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(c, out, 3, padding=1), nn.Conv2d(c, out, 1)
        self.merged = nn.Conv2d(c, out, 3, padding=1)
        self.in_place = in_place

    def forward(self, x: Any) -> Any:
        if self.training:
            return self.wide(x) + self.narrow(x)
        weight = self.wide.weight.data + nn.functional.pad(self.narrow.weight.data, [1, 1, 1, 1])
        if self.in_place:
            with torch.no_grad():
                self.merged.weight.copy_(weight)
                self.merged.bias.copy_(self.wide.bias + self.narrow.bias)
        else:
            self.merged.weight.data = weight
            self.merged.bias.data = self.wide.bias.data + self.narrow.bias.data
        return self.merged(x)


class TestMergingInForward:
    @pytest.mark.parametrize("in_place", [False, True])
    @pytest.mark.parametrize("fresh", [False, True])
    def test_merged_first(self, in_place: bool, fresh: bool) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(Merging(3, 8, in_place), nn.ReLU(), Merging(8, 8, in_place), nn.Conv2d(8, 3, 1)).eval()
        if not fresh:
            net(torch.rand(IMAGE))
        held = {name: (p, p.detach().clone()) for name, p in net.named_parameters()}
        compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
        for name, p in net.named_parameters():
            assert p is held[name][0]
            assert torch.equal(p, held[name][1]), name
        assert compiled.kept["0.merged.weight"][0] == compiled.kept["2.merged.weight"][1]
        assert {group.kind for group in compiled.report.groups} == {"free", "protected"}
        assert any("merged first: 0.merged.weight and 3 more" in note for note in compiled.report.notes)
        assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 10, 6))


class TestWhereWeightsLie:
    """Memory that is not torch's own, or is shared, is as good as any, and left as it is."""

    @pytest.mark.parametrize("kind", ["numpy", "shared", "file", "flat"])
    def test_compiles(self, kind: str, tmp_path: Path) -> None:
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
        if kind == "numpy":
            net[0].weight = nn.Parameter(torch.from_numpy(net[0].weight.detach().numpy().copy()))
        elif kind == "shared":
            net.share_memory()
        elif kind == "file":
            save_file(net.state_dict(), tmp_path / "net.safetensors")
            net.load_state_dict(load_file(tmp_path / "net.safetensors"), assign=True)
        else:
            flat = torch.cat([p.detach().flatten() for p in net.parameters()])
            for p, part in zip(net.parameters(), flat.split([p.numel() for p in net.parameters()]), strict=True):
                p.data = part.view_as(p)
        before = [(p.data_ptr(), p.detach().clone()) for p in net.parameters()]
        compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
        assert all(
            p.data_ptr() == at and torch.equal(p, was) for p, (at, was) in zip(net.parameters(), before, strict=True)
        )
        assert not any("merged" in note for note in compiled.report.notes)
        assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 10, 6))


class TestNames:
    def test_an_argument_named_as_one_of_torchs_own(self) -> None:
        class Modulated(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Conv2d(3, 8, 1)

            def forward(self, x: Any, mod: Any) -> Any:
                return self.inner(x) * mod

        class Outer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.part, self.last = Modulated(), nn.Conv2d(8, 3, 1)

            def forward(self, x: Any) -> Any:
                return self.last(self.part(x, mod=x.mean(dim=(1, 2, 3), keepdim=True)))

        net = Outer()
        compiled = fxprune.compile("cut filters 50%", net, torch.rand(IMAGE))
        assert len(compiled.kept["part.inner.weight"][0]) == 4
        assert_exact(net, compiled.kept, compiled.module, IMAGE, (2, 3, 10, 6))

    @pytest.mark.parametrize("name", ["graph", "code"])
    def test_a_name_that_graphs_keep_for_their_own(self, name: str) -> None:
        net = Called(name)
        with pytest.raises(TraceError, match=f"something called '{name}', a name that torch.fx keeps") as error:
            fxprune.analyze(net, torch.rand(IMAGE))
        assert "nn.Sequential(network)" in str(error.value)
        wrapped = nn.Sequential(net)
        compiled = fxprune.compile("cut filters 50%", wrapped, torch.rand(IMAGE))
        assert f"0.{name}.weight" in compiled.kept
        assert_exact(wrapped, compiled.kept, compiled.module, IMAGE)


class Called(nn.Module):
    """A layer under any name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        setattr(self, name, nn.Conv2d(3, 8, 1))
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x: Any) -> Any:
        return self.last(getattr(self, self.name)(x))
