"""The pictures in the documentation are what the present code draws."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from tools.make_pictures import IMAGES, PICTURES
from tools.make_screenshots import SCREENS, SHOTS, SIZE, taken


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith(("edsr", "imdn"))])
def test_a_picture_is_up_to_date(name: str) -> None:
    assert (IMAGES / name).read_text(encoding="utf-8") == PICTURES[name](), "run tools/make_pictures.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PICTURES if not name.startswith(("edsr", "imdn"))])
def test_a_picture_of_a_large_network_is_up_to_date(name: str) -> None:
    assert (IMAGES / name).read_text(encoding="utf-8") == PICTURES[name](), "run tools/make_pictures.py"


DRAWN_BY_HAND = {"pipeline.svg"}  # of docs/architecture.md


def test_there_are_no_others() -> None:
    assert {path.name for path in IMAGES.glob("*.svg")} == {*PICTURES, *DRAWN_BY_HAND}


def test_screenshots_are_small_and_shown() -> None:
    shown = "\n".join(page.read_text(encoding="utf-8") for page in IMAGES.parent.glob("*.md"))
    assert {path.name for path in SCREENS.iterdir()} == set(SHOTS)
    for path in SCREENS.iterdir():
        assert path.stat().st_size < 150_000
        assert f"](images/screens/{path.name})" in shown


@pytest.mark.browser
def test_a_screenshot_is_taken(browser: Any) -> None:
    """Browsers differ in their pixels, so what is compared is coarse: reduced to a twentieth, it is the one in docs."""
    found = [
        Image.open(source).convert("L")
        for source in (io.BytesIO(taken(browser, SHOTS["imdn.png"])), SCREENS / "imdn.png")
    ]
    assert found[0].size == found[1].size == SIZE
    coarse = [image.reduce(20).tobytes() for image in found]
    assert sum(abs(a - b) for a, b in zip(*coarse, strict=True)) / len(coarse[0]) < 3
