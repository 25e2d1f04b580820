"""The documents in a real browser, opened from a disk: nothing is fetched, and the search finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason="needs mkdocs-material and mkdocstrings: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("documents") / "site"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    return folder


@pytest.mark.parametrize("start", ["index.html", "cookbook/half.html"])
def test_the_documents_are_searched_without_a_server(site: Path, browser: Any, start: str) -> None:
    trouble: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("request", lambda request: trouble.append(request.url) if request.url.startswith("http") else None)
    page.goto((site / start).as_uri())
    page.keyboard.press("/")
    page.keyboard.type("refuses")
    page.locator(".md-search-result__item a[href*='errors.html']").first.click()
    page.wait_for_url(f"{(site / 'errors.html').as_uri()}*")
    assert page.locator("h1").first.text_content().startswith("When it refuses")
    page.close()
    assert trouble == []
