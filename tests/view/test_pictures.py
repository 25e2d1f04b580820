"""SVG, PNG and pages: stable, whole, small, quick; names stay text."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fxprune import parse, view
from fxprune.errors import InputError
from fxprune.groups import Groups
from fxprune.pipeline import analyze
from fxprune.plan import make_plan
from fxprune.view.contract import flow_of
from fxprune.view.draw import Artist, letters
from fxprune.view.files import GRAPH_FORMATS, graph_file, groups_png, groups_svg
from fxprune.view.page import groups_html
from fxprune.zoo import build
from tests.view.conftest import Hostile

Found = Callable[..., Groups]
GOLDENS = Path(__file__).parent / "goldens"


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="graph-data">(.*?)</script>', page, re.DOTALL)
    assert found
    plain: dict[str, object] = json.loads(found[1])
    return plain


def test_a_small_picture(found: Found, golden: Callable[[Path, str], None]) -> None:
    groups = found("edsr", blocks=2, width=8)
    golden(GOLDENS / "edsr.svg", groups_svg(groups, make_plan(parse("cut filters 50%"), groups)))


@pytest.mark.parametrize("name", ["edsr", "imdn", "drrn", "srcnn"])
def test_a_picture_says_which_layers_there_are(found: Found, name: str) -> None:
    root = ET.fromstring(groups_svg(found(name)))
    shown = " ".join(root.itertext())
    for word in {"edsr": ["head", "× 16"], "imdn": ["split", "× 6"], "drrn": ["same weights"], "srcnn": ["map"]}[name]:
        assert word in shown
    assert not re.search(r"https?://(?!www\.w3\.org)", groups_svg(found(name)))


def test_constrained_groups_have_letters_and_keep_their_colour(found: Found) -> None:
    groups = found("imdn")
    named = letters(groups)
    assert sorted(named) == sorted(group.index for group in groups.constrained)
    assert len(set(named.values())) == len(named)
    artist = Artist(flow_of(groups))
    (largest,) = [index for index, letter in named.items() if letter == "A"]
    assert [index for index in named if artist.look(index) == artist.look(largest)] == [largest]


def test_what_is_cut_is_drawn_empty(found: Found) -> None:
    groups = found("edsr", blocks=2, width=8)
    assert 'class="cut"' not in groups_svg(groups)
    assert 'class="cut"' in groups_svg(groups, make_plan(parse("cut filters 50%"), groups))


def test_a_folded_block_gives_ranges(found: Found) -> None:
    groups = found("imdn")
    shown = groups_svg(groups, make_plan(parse("cut filters 40% by l1 globally"), groups))
    assert re.search(r'class="now"[^>]*>[^<]*\d–\d', shown)


def test_a_png_shows_the_same_picture(found: Found) -> None:
    groups = found("edsr", blocks=2, width=8)
    image = Image.open(io.BytesIO(groups_png(groups)))
    root = ET.fromstring(groups_svg(groups))
    assert abs(image.width - 2 * float(root.attrib["width"])) <= 2
    assert abs(image.height - 2 * float(root.attrib["height"])) <= 2
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (pixels == (0x00, 0x72, 0xB2)).all(1).sum() > 1000  # the colour of group A


@pytest.mark.parametrize("form", GRAPH_FORMATS)
def test_every_format_is_written(hostile: Groups, form: str) -> None:
    assert graph_file(hostile, form) == graph_file(hostile, f".{form.upper()}")


def test_a_format_that_does_not_exist(hostile: Groups) -> None:
    with pytest.raises(InputError, match="cannot be written as 'gif'"):
        graph_file(hostile, "gif")


def test_names_stay_text(hostile: Groups) -> None:
    page, drawn = groups_html(hostile), groups_svg(hostile)
    shown = " ".join(ET.fromstring(drawn).itertext())
    for name in Hostile.NAMES:
        assert name in shown
        if "<" in name:
            assert name not in drawn
            assert name not in page
    assert Hostile.CLASS in shown
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    paths = [stop["path"] for stop in data_of(page)["stops"]]  # type: ignore[attr-defined]
    assert set(Hostile.NAMES) <= set(paths)


def test_a_page_needs_nothing_from_outside(found: Found) -> None:
    page = groups_html(found("edsr"))
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert not re.search(r"url\((?!#)", page)
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)


def test_the_page_of_a_large_network_is_small() -> None:
    page = groups_html(analyze(build("rcan")))
    assert len(page.encode()) < 2_000_000


def test_the_folder_says_what_is_in_it() -> None:
    told = {name for line in (view.__doc__ or "").splitlines() for name in re.findall(r"\w+", line.partition("  ")[0])}
    there = {path.stem for path in Path(view.__file__).parent.glob("*.py")} - {"__init__"}
    assert there <= told
