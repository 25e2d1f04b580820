"""Weights from files: what is unwrapped, what is refused, and how a misfit is told."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fxprune.errors import ModelError
from fxprune.models import load_model
from fxprune.models.checkpoint import views

ARGS: dict[str, object] = {"blocks": 1, "width": 8}


def edsr(seed: int, **changes: object) -> dict[str, Tensor]:
    return load_model("zoo:edsr", args=ARGS | changes, seed=seed).module.state_dict()


def loads(path: Path, expected: dict[str, Tensor]) -> bool:
    state = load_model("zoo:edsr", args=ARGS, weights=path).module.state_dict()
    return all(torch.equal(state[name], expected[name]) for name in state)


def message(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model("zoo:edsr", args=ARGS, weights=path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt", ".bin"])
def test_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"w{suffix}", edsr(1)
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    assert loads(path, state)
    assert not loads(path, edsr(2))


@pytest.mark.parametrize(
    "keys",
    [("params",), ("params_ema",), ("state_dict",), ("model",), ("net_g",), ("whatever",), ("model", "state_dict")],
)
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net_g.", "module.model.", "_orig_mod.module."])
def test_wrappers_and_prefixes(tmp_path: Path, keys: tuple[str, ...], prefix: str) -> None:
    state = edsr(1)
    held: object = {prefix + name: tensor for name, tensor in state.items()}
    for key in keys:
        held = {key: held, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}
    torch.save(held, tmp_path / "w.pth")
    assert loads(tmp_path / "w.pth", state)


def test_average_comes_before_last_step_unless_it_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"params": edsr(1), "params_ema": edsr(2)}, path)
    assert loads(path, edsr(2))
    torch.save({"params": edsr(1), "params_ema": edsr(2, width=4)}, path)
    assert loads(path, edsr(1))


def test_generator_beside_another_network(tmp_path: Path) -> None:
    state = {f"net_g.{name}": tensor for name, tensor in edsr(1).items()}
    torch.save({"state_dict": state | {"net_d.weight": torch.zeros(3)}}, tmp_path / "w.ckpt")
    assert loads(tmp_path / "w.ckpt", edsr(1))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    half = {name: tensor.half() for name, tensor in edsr(1).items()}
    save_file(half, tmp_path / "w.safetensors")
    module = load_model("zoo:edsr", args=ARGS, weights=tmp_path / "w.safetensors").module
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_misfit_counts_names_and_guesses_the_width(tmp_path: Path) -> None:
    torch.save(edsr(1, width=16), tmp_path / "w.pth")
    said = message(tmp_path / "w.pth")
    assert "do not fit zoo:edsr" in said
    assert "of another shape" in said
    assert "… and" in said
    assert "the checkpoint looks like width=16, the model was built with width=8" in said
    assert len(said.splitlines()) <= 5


def test_misfit_in_names(tmp_path: Path) -> None:
    state = edsr(1)
    first = next(iter(state))
    state["extra.weight"] = state.pop(first)
    torch.save({"params": state}, tmp_path / "w.pth")
    said = message(tmp_path / "w.pth")
    assert f"1 missing in the file: {first}" in said
    assert "1 unknown to the network: extra.weight" in said
    assert "w.pth['params']" in said


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": nn.Conv2d(3, 3, 1)}, path)
    assert "would run code from the file" in message(path)
    assert "Conv2d" in message(path)


def test_damaged_files(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pth", tmp_path / "w.pth"
    torch.save(edsr(1), whole)
    data = whole.read_bytes()
    for broken in (data[: len(data) // 2], data[:3], b"<html>Not found</html>", b"PK\x03\x04", b"\x80\x02."):
        path.write_bytes(broken)
        assert "damaged" in message(path)
        (tmp_path / "w.safetensors").write_bytes(broken)
        assert "damaged" in message(tmp_path / "w.safetensors")
    path.write_bytes(b"")
    assert "is empty" in message(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "damaged" in message(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    torch.save(edsr(1), tmp_path / "edsr.pth")
    assert "did you mean edsr.pth?" in message(tmp_path / "esdr.pth")
    assert "is not a file of weights" in message(tmp_path / "edsr.txt")
    (tmp_path / "dir.pth").mkdir()
    assert "is a folder" in message(tmp_path / "dir.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    assert "holds no weights by name, but Tensor" in message(tmp_path / "tensor.pth")


def test_meta_network_takes_real_weights(tmp_path: Path) -> None:
    torch.save(edsr(1), tmp_path / "w.pth")
    with torch.device("meta"):
        module = load_model("zoo:edsr", args=ARGS, weights=tmp_path / "w.pth").module
    assert all(torch.equal(tensor, edsr(1)[name]) for name, tensor in module.state_dict().items())


def test_order_of_views() -> None:
    tensor = torch.zeros(1)
    held = {"model.a": tensor, "z": {"b": tensor}, "net": {"c": tensor}, "params": {"module.d": tensor}}
    assert [(how, list(state)) for how, state in views(held)] == [
        ("['params']", ["module.d"]),
        ("['params'] module.*", ["d"]),
        ("['net']", ["c"]),
        ("['z']", ["b"]),
        ("", ["model.a"]),
        ("model.*", ["a"]),
    ]
