"""An output folder is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fxprune.emit.writer import write
from fxprune.errors import OutputError

Put = Callable[[Path], None]


def text(content: str) -> Put:
    def put(path: Path) -> None:
        path.write_text(content)

    return put


def stops(error: BaseException) -> Put:
    def put(path: Path) -> None:
        path.write_text("half")
        raise error

    return put


def files(content: str) -> dict[str, Put]:
    return {"plan.json": text('{"fxprune": "0"}'), "a.txt": text(content)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_written_and_replaced(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    write(out, {**files("one"), "old.txt": text("")})
    write(out, {**files("two"), "sub/b.txt": text("deep")})
    assert names(out) == ["a.txt", "plan.json", "sub"]
    assert (out / "a.txt").read_text() == "two"
    assert names(tmp_path / "new") == ["out"]


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", files("one"))
    assert names(tmp_path / "out") == ["a.txt", "plan.json"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real", files("one"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", files("two"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "two"


@pytest.mark.parametrize("plan", [None, "{}", "[]", "not json", '{"other": 1}'])
def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path, plan: str | None) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    if plan is not None:
        (tmp_path / "plan.json").write_text(plan)
    before = names(tmp_path)
    with pytest.raises(OutputError, match="was not written by fxprune"):
        write(tmp_path, files("one"))
    assert names(tmp_path) == before


def loop(tmp_path: Path) -> Path:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    return tmp_path / "a" / "out"


def in_the_way(tmp_path: Path) -> Path:
    (tmp_path / "out").write_text("a file")
    return tmp_path / "out"


def below_a_file(tmp_path: Path) -> Path:
    return in_the_way(tmp_path) / "deeper"


BAD = {
    "a file in the way": (in_the_way, "is a file, not a folder"),
    "a file above": (below_a_file, "cannot write .*: "),
    "a name too long": (lambda place: place / ("x" * 300), "its name is too long"),
    "a path too long": (lambda place: place / "/".join(["y" * 200] * 30), "its name is too long"),
    "links in a circle": (loop, "its links go round in a circle"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_written_is_said(tmp_path: Path, case: str) -> None:
    make, reason = BAD[case]
    with pytest.raises(OutputError, match=reason):
        write(make(tmp_path), files("one"))


FAILURES = {
    "disk full": OSError(errno.ENOSPC, "No space left on device"),
    "not allowed": PermissionError(errno.EACCES, "Permission denied"),
    "interrupted": KeyboardInterrupt(),
    "told to end": SystemExit(1),
    "a fault of ours": ValueError("bug"),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_leaves_all_as_it_was(tmp_path: Path, case: str, old: bool) -> None:
    out, error = tmp_path / "out", FAILURES[case]
    if old:
        write(out, files("old"))
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write(out, {**files("new"), "b.txt": stops(error)})
    assert names(tmp_path) == (["out"] if old else [])
    assert not old or (out / "a.txt").read_text() == "old"


def test_a_failed_check_keeps_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "out", files("old"))

    def check(folder: Path) -> None:
        assert names(folder) == ["a.txt", "plan.json"]
        raise OutputError("not good")

    with pytest.raises(OutputError, match="not good"):
        write(tmp_path / "out", files("new"), check)
    assert (tmp_path / "out" / "a.txt").read_text() == "old"


@pytest.mark.parametrize("at", [1, 2])
def test_an_interruption_of_the_move_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    out = tmp_path / "out"
    write(out, files("old"))
    calls, rename = [0], Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == at:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(out, files("new"))
    assert names(tmp_path) == ["out"]
    assert (out / "a.txt").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
from fxprune.emit import writer

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

out, where = Path(sys.argv[1]), sys.argv[2]
put = lambda path: void(path.write_text('{"fxprune": "0"}'))
void = lambda _: None
files = {"plan.json": put, "a.txt": put}
if where == "writing":
    files["b.txt"] = die
elif where == "between":
    rename = Path.rename
    Path.rename = lambda self, to: rename(self, to) and (die() if self == out else None)
writer.write(out, files)
"""


@pytest.mark.parametrize("where", ["writing", "between"])
def test_a_killed_run_leaves_nothing_that_stays(tmp_path: Path, where: str) -> None:
    out = tmp_path / "out"
    write(out, files("old"))
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), where], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists() or (out / "a.txt").read_text() == "old"
    assert len(names(tmp_path)) > 1 or not out.exists()
    with pytest.raises(OutputError):
        write(out, {"b.txt": stops(OSError(errno.ENOSPC, "full"))})
    assert names(tmp_path) == ["out"]
    assert (out / "a.txt").read_text() == "old"


def test_the_folder_of_a_running_process_is_left_alone(tmp_path: Path) -> None:
    def put(path: Path) -> None:
        write(tmp_path / "out", files("inner"))
        path.write_text("outer")

    write(tmp_path / "out", {**files("outer"), "b.txt": put})
    assert (tmp_path / "out" / "b.txt").read_text() == "outer"
    assert names(tmp_path) == ["out"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder may be written")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="it may not be written"):
            write(tmp_path / "out", files("one"))
    finally:
        tmp_path.chmod(0o700)
