"""`fxprune eval`: what it prints, what it writes, whose settings are whose."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from fxprune.train.dead_leaves import Leaves
from fxprune.train.metrics import Protocol
from fxprune.train.resize import downscale, upscale

Run = Callable[..., Result]
Golden = Callable[[Path, str], None]
GOLDENS = Path(__file__).parent / "printed"

LARGER = """\
from torch import nn


class Larger(nn.Module):
    def __init__(self, step=1, peak=1, dark=0.5):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 1)
        nn.init.zeros_(self.conv.bias)
        nn.init.zeros_(self.conv.weight)
        for k in range(12):
            self.conv.weight.data[k, k // 4] = 1
        self.step, self.peak, self.dark = step, peak, dark

    def forward(self, x):
        if x.shape[2] % self.step or x.shape[3] % self.step:
            raise ValueError("windows")
        mean = 0.45 * self.peak
        return nn.functional.pixel_shuffle(self.conv(x - mean), 2).clamp(min=-self.dark * self.peak) + mean
"""


@pytest.fixture
def images(place: Path) -> Path:
    """`sets/One` with HR alone, `sets/Two` with LR images that were not made by bicubic; `larger.py`."""
    (place / "larger.py").write_text(LARGER)
    for name, indices in (("One", (0, 1)), ("Two", (2,))):
        for index in indices:
            write(place / "sets" / name / "HR" / f"{index}.png", truth(index))
    write(place / "sets" / "Two" / "LR" / "2.png", truth(2)[::2, ::2])
    return place / "sets"


def truth(index: int) -> np.ndarray:
    return Leaves(9, index, 48, 64).draw()


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def blocks(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)


def test_a_table_beside_bicubic(run: Run, images: Path, stable: Callable[[str], str], golden: Golden) -> None:
    result = run("eval", "larger.py", "--data", "sets", "--save", "made", "--picture", "side.png")
    assert result.exit_code == 0, result.output
    golden(GOLDENS / "eval.txt", stable(result.stderr) + stable(result.stdout))
    saved = {path.relative_to("made").as_posix(): np.array(Image.open(path)) for path in Path("made").rglob("*.png")}
    assert sorted(saved) == ["One/0.png", "One/1.png", "Two/2.png"]
    assert np.array_equal(saved["Two/2.png"], blocks(truth(2)[::2, ::2]))
    with Image.open("side.png") as picture:
        assert picture.height < picture.width


def test_json_holds_what_the_protocol_gives(run: Run, images: Path) -> None:
    printed = json.loads(run("eval", "bicubic", "--scale", "2", "--data", "sets", "--json").stdout)
    assert printed["protocols"] == ["Y, crop 2", "RGB, crop 2"]
    assert [(one["name"], one["images"], one["lr"]) for one in printed["data"]] == [
        ("One", 2, "made by bicubic downscaling, as MATLAB does"),
        ("Two", 1, "read"),
    ]
    (model,) = printed["models"]
    for one, made in zip(model["sets"][0]["images"], (upscale(downscale(truth(k), 2), 2) for k in (0, 1)), strict=True):
        want = [Protocol(channel, 2).score(made, truth(int(one["name"]))).to_json() for channel in ("Y", "RGB")]
        assert one["scores"] == want
    assert model["name"] == "bicubic"
    assert printed["notes"] == []


def scores(result: Result) -> dict[str, list[float]]:
    """Each network's PSNR on Y, by image."""
    assert result.exit_code == 0, result.output
    models = json.loads(result.stdout)["models"]
    return {
        model["name"]: [image["scores"][0]["psnr"] for one in model["sets"] for image in one["images"]]
        for model in models
    }


def test_a_folder_is_measured_like_the_network_in_it(run: Run, images: Path) -> None:
    run("compile", "cut filters 50%", "net.py", "-o", "whole")
    run("compile", "cut filters 50%\nemit export", "net.py", "-o", "program")
    run("compile", "cut filters 50%\nemit python", "net.py", "-o", "source")
    found = [scores(run("eval", name, "--data", "sets/One", "--json")) for name in ("whole", "program", "source")]
    made = [one[name] for one, name in zip(found, ("whole", "program", "source"), strict=True)]
    assert made[0] == pytest.approx(made[1], abs=1e-3)
    assert made[0] == made[2]
    assert made[0] != pytest.approx(found[0]["bicubic"], abs=1)


def test_the_dense_network_stands_between(run: Run, images: Path) -> None:
    run("compile", "cut filters 50%\nemit python", "net.py", "-o", "small", "--set", "width=8")
    given = ("--data", "sets/One", "--json", "--set", "width=8")
    beside = scores(run("eval", "small", "--dense", "net.py", *given))
    assert list(beside) == ["bicubic", "net.py(width=8)", "small"]
    alone = scores(run("eval", "net.py", *given))
    assert alone["net.py(width=8)"] == beside["net.py(width=8)"]
    # where both could be set, the settings are those of the network asked for
    both = list(scores(run("eval", "net.py", "--dense", "larger.py", *given)))
    assert both == ["bicubic", "larger.py", "net.py(width=8)"]
    itself = scores(run("eval", "net.py", "--dense", "net.py", *given))
    assert list(itself) == ["bicubic", "net.py", "net.py(width=8)"]
    shown = run("eval", "small", "--dense", "net.py", *given[:2], "--set", "width=8").stdout
    assert re.search(r"over +over\n.*bicubic +dense\n", shown)


def test_options_of_running_leave_a_local_network_as_it_is(run: Run, images: Path) -> None:
    options = ([], ["--tile", "8", "--overlap", "2"], ["--tile", "0"], ["--self-ensemble"], ["--set", "step=5"])
    found = [scores(run("eval", "larger.py", "--data", "sets", "--json", *more)) for more in options]
    made = [list(one.values())[-1] for one in found]
    assert all(one == pytest.approx(made[0], abs=1e-6) for one in made)


def test_the_range_is_told_or_given(run: Run, images: Path) -> None:
    given = ("eval", "larger.py", "--set", "peak=255", "--set", "dark=0.3", "--data", "sets/One")
    name = "larger.py(peak=255, dark=0.3)"
    assert f"{name} takes values of 0 to 255" in run(*given).stdout
    found = {peak: scores(run(*given, "--json", "--range", peak))[name] for peak in ("auto", "255", "1")}
    assert found["auto"] == found["255"]
    assert found["1"][0] < 15 < found["255"][0]


def test_drawn_pictures_are_there_without_any_data(run: Run, images: Path) -> None:
    printed = json.loads(run("eval", "larger.py", "--json").stdout)
    assert [(one["name"], one["layout"], one["images"]) for one in printed["data"]] == [("dead_leaves", "drawn", 8)]


def test_damaged_images_are_named_and_the_rest_is_measured(run: Run, images: Path) -> None:
    torn = images / "One" / "HR" / "torn.png"
    torn.write_bytes((images / "One" / "HR" / "0.png").read_bytes()[:2000])
    (images / "One" / "HR" / "text.png").write_text("no image")
    result = run("eval", "bicubic", "--scale", "2", "--data", "sets/One")
    assert result.exit_code == 0
    notes = [line for line in result.stdout.splitlines() if line.startswith("note")]
    assert len(notes) == 2
    assert "sets/One/HR/text.png: not an image" in notes[0]
    assert "sets/One/HR/torn.png" in notes[1]
    assert "2 of One; LR" in result.stdout


def test_sets_of_one_name_are_told_apart(run: Run, images: Path) -> None:
    printed = json.loads(run("eval", "larger.py", "--data", "sets/One", "--data", "sets/One", "--json").stdout)
    assert [one["name"] for one in printed["models"][1]["sets"]] == ["One", "One-2"]


@pytest.mark.parametrize(("image", "name"), [("1", "One/1"), ("Two/2", "Two/2")])
def test_the_picture_is_of_the_image_asked_for(image: str, name: str, run: Run, images: Path) -> None:
    result = run("eval", "larger.py", "--data", "sets", "--picture", "p.jpg", "--image", image, "--crop", "16")
    assert f"p.jpg: {name}\n" in result.stdout
    with Image.open("p.jpg") as picture:
        assert picture.format == "JPEG"


@pytest.mark.parametrize("more", [["--image", "1"], ["--scale", "0"], ["--range", "3"], ["--tile", "-1"]])
def test_options_that_are_not_written_right(more: list[str], run: Run) -> None:
    assert run("eval", "net.py", *more).exit_code == 2
