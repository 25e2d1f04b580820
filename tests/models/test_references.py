"""Which module a reference stands for, and what is said when it stands for none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fxprune.errors import ModelError
from fxprune.models import load_model

NET = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
    def forward(self, x):
        return x + self.conv(x)

class Net(nn.Module):
    def __init__(self, width=8, colours=3):
        super().__init__()
        self.head = nn.Conv2d(colours, width, 3, padding=1)
        self.block = Block(width)
    def forward(self, x):
        return self.block(self.head(x))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "model.py") -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def message(reference: str, **args: object) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(reference, args=args)
    return str(caught.value)


def kind(reference: str, **args: object) -> str:
    return type(load_model(reference, args=args).module).__name__


def test_single_class_is_found_past_its_building_blocks() -> None:
    loaded = load_model(write(NET), args={"width": 4, "colours": 1})
    assert type(loaded.module).__name__ == "Net"
    assert loaded.input_channels == 1
    assert loaded.args == {"width": 4, "colours": 1}


def test_block_reached_through_a_function_is_a_block() -> None:
    text = NET.replace("Block(width)", "make(width)") + "\ndef make(width):\n    return Block(width)\n"
    assert kind(write(text)) == "Net"


def test_block_without_arguments_does_not_hide_the_network_that_needs_some() -> None:
    text = NET.replace("def __init__(self, width):", "def __init__(self, width=8):").replace("width=8, c", "width, c")
    path = write(text)
    assert kind(path, width=8) == "Net"
    assert "needs the argument width" in message(path)


def test_module_level_model_then_build_model_then_class() -> None:
    path = write(NET + "\nmodel = nn.Conv2d(3, 5, 1)\n")
    assert kind(path) == "Conv2d"
    write(NET + "\ndef build_model(width=2): return nn.Conv2d(3, width, 1)\n")
    assert load_model(path, args={"width": 7}).module.out_channels == 7
    write(NET + "\nmodel = nn.ReLU()\ndef build_model(width=2): return nn.Conv2d(3, width, 1)\n")
    assert kind(path) == "ReLU"
    assert kind(path, width=4) == "Conv2d"


def test_built_network_takes_no_arguments() -> None:
    path = write("from torch import nn\nmodel = nn.ReLU()\n")
    assert "already built, it takes no width" in message(path, width=3)


def test_several_networks_are_listed_with_lines() -> None:
    path = write(NET + NET.replace("Net", "Other").replace("Block", "Brick"))
    said = message(path)
    assert "Net (line 12), Other (line 30)" in said
    assert "choose one, as in model.py:Other" in said
    assert kind("model.py:Other") == "Other"


def test_of_several_the_one_the_arguments_fit() -> None:
    path = write(NET + NET.replace("Net", "Other").replace("Block", "Brick").replace("width", "features"))
    assert kind(path, features=4) == "Other"
    assert "Net (line 12, takes no nonsense)" in message(path, nonsense=4)


def test_dotted_factory_and_module_references() -> None:
    write(NET + "    @classmethod\n    def small(cls):\n        return cls(2)\n", "inner/nets.py")
    assert load_model("inner/nets.py:Net.small").module.head.out_channels == 2
    write("", "inner_package/__init__.py")
    write(NET + "\nnet = Net(6)\n", "inner_package/nets.py")
    assert kind("inner_package.nets:Net") == "Net"
    assert kind("inner_package.nets") == "Net"
    first, second = load_model("inner_package.nets:net").module, load_model("inner_package.nets:net").module
    assert first is not second


def test_siblings_absolute_and_relative(folder: Path) -> None:
    block, _, net = NET.partition("class Net")
    for name, style in (("a", "from blocks import Block"), ("b", "from .blocks import Block")):
        write(block.replace("3, padding=1", "1" if name == "a" else "3, padding=1"), f"{name}/blocks.py")
        write(f"from torch import nn\n{style}\nclass Net{net}", f"{name}/model.py")
    before, path = set(sys.modules), list(sys.path)
    assert load_model("a/model.py").module.block.conv.kernel_size == (1, 1)
    assert load_model("b/model.py").module.block.conv.kernel_size == (3, 3)
    assert load_model("a/model.py").module.block.conv.kernel_size == (1, 1)
    assert sys.path == path
    assert {name.partition(".")[0][:12] for name in set(sys.modules) - before} == {"fxprune_user"}


def test_relative_import_from_the_folder_above_runs_no_package_code() -> None:
    write("raise ImportError('framework')", "lib/__init__.py")
    write("raise ImportError('framework')", "lib/archs/__init__.py")
    block, _, net = NET.partition("class Net")
    write(block, "lib/blocks.py")
    write(f"from torch import nn\nfrom ..blocks import Block\nclass Net{net}", "lib/archs/model.py")
    assert kind("lib/archs/model.py") == "Net"


def test_sibling_does_not_replace_an_imported_module_of_that_name(folder: Path) -> None:
    write("Width = 1\n", "one/fxp_helper.py")
    write("WIDTH = 5\n", "two/fxp_helper.py")
    write("from torch import nn\nfrom fxp_helper import WIDTH\nmodel = nn.Conv2d(3, WIDTH, 1)\n", "two/model.py")
    sys.path.insert(0, str(folder / "one"))
    try:
        helper = __import__("fxp_helper")
        assert load_model("two/model.py").module.out_channels == 5
        assert sys.modules["fxp_helper"] is helper
    finally:
        sys.path.remove(str(folder / "one"))
        del sys.modules["fxp_helper"]


def test_zoo() -> None:
    assert load_model("zoo:edsr", args={"blocks": 1, "width": 4}).args == {"blocks": 1, "width": 4}
    assert "did you mean edsr" in message("zoo:edsx")
    assert "did you mean zoo:edsr" in message("edsr")


def test_same_reference_same_weights() -> None:
    path = write(NET)
    first, again, other = (load_model(path, seed=seed).module.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


SCRIPT = """
import os, random, sys, torch
import numpy as np
torch.manual_seed(5); random.seed(5); np.random.seed(5)
torch.set_default_dtype(torch.float64); torch.set_default_device("meta"); torch.set_grad_enabled(False)
torch.set_num_threads(torch.get_num_threads() + 1)
torch.backends.cudnn.benchmark = True
os.chdir("/")
print("loading", sys.argv)
model = torch.nn.Conv2d(3, 4, 1)
"""


def test_user_code_leaves_no_traces(capsys: pytest.CaptureFixture[str]) -> None:
    def settings() -> tuple[object, ...]:
        default = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        return (*default, torch.get_num_threads(), torch.backends.cudnn.benchmark, Path.cwd(), *sys.argv, *sys.path)

    torch.manual_seed(3)
    before, state = settings(), torch.get_rng_state()
    load_model(write(SCRIPT))
    assert settings() == before
    assert torch.equal(torch.get_rng_state(), state)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "loading ['model.py']\n")


def test_default_device_of_a_with_block_ends_with_it() -> None:
    with torch.device("meta"):
        assert load_model(write(NET)).module.head.weight.is_meta
    assert torch.empty(1).device.type == "cpu"


# What a file or reference is, and what the message has to say: (text of model.py, reference, words).
BAD = {
    "missing": (NET, "modle.py", ["modle.py does not exist", "did you mean model.py?"]),
    "no folder": (NET, "nets/model.py", ["does not exist", "there is no folder nets"]),
    "checkpoint": (NET, "edsr.pth", ["edsr.pth does not exist"]),
    "spec": (NET, "half.prune", ["is a spec, not a model"]),
    "folder": (NET, ".", ["is a folder", "model.py"]),
    "no module": (NET, "nowhere.nets:f", ["there is no module nowhere"]),
    "nonsense": (NET, "a b!", ["does not name a model", "package.module:factory"]),
    "empty": (NET, " ", ["no model is named"]),
    "not python": ("class Net(\n", "model.py", ["model.py:1: this is not Python"]),
    "binary": ("a\0b", "model.py", ["model.py", "not Python"]),
    "raises": ("x = 1\nx / 0\n", "model.py", ["model.py:2: importing it raised ZeroDivisionError: division by zero"]),
    "raises below": ("import json\njson.loads('{')\n", "model.py", ["model.py:2: importing it raised JSONDecodeError"]),
    "no import": ("import nowhere_at_all\n", "model.py", ["model.py:1", "nowhere_at_all is neither installed"]),
    "exits": ("import sys\nsys.exit(3)\n", "model.py", ["model.py:2", "sys.exit", "__main__"]),
    "nothing": ("x = 1\n", "model.py", ["no model found in model.py", "build_model()"]),
    "functions": ("def net(): ...\n", "model.py", ["no model found", "model.py:net"]),
    "misspelt": (NET, "model.py:Nett", ["no Nett in model.py", "did you mean Net?"]),
    "a number": ("n = 3\n", "model.py:n", ["n in model.py is an int"]),
    "returns": ("def build_model(): return {}\n", "model.py", ["build_model in model.py returned a dict"]),
    "returns class": (NET + "def build_model(): return Net\n", "model.py", ["returned the class Net"]),
    "needs": (NET, "model.py:Block", ["Block in model.py (model.py:6) needs the argument width"]),
    "constructor": (
        NET.replace("super().__init__()", "super().__init__(); 1 / 0"),
        "model.py",
        ["model.py:14: Net() raised ZeroDivisionError"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_mistake_is_told_in_one_message(name: str) -> None:
    text, reference, words = BAD[name]
    write(text)
    said = message(reference)
    assert [word for word in words if word not in said] == []
    assert "Traceback" not in said


SCRIPTS = """
import torch
whole = torch.jit.ScriptModule()
def make(): return whole
"""


def test_torchscript_is_refused() -> None:
    assert "is a TorchScript program" in message(f"{write(SCRIPTS)}:whole")
    assert "is a TorchScript program" in message(f"{write(SCRIPTS)}:make")


def test_unknown_arguments_are_told_together() -> None:
    said = message(write(NET), widht=3, depth=2)
    assert "no argument depth" in said
    assert "no argument widht\n  hint: did you mean width? it takes width, colours" in said


def test_bytes_that_are_no_text() -> None:
    Path("model.py").write_bytes(b"\xff\xfe\x00\x93")
    assert "not Python" in message("model.py")
