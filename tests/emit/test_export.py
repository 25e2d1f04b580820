"""What is exported runs at any size, or says why not; nothing in it is pickled."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from fxprune.emit.export import export_bytes, export_pt2

from .nets import Residual, traced


class Windows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


class Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.rand(1, 3, 8, 10))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.map


class OneImage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(1, 3, x.shape[2], x.shape[3]).mean(1)


class Impossible(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return torch.from_numpy(x.numpy() + 1)


IMAGE = (torch.rand(1, 3, 8, 10),)


@pytest.mark.parametrize("name", ["residual", "split", "shared", "tensors", "attention", "fourier"])
def test_the_loaded_program_computes_the_same_at_other_sizes(name: str) -> None:
    module, inputs = traced(name)
    exported = export_bytes(module, inputs)
    assert exported.free == ("N", "H", "W")
    assert exported.note is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.export.load(io.BytesIO(exported.data)).module()
    for x in (torch.rand(3, 3, 14, 6), torch.rand(1, 3, 8, 22)):
        with torch.no_grad():
            ours, theirs = pytree.tree_leaves(loaded(x)), pytree.tree_leaves(module(x))
        assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


PARTLY = {
    "windows": (Windows, ("N", "H", "W"), None),
    "fixed": (Fixed, ("N",), "H, W fixed to the example's"),
    "one image": (OneImage, ("H", "W"), "N fixed to the example's"),
}


@pytest.mark.parametrize("case", PARTLY)
def test_as_much_is_free_as_can_be(case: str) -> None:
    make, free, note = PARTLY[case]
    exported = export_bytes(fx.symbolic_trace(make()), IMAGE)
    assert (exported.free, exported.note) == (free, note)
    assert exported.done


def test_what_cannot_be_exported_is_a_value(tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    exported = export_pt2(Impossible(), IMAGE, tmp_path / "model.pt2")
    assert not exported.done
    assert exported.note is not None
    assert exported.note.startswith("torch.export cannot take this model: ")
    assert not (tmp_path / "model.pt2").exists()
    assert capfd.readouterr() == ("", "")


def test_nothing_is_pickled_and_nothing_printed(tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    module = fx.symbolic_trace(Residual())
    export_pt2(module, IMAGE, tmp_path / "model.pt2")
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        content = {entry: archive.read(entry) for entry in archive.namelist()}
    for entry, data in content.items():
        assert not data.startswith((b"\x80\x02", b"\x80\x04", b"PK")), entry
        assert b'"use_pickle": true' not in data
        assert b"data.pkl" not in data
    assert capfd.readouterr() == ("", "")


def test_the_module_comes_back_in_its_mode() -> None:
    module = fx.symbolic_trace(Residual())
    module.train()
    module.tail.eval()
    export_bytes(module, IMAGE)
    assert module.training
    assert not module.tail.training


def test_an_export_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fx.symbolic_trace(Residual())
    original = torch.export.export

    def wrong(mod: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            other = fx.symbolic_trace(Residual())
        return original(other, *args, **kwargs)

    monkeypatch.setattr(torch.export, "export", wrong)
    exported = export_bytes(module, IMAGE)
    assert not exported.done
    assert "differs by" in str(exported.note)
