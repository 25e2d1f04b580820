"""What the README and the documents show is run, in order: files are written, commands and Python are executed.

A fenced block ```` ```python net.py ```` is a file; ```` ```python ```` is code; ```` ```console ```` holds commands
after `$` and what they print, times and rounding aside; ```` ```prune ```` is a spec that has to be without mistakes.
Other blocks are not looked at.
"""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fxprune.cli import front
from fxprune.lang import format_spec, parse

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: ([\w./-]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[\w-]+)?\)")


def stable(text: str) -> list[str]:
    """The lines of a text without times and rounding differences."""
    text = re.sub(r" +\d+\.\d\d s$", " … s", text, flags=re.MULTILINE)
    return re.sub(r"\d\.\de[-+]\d\d", "…", text).strip().splitlines()


def commands(block: str) -> list[tuple[list[str], str]]:
    """The commands of a console block, each with what follows it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(shlex.split(part.partition("\n")[0]), part.partition("\n")[2]) for part in parts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_shown_is_so(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    names: dict[str, object] = {}
    for kind, name, content in BLOCK.findall(page.read_text()):
        if name:
            (tmp_path / name).write_text(content)
        if kind == "prune":
            assert format_spec(parse(content)) == content
        elif kind == "python" and not name:
            exec(compile(content, page.name, "exec"), names)
        elif kind == "console":
            for (program, *arguments), expected in commands(content):
                assert program in ("fxprune", "tools/run"), program
                result = CliRunner().invoke(front, arguments, prog_name="fxprune")
                assert stable(result.output) == stable(expected)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_language_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_language_docs.py"))["page"]()
    assert (ROOT / "docs" / "language.md").read_text() == made, "run tools/make_language_docs.py"
