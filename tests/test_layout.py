"""The layout is the pipeline: every module stands on a floor, and imports only go to floors above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fxprune"

# In the order in which data passes through them; a module may import those before it and those in its folder.
FLOORS = (
    "source",
    "errors",
    "internals",
    "lang",
    "zoo",
    "models",
    "trace",
    "groups",
    "plan",
    "rewrite",
    "schedule",
    "train",
    "view",
    "emit",
    "pipeline",
    "__init__",
    "job",
    "cli",
    "__main__",
)


def floor(module: str) -> str:
    """The floor of a dotted module name: `fxprune.lang.ast` stands on `lang`, `fxprune` itself on `__init__`."""
    return (*module.split("."), "__init__")[1]


def imported(text: str, module: str, modules: set[str]) -> set[str]:
    """Every module of fxprune that a text imports, at its top or inside a function, for types or for good."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")[: -node.level]
                base = ".".join([*parts, *([base] if base else [])])
            for alias in node.names:
                member = f"{base}.{alias.name}"
                # The version is set before anything is imported, so every floor may ask for it.
                if member != "fxprune.__version__":
                    found.add(member if member in modules else base)
    return {name for name in found if name.partition(".")[0] == "fxprune"}


def upward(text: str, module: str, modules: set[str]) -> list[str]:
    """The imports of a text that go to a later floor, as `module -> imported`."""
    own = FLOORS.index(floor(module))
    return sorted(f"{module} -> {name}" for name in imported(text, module, modules) if FLOORS.index(floor(name)) > own)


def sources() -> dict[str, Path]:
    """Dotted name of each module of the package, `fxprune.lang` for `lang/__init__.py`, and its file."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def test_every_module_stands_on_a_floor() -> None:
    assert sorted({floor(name) for name in sources()} - set(FLOORS)) == []


def test_no_import_goes_to_a_later_floor() -> None:
    files = sources()
    found = [line for name, path in files.items() for line in upward(path.read_text(), name, set(files))]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import fxprune.cli", ["fxprune.cli"]),
        ("def f():\n    from fxprune.plan.select import g", ["fxprune.plan.select"]),
        ("from fxprune import pipeline", ["fxprune.pipeline"]),
        ("from fxprune import compile", ["fxprune"]),
        ("from ..view import text", ["fxprune.view"]),
        ("if TYPE_CHECKING:\n    from fxprune.emit import save", ["fxprune.emit"]),
        ("from fxprune import __version__, errors\nfrom fxprune.lang.ast import Spec\nfrom . import rules", []),
    ],
)
def test_an_upward_import_is_found(text: str, found: list[str]) -> None:
    modules = {"fxprune", "fxprune.errors", "fxprune.pipeline", "fxprune.groups", "fxprune.groups.rules"}
    assert upward(text, "fxprune.groups.solve", modules) == [f"fxprune.groups.solve -> {name}" for name in found]


def test_tests_mirror_the_package() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert sorted(folders - set(FLOORS)) == []


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, path in sources().items() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
