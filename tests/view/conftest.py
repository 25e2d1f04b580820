"""What the tests of pictures share: networks, their groups, a browser where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fxprune.groups import Groups
from fxprune.pipeline import analyze
from fxprune.zoo import build

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs playwright and a Chromium; skipped where there is none")


@pytest.fixture(scope="session")
def found() -> Callable[..., Groups]:
    """Groups of a network of the zoo, found once."""
    known: dict[Any, Groups] = {}

    def find(name: str, **arguments: object) -> Groups:
        key = (name, tuple(sorted(arguments.items())))
        if key not in known:
            torch.manual_seed(0)
            known[key] = analyze(build(name, **arguments))
        return known[key]

    return find


class Hostile(nn.Module):
    """A network whose layers are called what an attacker would call them."""

    NAMES = (
        "<script>hacked=1</script>",
        "<img src=x onerror=hacked=1>",
        "'+alert(1)+'",
        "]]>&amp;<!--",
    )
    CLASS = '"><img src=x onerror=hacked=1>'

    def __init__(self) -> None:
        super().__init__()
        for name in self.NAMES:
            self.add_module(name, nn.Conv2d(8, 8, 3, padding=1))
        self.last = type(self.CLASS, (nn.Conv2d,), {})(8, 8, 3, padding=1)
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        for name in self.NAMES:
            x = x + getattr(self, name)(x)  # </script><script>hacked=1</script>
        y: torch.Tensor = self.tail(self.last(x))
        return y


@pytest.fixture(scope="session")
def hostile() -> Groups:
    torch.manual_seed(0)
    return analyze(Hostile(), torch.rand(1, 3, 8, 8))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with api.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Opens a page from a file; no message in the console, no error and no request are allowed."""
    trouble: list[str] = []
    pages: list[Any] = []

    def open_page(html: str) -> Any:
        path = tmp_path / f"page{len(pages)}.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("request", lambda request: trouble.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_function("globalThis.fxprune && fxprune.ready")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [entry for entry in trouble if not entry.startswith("data:")] == []
