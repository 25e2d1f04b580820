"""The first run of docs/training.md: it ends well, and better than cutting at once by the same share."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import fxprune
from fxprune import zoo
from fxprune.cli import front
from fxprune.train.evaluate import evaluate
from fxprune.train.events import METRICS, read_metrics
from fxprune.train.pictures import leaves_set
from fxprune.train.upscaling import Setup

ROOT = Path(__file__).parent.parent.parent
L1 = "protect tail.*, sub_mean, add_mean\ncut filters 50% by l1\n"


def command() -> list[str]:
    """The first command of the page."""
    (block, *_) = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE | re.DOTALL
    )
    program, *arguments = shlex.split(block.replace("\\\n", " "))
    assert program == "fxprune"
    return arguments


@pytest.mark.slow
def test_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    done = CliRunner().invoke(front, command(), prog_name="fxprune")
    assert done.exit_code == 0, done.output
    history = read_metrics(tmp_path / "out" / "first" / METRICS)
    psnr = [event.data["psnr"] for event in history if event.kind == "validate"]
    torch.manual_seed(0)
    dense = zoo.build("edsr", blocks=4, width=16, scale=2)
    cut = fxprune.compile(L1, dense, torch.rand(1, 3, 24, 24)).module
    found = evaluate(cut, [leaves_set(4, 96, scale=2, seed=1)], setup=Setup(device="cpu"))
    assert psnr[-1] > found.sets[0].means[0].psnr + 1
    at_the_cut = [
        event.data["psnr"] for event in history if event.kind == "validate" and event.phase in ("hold", "cut")
    ]
    assert at_the_cut[0] - at_the_cut[1] < 0.2  # the marked filters were all but empty, as in the papers
