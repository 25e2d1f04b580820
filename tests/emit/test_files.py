"""What is saved loads again, without fxprune and without the code it came from, and computes the same."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils import _pytree as pytree

import fxprune.emit.files as emit_files
from fxprune.emit.files import save
from fxprune.emit.load import load
from fxprune.errors import OutputError, RewriteError

from .nets import NETS, traced

PLAN = {"b": [1, 2], "a": {"ä": None}}


def saved(folder: Path, name: str, **more: Any) -> Any:
    module, inputs = traced(name)
    more = {"formats": ("safetensors",), **more}
    return save(folder, module=module, example=inputs, plan=PLAN, report_text="all fine", title="A test", **more)


@pytest.mark.parametrize("name", NETS)
def test_loaded_computes_the_same_to_the_last_bit(tmp_path: Path, name: str) -> None:
    saved(tmp_path / "out", name)
    module, inputs = traced(name)
    model = load(tmp_path / "out")
    with torch.no_grad():
        ours, theirs = pytree.tree_leaves(model(*inputs)), pytree.tree_leaves(module(*inputs))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert not model.training


def test_the_files(tmp_path: Path) -> None:
    result = saved(tmp_path / "out", "residual", formats=("safetensors", "pt2"), extra_files={"groups.svg": b"<svg/>"})
    assert result.files == ("groups.svg", "model.pt2", "model.py", "model.safetensors", "plan.json", "report.txt")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == list(result.files)
    text = (tmp_path / "out" / "plan.json").read_text(encoding="utf-8")
    plan = json.loads(text)
    assert {"a", "b", "export", "files", "fxprune"} == set(plan)
    assert plan["export"] == {"free": ["N", "H", "W"], "note": None}
    assert list(plan) == sorted(plan)
    assert text.startswith('{\n  "a": {\n    "ä": null')
    assert (tmp_path / "out" / "report.txt").read_text() == "all fine\n"


def test_nothing_is_pickled(tmp_path: Path) -> None:
    saved(tmp_path / "out", "shared", formats=("safetensors", "pt2"))
    for path in (tmp_path / "out").iterdir():
        data = path.read_bytes()
        assert b"data.pkl" not in data
        assert b"\x80\x02}q" not in data
        assert b"torch._utils" not in data


ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fxprune", "tests", "nets", "emit"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import torch
import model
x = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    out = model.load()(x)
print(out.double().sum().item().hex())
print("fxprune" in sys.modules)
"""


@pytest.mark.parametrize("name", ["nested", "shared"])
def test_it_loads_with_torch_and_safetensors_alone(tmp_path: Path, name: str) -> None:
    saved(tmp_path / "out", name)
    run = [sys.executable, "-B", "-c", ALONE, str(tmp_path / "out")]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    module, inputs = traced(name)
    with torch.no_grad():
        expected = module(*inputs).double().sum().item().hex()
    assert done.stdout.split() == [expected, "False"]


def test_a_shared_weight_is_stored_once_and_stays_one(tmp_path: Path) -> None:
    saved(tmp_path / "out", "shared")
    names = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert ("one.weight" in names) + ("two.weight" in names) == 1
    model = load(tmp_path / "out")
    assert model.one.weight is model.two.weight


def test_it_can_be_trained_further(tmp_path: Path) -> None:
    saved(tmp_path / "out", "tensors")
    model = load(tmp_path / "out")
    assert not model.conv.weight.requires_grad
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1)
    before = model.scale.detach().clone()
    model.train()(*traced("tensors")[1]).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.scale)


def test_several_can_be_loaded_and_looked_into(tmp_path: Path) -> None:
    models = []
    for name in ("residual", "nested"):
        saved(tmp_path / name, name)
        models.append(load(tmp_path / name))
    for model, word in zip(models, ("self.body[:4]", "self.groups"), strict=True):
        assert word in inspect.getsource(type(model))
    assert sorted(p.name for p in (tmp_path / "nested").iterdir()) == [
        "model.py", "model.safetensors", "plan.json", "report.txt"
    ]  # fmt: skip


def test_loading_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    saved(tmp_path / "out", "residual")
    state = torch.get_rng_state()
    load(tmp_path / "out")
    assert torch.equal(state, torch.get_rng_state())


def broken(folder: Path, what: str) -> None:
    weights = folder / "model.safetensors"
    if what == "no folder":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    elif what.startswith("no "):
        (folder / what.removeprefix("no ")).unlink()
    elif what == "torn":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "not weights":
        weights.write_bytes(b"\x80\x02}q\x00.")
    elif what == "not ours":
        (folder / "plan.json").write_text("{}")
    elif what in ("another name", "fewer", "another shape", "another type"):
        tensors = safetensors.torch.load_file(weights)
        tensor = tensors.pop("head.weight")
        changed = {"another name": tensor, "another shape": tensor[:1].clone(), "another type": tensor.double()}
        key = "neck.weight" if what == "another name" else "head.weight"
        safetensors.torch.save_file({**tensors, **({key: changed[what]} if what in changed else {})}, weights)
    else:
        source = folder / "model.py"
        source.write_text({"syntax": "def (", "raises": "1 / 0", "empty": ""}[what])


BROKEN = {
    "no folder": "no such folder",
    "no model.py": "model.py is missing",
    "no model.safetensors": "model.safetensors is missing",
    "no plan.json": "plan.json is missing",
    "not ours": "plan.json was not written by fxprune",
    "torn": "the file is damaged",
    "not weights": "the file is damaged",
    "another name": "the file has no head.weight",
    "fewer": "the file has no head.weight",
    "another shape": r"head.weight is \(1, 3, 3, 3\), the model needs \(8, 3, 3, 3\)",
    "another type": "head.weight is of type F64, the model needs torch.float32",
    "syntax": "cannot be run: SyntaxError",
    "raises": "cannot be run: ZeroDivisionError",
    "empty": r"load\(\) is missing",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_folder_is_refused_in_words(tmp_path: Path, what: str) -> None:
    saved(tmp_path / "out", "residual")
    broken(tmp_path / "out", what)
    with pytest.raises(OutputError, match=BROKEN[what]):
        load(tmp_path / "out")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no format bin"):
        saved(tmp_path / "out", "residual", formats=("bin",))
    assert not (tmp_path / "out").exists()


def test_a_wrong_file_is_not_moved_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = emit_files.state
    monkeypatch.setattr(emit_files, "state", lambda m: {k: t * 1.01 for k, t in original(m).items()})
    with pytest.raises(RewriteError, match="does not compute"):
        saved(tmp_path / "out", "residual")
    assert list(tmp_path.iterdir()) == []


def test_saving_changes_nothing(tmp_path: Path) -> None:
    module, inputs = traced("residual")
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    save(tmp_path / "out", module=module, example=inputs[0], plan={}, report_text="", title="A test")
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert isinstance(module, nn.Module)
