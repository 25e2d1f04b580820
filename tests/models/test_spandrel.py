"""A checkpoint alone is a model where spandrel knows its network, torchvision or not; else it is said why not."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

import fxprune
from fxprune.cli import front
from fxprune.errors import ModelError
from fxprune.models import Loaded, load_model
from fxprune.models import spandrel as bridge
from fxprune.models.spandrel import INSTALL, library, sizes_for
from tests.oracle import masked

needs_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None, reason=f"spandrel is not installed: {INSTALL}"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fresh() -> Iterator[None]:
    """spandrel not yet imported; whatever was imported is back afterwards."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if known_by(name)}
    yield
    for name in [name for name in sys.modules if known_by(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def known_by(module: str) -> bool:
    return module.partition(".")[0] in ("spandrel", "torchvision")


def esrgan(scale: int = 2) -> nn.Module:
    """A small network of spandrel's."""
    library()
    made: Any = importlib.import_module("spandrel.architectures.ESRGAN").ESRGAN
    torch.manual_seed(0)
    network = made(num_filters=8, num_blocks=1, scale=scale)
    assert isinstance(network, nn.Module)
    return network


def refused(reference: str, **given: Any) -> str:
    """What is said about a reference that is refused."""
    with pytest.raises(ModelError) as caught:
        load_model(reference, **given)
    return str(caught.value)


def same(loaded: Loaded, network: nn.Module) -> bool:
    """Whether the loaded network computes what the other does."""
    image = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        return torch.equal(loaded.module.eval()(image), network.eval()(image))


@needs_spandrel
@pytest.mark.parametrize("wrapped", [None, "params_ema", "state_dict", "generator"])
def test_a_checkpoint_of_a_known_network_is_a_model(wrapped: str | None) -> None:
    network = esrgan()
    state = network.state_dict()
    torch.save({wrapped: state, "epoch": 3} if wrapped else state, "x2.pth")
    loaded = load_model("x2.pth")
    assert same(loaded, network)
    assert (loaded.reference, loaded.weights, loaded.input_channels) == ("x2.pth", Path("x2.pth"), 3)


@needs_spandrel
def test_it_may_be_safetensors_and_be_named_with_its_family() -> None:
    network = esrgan()
    save_file({name: tensor.clone() for name, tensor in network.state_dict().items()}, "x2.safetensors")
    assert same(load_model("spandrel:x2.safetensors"), network)


@needs_spandrel
def test_its_sizes_come_along() -> None:
    torch.save(esrgan().state_dict(), "x2.pth")
    loaded = load_model("x2.pth")
    assert loaded.example == (48, 48)
    assert len(loaded.sizes) == 3
    with torch.no_grad():
        for size in loaded.sizes:
            assert loaded.module(torch.rand(1, 3, *size)).shape[2:] == tuple(2 * side for side in size)


@needs_spandrel
def test_unknown_weights_are_refused() -> None:
    torch.save({"a.weight": torch.zeros(3)}, "a.pth")
    said = refused("a.pth")
    assert "a.pth is a checkpoint of no network that spandrel knows" in said
    assert "this file as its weights" in said


@needs_spandrel
def test_weights_that_do_not_fit_are_refused() -> None:
    state = esrgan().state_dict()
    del state["model.3.weight"]
    torch.save(state, "x2.pth")
    said = refused("x2.pth")
    assert "x2.pth looks like a network that spandrel knows, but cannot be loaded" in said
    assert "Traceback" not in said


@needs_spandrel
def test_a_network_that_fills_holes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spandrel = library()

    class Filler:
        purpose = "Inpainting"
        architecture = type("Named", (), {"name": "LaMa"})

    monkeypatch.setattr(type(spandrel.MAIN_REGISTRY), "load", lambda registry, state: Filler())
    torch.save({"a.weight": torch.zeros(3)}, "a.pth")
    assert "a.pth is a checkpoint of LaMa, a network that fills holes in images" in refused("a.pth")


@needs_spandrel
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("trouble", [ModuleNotFoundError, RuntimeError])
def test_torchvision_may_be_missing_or_broken(trouble: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        """Leaves a part behind and fails, as a torchvision for another torch does."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchvision":
                sys.modules["torchvision._meta"] = left
                raise trouble("operator torchvision::nms does not exist")

    left = ModuleType("torchvision._meta")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    torch.save(esrgan().state_dict(), "x2.pth")
    assert load_model("x2.pth").sizes
    assert [name for name in sys.modules if name.startswith("torchvision")] == ["torchvision._meta"]


@needs_spandrel
@pytest.mark.usefixtures("fresh")
def test_a_torchvision_that_works_is_used() -> None:
    working = bridge.stand_in()
    mine = vars(working["torchvision.transforms.functional"])["normalize"] = lambda *_: None
    sys.modules.update(working)
    library()
    assert importlib.import_module("spandrel.architectures.RestoreFormer").tv_normalize is mine
    assert sys.modules["torchvision"] is working["torchvision"]


def test_the_stand_in_normalizes_as_torchvision_does() -> None:
    image = torch.rand(2, 3, 4, 4)
    want = torch.stack([(image[:, c] - m) / s for c, (m, s) in enumerate([(0.1, 1.0), (0.2, 2.0), (0.3, 4.0)])], 1)
    torch.testing.assert_close(bridge.normalize(image, [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]), want)


def test_without_spandrel_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    torch.save({"a.weight": torch.zeros(3)}, "a.pth")
    said = refused("a.pth")
    assert "a.pth holds weights, but no code" in said
    assert INSTALL in said


# What is wrong with a reference to a checkpoint, spandrel or not: (reference, given besides, words).
BAD: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "missing": ("x5.pth", {}, ["x5.pth does not exist", "did you mean x4.pth?"]),
    "no file": ("spandrel:x4", {}, ["x4 is not a file of weights"]),
    "damaged": ("x4.pth", {}, ["x4.pth is damaged"]),
    "a name in it": ("x4.pth:Net", {}, ["there is nothing in it called Net"]),
    "arguments": ("x4.pth", {"args": {"blocks": 8}}, ["it takes no argument blocks"]),
    "weights": ("x4.pth", {"weights": "x2.pth"}, ["it takes no weights from x2.pth"]),
    "numbers": ("list.pth", {}, ["holds no weights by name, but list"]),
}


@pytest.mark.parametrize("name", BAD)
def test_mistake_is_told(name: str) -> None:
    Path("x4.pth").write_bytes(b"no weights")
    torch.save([1, 2], "list.pth")
    reference, given, words = BAD[name]
    said = refused(reference, **given)
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    ("minimum", "multiple_of", "square"),
    [(0, 1, False), (16, 1, False), (512, 1, False), (16, 16, False), (40, 4, False), (0, 128, True), (0, 7, False)],
)
def test_sizes_meet_the_requirements(minimum: int, multiple_of: int, square: bool) -> None:
    example, others = sizes_for(minimum, multiple_of, square)
    assert len(set(others)) == 3
    for height, width in (example, *others):
        assert min(height, width) >= max(minimum, 1)
        assert (height % multiple_of, width % multiple_of) == (0, 0)
        assert height == width or not square
    assert square or any(height != width for height, width in others)


def spandrels(which: str) -> nn.Module:
    """Small networks of spandrel's, by name."""
    library()
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8},
        "FFTformer": {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    }
    if which == "ESRGAN":
        return esrgan()
    made: Any = getattr(importlib.import_module(f"spandrel.architectures.{which}"), which)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = made(**settings[which])
    assert isinstance(network, nn.Module)
    return network


WITHOUT = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("spandrel", "einops", "torchvision"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import torch, fxprune
network = fxprune.load("out").eval()
with torch.no_grad():
    torch.save([network(image) for image in torch.load("images.pt")], "found.pt")
"""


@needs_spandrel
@pytest.mark.slow
@pytest.mark.parametrize("which", ["ESRGAN", "SPAN"])
def test_from_a_checkpoint_to_a_folder_that_needs_no_spandrel(which: str) -> None:
    network = spandrels(which)
    torch.save(network.state_dict(), "net.pth")
    Path("half.prune").write_text("cut filters 50% by random(seed=1)\n")
    result = CliRunner().invoke(front, ["compile", "half.prune", "net.pth", "-o", "out"], prog_name="fxprune")
    assert result.exit_code == 0, result.output
    images = [torch.rand(1, 3, *size) for size in load_model("net.pth").sizes]
    torch.save(images, "images.pt")
    root = Path(fxprune.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept: Any = json.loads(Path("out/plan.json").read_text())["kept"]
    kept = {name: {int(dim): indices for dim, indices in dims.items()} for name, dims in kept.items()}
    given = load_model("net.pth").module
    wanted = masked(given, kept)
    with torch.no_grad():
        for image, found in zip(images, torch.load("found.pt"), strict=True):
            want = wanted(image.clone())
            assert float((want - found).abs().max() / want.abs().max()) < 1e-5


@needs_spandrel
@pytest.mark.slow
def test_what_it_requires_of_sizes_is_kept_to() -> None:
    """It takes whole multiples of 32 alone: 48 x 48 would be refused, and so would a third of 64."""
    torch.save(spandrels("FFTformer").state_dict(), "net.pth")
    assert load_model("net.pth").example == (64, 64)
    Path("half.prune").write_text("cut filters 50% by random(seed=1)\nemit python\n")
    result = CliRunner().invoke(front, ["compile", "half.prune", "net.pth", "-o", "out"], prog_name="fxprune")
    assert result.exit_code == 0, result.output
    assert "at 1x3x32x32, 2x3x32x64" in Path("out/report.txt").read_text()
