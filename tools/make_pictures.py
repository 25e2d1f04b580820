"""Networks of the zoo → the pictures in docs/images. Run it when pictures have changed; `--check` only compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from fxprune.pipeline import analyze, plan
from fxprune.view.files import groups_svg
from fxprune.zoo import build

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def drawn(name: str, spec: str | None = None, **arguments: object) -> str:
    """The picture of a network, with what a spec would cut drawn into it."""
    torch.manual_seed(0)
    model = build(name, **arguments)
    decided = plan(spec, model) if spec else None
    return groups_svg(decided.groups if decided else analyze(model), decided)


PICTURES: dict[str, Callable[[], str]] = {
    "edsr.svg": lambda: drawn("edsr"),
    "edsr-half.svg": lambda: drawn("edsr", "cut filters 50% by l1"),
    "imdn.svg": lambda: drawn("imdn"),
    "rcan.svg": lambda: drawn("rcan"),
    "swinir-light.svg": lambda: drawn("swinir_light"),
}


def main() -> int:
    """Write the pictures, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a picture would change")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in PICTURES]
    if unknown:
        parser.error(f"there is no picture {unknown[0]}")
    stale = []
    for name in asked.names or PICTURES:
        path, text = IMAGES / name, PICTURES[name]()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not asked.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print("\n".join(f"{name}: {'out of date' if asked.check else 'written'}" for name in stale) or "all up to date")
    return 1 if stale and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
