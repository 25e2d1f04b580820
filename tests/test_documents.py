"""What the README and the documents show is run, in order: files are written, commands and Python are executed.

A fenced block ```` ```python title="net.py" ```` is a file; ```` ```python ```` is code; ```` ```console ```` holds
commands after `$` and what they print, times and rounding aside; ```` ```prune ```` is a spec that has to be without
mistakes. Other blocks are not looked at.
"""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import fxprune.errors
from fxprune.cli import front
from fxprune.lang import format_spec, parse

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r'^```(\w+)(?: title="([\w./-]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'(?:\]\(|src=")([^)#"]+)(?:#[\w-]+)?[)"]')


def stable(text: str) -> list[str]:
    """The lines of a text without times and rounding differences."""
    text = re.sub(r" +\d+\.\d\d s$", " … s", text, flags=re.MULTILINE)
    return re.sub(r"\d\.\de[-+]\d\d", "…", text).strip().splitlines()


def commands(block: str) -> list[tuple[list[str], str]]:
    """The commands of a console block, each with what follows it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(shlex.split(part.partition("\n")[0]), part.partition("\n")[2]) for part in parts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_shown_is_so(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    rewrite = request.config.getoption("--rewrite-goldens")
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
                if rewrite and stable(result.output) != stable(expected):
                    old = f"{shlex.join([program, *arguments])}\n{expected}"
                    assert old in page.read_text(), "write arguments without needless quotes"
                    blank = "\n" if expected.endswith("\n\n") else ""
                    new = f"{shlex.join([program, *arguments])}\n{result.output.strip(chr(10))}\n{blank}"
                    page.write_text(page.read_text().replace(old, new))
                    continue
                assert stable(result.output) == stable(expected)


def mentioned(page: str) -> list[list[str]]:
    """The commands of fxprune, and the tools, in blocks that are not run and between backticks."""
    fenced = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    blocks = [block for kind, block in fenced if kind in ("", "sh")]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)
    codes = [code for code in re.findall(r"`([^`\n]+)`", prose) if not code.endswith("…")]  # those are messages
    lines += [code for code in codes if re.match(r"fxprune |(?:python )?tools/\w", code)]
    starts = re.compile(r"(?P<command>(?:fxprune|tools/\w+(?:\.py)?)(?: .*|$))")
    return [shlex.split(found["command"], comments=True) for line in lines if (found := starts.search(line))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_are_mentioned_exist(page: Path) -> None:
    for program, *arguments in mentioned(page.read_text()):
        if program.startswith("tools/"):
            tool = ROOT / program
            assert tool.exists(), program
            given = [a.removeprefix("--") for a in arguments if a.startswith("--") and tool.suffix]
            assert [name for name in given if not re.search(rf'"(--)?{name}"', tool.read_text())] == [], program
            arguments = arguments if program == "tools/run" else []
        if arguments:
            command = front.get_command(None, arguments[0])  # type: ignore[arg-type]
            assert command is not None, arguments[0]
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            given = [
                argument.partition("=")[0].strip("[]|…") for argument in arguments if re.match(r"\[?--?[a-z]", argument)
            ]
            assert set(given) <= known, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


MADE = {"language": "make_language_docs", "messages": "make_message_docs", "rules": "make_rule_docs"}


@pytest.mark.parametrize("page", MADE)
def test_what_is_made_from_the_code_is_up_to_date(page: str) -> None:
    made = runpy.run_path(str(ROOT / "tools" / f"{MADE[page]}.py"))["page"]()
    assert (ROOT / "docs" / f"{page}.md").read_text() == made, f"run tools/{MADE[page]}.py"


def test_the_cookbook_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_cookbook.py"))["pages"]()
    found = {path.name: path.read_text() for path in (ROOT / "docs" / "cookbook").glob("*.md")}
    assert found == made, "run tools/make_cookbook.py"


def reasons() -> set[str]:
    """Every reason why something is protected that stands in the code, `…` for what is filled in."""
    text = runpy.run_path(str(ROOT / "tools" / "make_message_docs.py"))["text"]
    found: set[str] = set()
    for path in [*(ROOT / "fxprune" / "groups").glob("*.py"), ROOT / "fxprune" / "plan" / "plan.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) > 1:
                if node.func.attr not in ("fix", "fix_all", "setdefault"):
                    continue
                said = node.args[1]
                choices = [said.body, said.orelse] if isinstance(said, ast.IfExp) else [said]
                found.update(filter(None, map(text, choices)))
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Protection":
                found.update(filter(None, [text(node.args[1])]))
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
                found.update(filter(None, [text(node.value)]))
    return found


def test_every_reason_has_its_remedy() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    told = {line.split("|")[1].strip() for line in page.splitlines() if line.count("|") == 4}
    found = {reason.replace("only …", "only 3") for reason in reasons()} - {"by …"}
    assert len(found) > 20
    assert found - told == set()
    assert {reason for reason in told if reason.startswith("`…`")} - found == set()


def test_the_reference_has_every_public_name_and_every_error() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    shown = {line.split()[1] for line in page.splitlines() if line.startswith(":::")}
    missing = set(fxprune.__all__) - {name.rpartition(".")[2] for name in shown}
    assert missing <= {"FxpruneError"}  # it is shown with its module
    drawn = set(re.findall(r"\w+Error", fxprune.errors.__doc__ or ""))
    defined = {
        node.name: path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in (ROOT / "fxprune").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and not node.name.startswith("_")
    }
    assert set(defined) == drawn
    assert {f"{module}.{name}" for name, module in defined.items() if module not in shown} <= shown


def test_the_architecture_lists_the_folders_in_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    told = [name.rstrip("/").removesuffix(".py") for row in rows for name in re.findall(r"`([\w./]+)`", row)]
    floors = runpy.run_path(str(ROOT / "tests" / "test_layout.py"))["FLOORS"]
    assert sorted(told[:2]) == ["errors", "source"]
    assert told[2:] == [name for name in floors if name not in ("errors", "source", "internals") and "__" not in name]
    assert "`internals.py`" in page


def test_every_message_has_its_remedy() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_message_docs.py"))
    rows = [line for line in made["page"]().splitlines() if line.startswith("| ")]
    assert len(rows) > 200
    bare = [row for row in rows if made["BELOW"] in row or row.endswith("|  |")]
    assert bare == [], "say in REMEDIES of tools/make_message_docs.py what to do"


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs mkdocs-material and mkdocstrings: pip install '.[docs]'")
    pytest.importorskip("mkdocstrings", reason="needs mkdocstrings: pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    assert '<span class="k">cut</span>' in (tmp_path / "site" / "cookbook" / "half.html").read_text()
    fetched = re.compile(r'<(?:script|img|iframe|link)[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
    assert {page.name: fetched.findall(page.read_text()) for page in pages if fetched.search(page.read_text())} == {}
