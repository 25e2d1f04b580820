"""The table of names: lazy, complete, and plain about what it does not know."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from fxprune.errors import ModelError
from fxprune.zoo import NETWORKS, Network, build, describe


def test_listing_names_does_not_import_torch() -> None:
    code = "import sys, fxprune.zoo as z; assert 'edsr' in z.NETWORKS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_are_sorted() -> None:
    assert list(NETWORKS) == sorted(NETWORKS)


def test_every_name_loads_and_documents_each_argument() -> None:
    for name, network in NETWORKS.items():
        doc = network.load().__doc__ or ""
        assert set(network.preset) <= set(network.parameters()), name
        for argument, parameter in network.parameters().items():
            assert re.search(rf"^\s+{argument}: ", doc, re.MULTILINE), f"{name}: {argument} is not documented"
            assert parameter.default is not parameter.empty, f"{name}: {argument} has no default"


def test_describe_lists_every_name_once() -> None:
    text = describe()
    assert [line.split("`")[1] for line in text.splitlines()[2:]] == sorted(NETWORKS)
    assert "blocks=16, width=64, channels=3, res_scale=1.0, final_conv=yes" in text


def test_a_preset_yields_to_the_caller() -> None:
    with torch.device("meta"):
        net = build("edsr_large", blocks=1)
    assert net.get_parameter("head.weight").shape == (256, 3, 3, 3)
    assert len(net.get_submodule("body")._modules) == 2


def test_a_whole_number_will_do_for_a_number() -> None:
    with torch.device("meta"):
        assert build("edsr", blocks=1, res_scale=1).get_submodule("body.0").res_scale == 1.0


def test_exact_numbers_and_lists_are_taken() -> None:
    with torch.device("meta"):
        net = build("edsr", blocks=Fraction(1), width=Fraction(8, 2), res_scale=Fraction(1, 10))
        assert net.get_parameter("head.weight").shape == (4, 3, 3, 3)
        assert net.get_submodule("body.0").res_scale == 0.1
        assert len(build("nafnet", encoder=[1], decoder=[Fraction(2)]).get_submodule("decoders.0")._modules) == 2


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("edsrr", {}, ["no network 'edsrr'", "did you mean edsr"]),
        ("EDSR", {}, ["did you mean edsr"]),
        ("qqq", {}, ["there are carn, carn_m, drcn"]),
        ("edsr", {"widht": 8}, ["no argument 'widht'", "did you mean width?", "scale=2, blocks=16, width=64"]),
        ("edsr", {"width": "x"}, ["width is a whole number from 1 to 1,000,000, not 'x'", "default is width=64"]),
        ("edsr", {"width": 0}, ["width is a whole number", "not 0"]),
        ("edsr", {"width": 10**400}, ["width is a whole number from 1 to 1,000,000"]),
        ("edsr", {"res_scale": 10**400}, ["res_scale is a number"]),
        ("edsr", {"width": True}, ["not yes"]),
        ("edsr", {"width": 4.5}, ["not 4.5"]),
        ("edsr", {"width": Fraction(9, 2)}, ["width is a whole number", "not 9/2"]),
        ("edsr", {"res_scale": float("nan")}, ["res_scale is a number"]),
        ("edsr", {"final_conv": 1}, ["final_conv is yes or no, not 1"]),
        ("edsr", {"scale": 5, "width": 4, "blocks": 1}, ["scale=5 is neither 3 nor a power of two"]),
        ("edsr", {"channels": 1, "width": 4, "blocks": 1}, ["channels=1", "mean_shift=no"]),
        ("rcan", {"width": 8, "groups": 1, "blocks": 1}, ["reduction=16 leaves no channel of width=8"]),
        ("imdn", {"width": 8}, ["reduction=16 leaves no channel of width=8"]),
        ("nafnet", {"encoder": 3}, ["encoder is a list of whole numbers"]),
        ("nafnet", {"encoder": (1, 1)}, ["2 levels are encoded and 4 decoded"]),
        ("restormer", {"blocks": (1, 0)}, ["blocks is a list of whole numbers from 1 to 1,000,000, not (1, 0)"]),
        ("restormer", {"heads": (1, 2, 4, 7)}, ["a level of 384 channels cannot have 7 heads"]),
        ("swinir", {"width": 20, "heads": 3}, ["width=20 is not a multiple of heads=3"]),
        ("swinir", {"image_size": 60}, ["image_size=60 is not a multiple of window=8"]),
        ("swinir", {"drop_path": 1.0}, ["drop_path=1.0 is not a probability below 1"]),
        ("hat", {"drop_path": -0.1}, ["drop_path=-0.1 is not a probability below 1"]),
        ("hat", {"overlap": -0.5}, ["overlap=-0.5 is negative"]),
        ("hat", {"window": 6, "overlap": 0.5}, ["a window of 6 cannot reach 3 pixels over its edges"]),
        ("srcnn", {"kernel": 2}, ["kernel=2 is even"]),
        ("srcnn", {"width": 1}, ["width=1 leaves no channel"]),
        ("vdsr", {"layers": 1}, ["layers=1 is less than"]),
        ("rfdn", {"width": 3}, ["width=3 leaves no channel for the spatial attention"]),
        ("pan", {"width": 1}, ["width=1 cannot be halved"]),
        ("latticenet", {"width": 17}, ["width=17 cannot be halved"]),
        ("restormer", {"width": 9}, ["width=9 is odd"]),
        ("lapsrn", {"scale": 3}, ["scale=3 is not a scale of this network", "it knows 2, 4, 8"]),
        ("carn", {"width": 6, "conv_groups": 4}, ["width=6 is not a multiple of conv_groups=4"]),
    ],
)
def test_what_it_refuses(name: str, arguments: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        build(name, **arguments)
    for part in parts:
        assert part in str(caught.value)


def test_all_wrong_arguments_are_reported_in_one_go() -> None:
    with pytest.raises(ModelError) as caught:
        build("edsr", widht=3, blocks=-1)
    assert len(caught.value.diagnostics) == 2


def test_a_network_too_large_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(**_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Network, "load", lambda self: exhausted)
    monkeypatch.setattr(Network, "parameters", lambda self: {})
    with pytest.raises(ModelError, match="edsr of this size does not fit into memory"):
        build("edsr")
