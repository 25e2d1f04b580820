"""The pictures in the documentation are what the present code draws."""

from __future__ import annotations

import pytest

from tools.make_pictures import IMAGES, PICTURES


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
