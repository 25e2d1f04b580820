"""What the project says about itself agrees: requirements and pins, tools and their permissions."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP = {"test", "lint"}  # the extras that tools/environment installs


def pins() -> dict[str, Version]:
    """What constraints.txt pins, by normalised name."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    extras = [text for name, texts in PROJECT["optional-dependencies"].items() if name in SETUP for text in texts]
    requirements = [Requirement(text) for text in (*PROJECT["dependencies"], *extras)]
    pinned = pins()
    outside = [str(r) for r in requirements if pinned.get(canonicalize_name(r.name), Version("0")) not in r.specifier]
    assert outside == []


def test_pins_are_sorted() -> None:
    assert list(pins()) == sorted(pins())


@pytest.mark.parametrize("tool", ["tools/run", "tools/test", ".ci/run"])
def test_tools_can_be_run(tool: str) -> None:
    assert os.access(ROOT / tool, os.X_OK)


def set_up(venv: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Source tools/environment for an environment at `venv`."""
    script = f"set -euo pipefail; root={ROOT}; source {ROOT}/tools/environment; echo ready"
    full = os.environ | {"FXPRUNE_VENV": str(venv)} | environment
    return subprocess.run(["bash", "-c", script], env=full, capture_output=True, text=True, check=False)


def finished(venv: Path) -> None:
    """An environment as a completed set-up leaves it."""
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").touch()
    extras = os.environ.get("FXPRUNE_EXTRAS", "test,lint")
    bare = os.environ.get("FXPRUNE_BARE", "")
    wanted = f'printf "%s\\n" "{ROOT}" "{extras}" "{bare}" | cat - pyproject.toml constraints.txt | cksum'
    stamp = subprocess.run(["bash", "-c", wanted], cwd=ROOT, capture_output=True, text=True, check=True)
    (venv / ".fxprune-stamp").write_text(stamp.stdout)


def test_a_whole_environment_is_used_as_it_is(tmp_path: Path) -> None:
    finished(tmp_path / "venv")
    done = set_up(tmp_path / "venv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


@pytest.mark.parametrize("stamp", [None, "1 2\n"])
def test_an_unfinished_or_outdated_one_is_made_anew(tmp_path: Path, stamp: str | None) -> None:
    finished(tmp_path / "venv")
    (tmp_path / "venv" / ".fxprune-stamp").unlink()
    if stamp:
        (tmp_path / "venv" / ".fxprune-stamp").write_text(stamp)
    # A Python that reports itself new enough and can lock, but makes no environment: the attempt shows.
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\n[ "$1" = -c ]\n')
    fake.chmod(0o755)
    done = set_up(tmp_path / "venv", PYTHON=str(fake))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "could not make a virtual environment" in done.stderr
    assert not (tmp_path / "venv" / ".fxprune-stamp").exists()


def test_without_a_python_it_says_so(tmp_path: Path) -> None:
    done = set_up(tmp_path / "venv", PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "PYTHON=/nowhere/python is not Python 3.11 or later" in done.stderr


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    done = set_up(tmp_path)
    assert done.returncode == 1
    assert "is not a Python environment" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
