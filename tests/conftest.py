"""What all tests share: golden files, and hypothesis with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fxprune",
    deadline=None,  # the machines that run this differ
    derandomize=True,  # the same examples every time
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fxprune")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-goldens", action="store_true", help="write what came out into the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a file, or write it there with `pytest --rewrite-goldens`, to be reviewed as a diff."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--rewrite-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"no golden file {path.name}: make it with --rewrite-goldens"
        assert text == path.read_text(encoding="utf-8")

    return compare
