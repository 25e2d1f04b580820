"""Whatever a user gets wrong is one clear message on stderr and exit code 1, and nothing is left half-written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from PIL import Image

from fxprune.train.dead_leaves import Leaves

Run = Callable[..., Result]

HALF = "cut filters 50%"
GOLDENS = Path(__file__).parent / "goldens"

FILES: dict[str, str | bytes] = {
    "half.prune": f"{HALF}\n",
    "empty.prune": "",
    "comment.prune": "# nothing yet\n",
    "binary.prune": bytes(range(256)),
    "keyword.prune": "protect tail\nproone filters 50%\n",
    "layer.prune": "protect taill.*\ncut filters 50% in bdoy.*\n",
    "everywhere.prune": "train 9 steps\nmark filters 50% in bdoy.* {\n    free in tial by l1\n}\n"
    "shrink l2 in hed { step 0.1 every 2, until 0.5 }\ncut\ncut filters 10% in kind Linear\n",
    "much.prune": "cut filters 150%\n",
    "nothing.prune": "cut filters 50% in kind Linear\n",
    "protected.prune": "protect **\ncut filters 50%\n",
    "tied.prune": "cut filters 50% in head\n",
    "budget.prune": "cut filters until params <= 10\n",
    "variable.prune": "let r = 50%\ncut filters r\n",
    "model.prune": 'model "gone.py"\ncut filters 50%\n',
    "weights.prune": 'model "net.py" from "gone.pth"\ncut filters 50%\n',
    "raises.py": "\n\nraise ValueError('no licence found')\n",
    "syntax.py": "def model(:\n",
    "nothing.py": "LAYERS = 3\n",
    "several.py": "from torch import nn\n\nclass A(nn.Conv2d):\n    pass\n\nclass B(nn.Conv2d):\n    pass\n",
    "exits.py": "import sys\n\nsys.exit(3)\n",
    "branch.py": "from torch import nn\n\n\nclass Net(nn.Conv2d):\n    def __init__(self):\n"
    "        super().__init__(3, 8, 3)\n\n    def forward(self, x):\n"
    "        return super().forward(x) if x.mean() > 0 else x\n",
    "raising.py": "from torch import nn\n\n\nclass Net(nn.Conv2d):\n    def __init__(self):\n"
    "        super().__init__(3, 8, 3)\n\n    def forward(self, x):\n        raise KeyError('scale')\n",
    "leaving.py": "from torch import nn\n\n\nclass Net(nn.Conv2d):\n    def __init__(self):\n"
    "        super().__init__(3, 8, 3)\n\n    def forward(self, x):\n        raise SystemExit(0)\n",
    "pair.py": "from torch import nn\n\n\nclass Net(nn.Conv2d):\n    def __init__(self):\n"
    "        super().__init__(3, 8, 3)\n\n    def forward(self, x, y):\n        return super().forward(x + y)\n",
    "double.py": "from torch import nn\n\n\ndef build_model():\n"
    "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)).double()\n",
    "theirs/thesis.tex": "\\begin{document}\n",
    "classes.py": "from torch import nn\n\n\ndef build_model():\n"
    "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n",
    "smaller.py": "from torch import nn\n\n\ndef build_model():\n    return nn.Conv2d(3, 3, 3, stride=2)\n",
    "damaged/one.png": b"\x89PNG\r\n\x1a\n",
}

CASES: dict[str, tuple[str, ...]] = {
    "unknown keyword": ("compile", "keyword.prune", "net.py"),
    "misspelt layers": ("compile", "layer.prune", "net.py"),
    "misspelt everywhere": ("check", "everywhere.prune", "net.py"),
    "set to no value": ("check", "variable.prune", "--set", "r=3%%"),
    "set to nothing": ("check", "variable.prune", "--set", "r="),
    "cut 150%": ("compile", "much.prune", "net.py"),
    "empty file": ("compile", "empty.prune", "net.py"),
    "comment alone": ("compile", "comment.prune", "net.py"),
    "binary file": ("compile", "binary.prune", "net.py"),
    "missing spec": ("compile", "halv.prune", "net.py"),
    "folder as spec": ("compile", "theirs", "net.py"),
    "wrong order": ("compile", "net.py", "half.prune"),
    "spec as text": ("compile", "prune filters 50%", "net.py"),
    "missing model": ("compile", "half.prune", "nett.py"),
    "missing model of the spec": ("compile", "model.prune"),
    "missing weights of the spec": ("compile", "weights.prune"),
    "no model": ("compile", "half.prune"),
    "not in the zoo": ("compile", "half.prune", "zoo:edrs"),
    "model raises on import": ("compile", "half.prune", "raises.py"),
    "model is no Python": ("compile", "half.prune", "syntax.py"),
    "model ends the program": ("compile", "half.prune", "exits.py"),
    "no factory": ("compile", "half.prune", "nothing.py"),
    "several networks": ("compile", "half.prune", "several.py"),
    "forward branches": ("compile", "half.prune", "branch.py"),
    "forward raises": ("compile", "half.prune", "raising.py"),
    "forward ends the program": ("compile", "half.prune", "leaving.py"),
    "an input too few": ("compile", "half.prune", "pair.py"),
    "another type of number": ("compile", "half.prune", "double.py"),
    "wrong input shape": ("compile", "half.prune", "net.py", "--input", "1x4x48x48"),
    "no shape": ("compile", "half.prune", "net.py", "--input", "1x3x"),
    "state dict does not fit": ("compile", "half.prune", "net.py", "--weights", "small.pth"),
    "no state dict": ("compile", "half.prune", "net.py", "--weights", "half.prune"),
    "selects nothing": ("compile", "nothing.prune", "net.py"),
    "selects half of a group": ("compile", "tied.prune", "net.py"),
    "everything protected": ("compile", "protected.prune", "net.py"),
    "budget out of reach": ("compile", "budget.prune", "net.py"),
    "output below a file": ("compile", "half.prune", "net.py", "-o", "net.py/out"),
    "output is a file": ("compile", "half.prune", "net.py", "-o", "half.prune"),
    "output is not ours": ("compile", "half.prune", "net.py", "-o", "theirs"),
    "no such device": ("compile", "half.prune", "net.py", "--device", "abacus"),
    "no setting": ("compile", "half.prune", "net.py", "--set", "width"),
    "unknown setting": ("compile", "variable.prune", "net.py", "--set", "depth=3"),
    "setting without a model": ("check", "variable.prune", "--set", "s=3"),
    "no such layer to ask about": ("groups", "net.py", "--why", "boddy.1"),
    "no such format": ("groups", "net.py", "-o", "groups.doc"),
    "measured at another scale": ("eval", "net.py", "--scale", "3"),
    "zoo measured at another scale": ("eval", "zoo:fsrcnn", "--scale", "4"),
    "no such device to measure on": ("eval", "bicubic", "--scale", "2", "--device", "abacus"),
    "no scale to measure at": ("eval", "bicubic"),
    "no folder of images": ("eval", "bicubic", "--data", "imagse"),
    "no images": ("eval", "bicubic", "--scale", "2", "--data", "theirs"),
    "damaged images": ("eval", "bicubic", "--scale", "2", "--data", "damaged"),
    "no upscaler": ("eval", "classes.py"),
    "smaller images": ("eval", "smaller.py"),
    "an input too few to measure": ("eval", "pair.py"),
    "settings for bicubic": ("eval", "bicubic", "--scale", "2", "--set", "width=8"),
    "measured folder is not ours": ("eval", "theirs"),
    "dense network of another scale": ("eval", "net.py", "--dense", "zoo:pan"),
    "no such picture": ("eval", "net.py", "--picture", "side.svg"),
    "no such image": ("eval", "net.py", "--picture", "side.png", "--image", "leaves-1-0010"),
    "picture in no folder": ("eval", "zoo:fsrcnn", "--data", "images", "--picture", "gone/side.png"),
    "saved over what is read": ("eval", "zoo:fsrcnn", "--data", "images", "--save", "."),
    "saved below a file": ("eval", "zoo:fsrcnn", "--data", "images", "--save", "net.py/made"),
    "check finds mistakes": ("check", "layer.prune", "net.py"),
    "fmt of what does not parse": ("fmt", "half.prune", "keyword.prune", "empty.prune"),
    "no such network to list": ("zoo", "swin"),
}


@pytest.fixture
def mistakes(place: Path) -> Path:
    """The working folder with everything the cases need."""
    for name, content in FILES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (place / "images").mkdir()
    Image.fromarray(Leaves(9, 0, 32, 32).draw()).save(place / "images" / "one.png")
    torch.save({"head.weight": torch.zeros(8, 3, 3, 3)}, place / "small.pth")
    return place


def everything(folder: Path) -> dict[str, bytes]:
    """Every file and its content, but for what Python caches."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if "__pycache__" not in name}


@pytest.mark.parametrize("case", CASES)
def test_one_message(
    case: str,
    run: Run,
    mistakes: Path,
    stable: Callable[[str], str],
    golden: Callable[[Path, str], None],
) -> None:
    before = everything(mistakes)
    result = run(*CASES[case])
    assert result.exit_code == 1
    assert result.stdout == ""
    message = re.sub(r"^\w+ +… s\n", "", stable(result.stderr), flags=re.MULTILINE)
    assert "Traceback" not in message
    assert everything(mistakes) == before
    # What torch says is torch's.
    message = re.sub(r"(RuntimeError: ).*", r"\1…", message)
    golden(GOLDENS / f"{case.replace(' ', '-').replace('%', '')}.txt", message)


@pytest.mark.parametrize("case", ["unknown keyword", "missing model", "output is not ours"])
def test_with_json_the_message_is_an_object_too(case: str, run: Run, mistakes: Path) -> None:
    result = run(*CASES[case], "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["text"] in result.stderr
    assert error["exit_code"] == 1
    assert all(finding["message"] in error["text"] for finding in error["findings"])


def test_a_folder_without_permission(run: Run, mistakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != mistakes)
    result = run("compile", "half.prune", "net.py", "-o", "out")
    assert result.exit_code == 1
    assert "cannot write out" in result.stderr
    assert "may not be written" in result.stderr
