"""Pages of networks of the zoo → screenshots in docs/images/screens, taken in a Chromium. Run it when pages change."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fxprune.pipeline import analyze
from fxprune.pipeline import compile as compile_spec
from fxprune.view.page import groups_html
from fxprune.view.summary import report_html
from fxprune.zoo import build

SCREENS = Path(__file__).parent.parent / "docs" / "images" / "screens"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = (1200, 960)  # pixels of a window
COLOURS = 256  # of the palette: pages are flat, and small files are kind to a repository


@dataclass(frozen=True, slots=True)
class Screen:
    """One screenshot."""

    page: Callable[[], str]  # makes the HTML
    scheme: str = "light"  # or "dark"
    click: tuple[str, ...] = ()  # selectors clicked one after another
    hover: str = ""  # selector the pointer rests on


def groups_page(name: str, **arguments: object) -> str:
    """What `fxprune groups zoo:NAME -o FILE.html` writes."""
    torch.manual_seed(0)
    return groups_html(analyze(build(name, **arguments)), title=f"zoo:{name}")


def report_page(name: str, spec: str) -> str:
    """What `fxprune compile` leaves as report.html."""
    torch.manual_seed(0)
    made = compile_spec(spec, build(name))
    return report_html(made.report, made.plan, made.spec)


SHOTS = {
    "edsr.png": Screen(lambda: groups_page("edsr"), hover="[data-path='body.0.conv2']"),
    "imdn.png": Screen(lambda: groups_page("imdn"), hover="[data-path='body.0.conv2']"),
    "rcan-closed.png": Screen(lambda: groups_page("rcan"), click=("#close", "#graph .closed"), scheme="dark"),
    "rcan.png": Screen(lambda: groups_page("rcan")),
    "report.png": Screen(lambda: report_page("imdn", "cut filters until params <= 400K, by l1 globally\n")),
    "swinir-light.png": Screen(lambda: groups_page("swinir_light"), hover="[data-path='body.0.blocks.0.attn.qkv']"),
}


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit(f"there is no Chromium here: none of {', '.join(BROWSERS)}")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def taken(browser: Any, screen: Screen) -> bytes:
    """The PNG of a screen."""
    page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=screen.scheme)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(screen.page(), encoding="utf-8")
        page.goto(path.as_uri())
        page.wait_for_function("globalThis.fxprune && fxprune.ready")
        for selector in screen.click:
            page.locator(selector).first.click()
        page.mouse.move(0, 0)
        if screen.hover:
            page.locator(screen.hover).first.hover()
        page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
        shot = page.screenshot()
    page.close()
    out = io.BytesIO()
    small = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> int:
    """Take the screenshots that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(SHOTS)}; all by default")
    asked = parser.parse_args().names or list(SHOTS)
    unknown = [name for name in asked if name not in SHOTS]
    if unknown:
        parser.error(f"there is no screenshot {unknown[0]}")
    SCREENS.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name in asked:
            (SCREENS / name).write_bytes(taken(browser, SHOTS[name]))
            print(f"{name}: {(SCREENS / name).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
