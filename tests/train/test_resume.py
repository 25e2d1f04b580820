"""A run that is killed and goes on ends as one that was not, bit by bit; checkpoints are whole or not there."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fxprune.errors import InputError, OutputError
from fxprune.train.checkpoints import Checkpoints
from fxprune.train.events import Event, StoppedError
from tests.train.runs import ASSL, LOTTERY, SRP, network, of, run, same


class Killed(BaseException):
    """What no code of ours catches."""


def at(place: int) -> Callable[[Event], None]:
    """A watcher that ends the run at the event of this number."""
    seen = iter(range(10**6))

    def kill(_: Event) -> None:
        if next(seen) == place:
            raise Killed

    return kill


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("spec", [SRP, ASSL, LOTTERY], ids=["SRP", "ASSL", "LOTTERY"])
def test_killed_anywhere(spec: str, kills: int, tmp_path: Path) -> None:
    events: list[Event] = []
    whole = run(spec, events)
    points = random.Random(spec).sample(range(len(events)), min(kills, len(events)))
    for point in points:
        folder = tmp_path / str(point)
        again = {"run": folder, "checkpoint_every": 2}
        with pytest.raises(Killed):
            run(spec, **{**again, "watch": at(point)})
        with pytest.raises(Killed):  # and once more, two events later
            run(spec, **{**again, "resume": True, "watch": at(2)})
        assert same(run(spec, resume=True, **again), whole), point


@pytest.mark.parametrize("optimizer", ["adam(lr=1e-2)", "sgd(lr=1e-4, momentum=0.9)"])
def test_the_optimizer_goes_on_after_a_cut_of_weight_norm(optimizer: str, tmp_path: Path) -> None:
    """Its state is of the right parameters, though a cut made again may leave those in another order."""
    spec = ASSL.replace("adam(lr=1e-2)", optimizer).replace("{ ema 0.9 }", "{ clip 1 }")
    whole: list[Event] = []
    expected = run(spec, whole)
    middle = of(whole, "cut")[0].step + 2  # of finetuning

    def kill(event: Event) -> None:
        if event.kind == "checkpoint" and event.step == middle:
            raise Killed

    with pytest.raises(Killed):
        run(spec, run=tmp_path, checkpoint_every=1, watch=kill)
    events: list[Event] = []
    assert same(run(spec, events, run=tmp_path, resume=True), expected)
    assert of(events, "step")[0].step == middle + 1


def test_metrics_of_a_resumed_run_tell_each_step_once(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(SRP, run=tmp_path, checkpoint_every=4, watch=at(9))
    trained = run(SRP, run=tmp_path, checkpoint_every=4, resume=True)
    assert [event.step for event in trained.history if event.kind == "step"] == list(range(1, 18))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["step"] for line in told if line["kind"] == "step"] == list(range(1, 18))


def test_a_request_to_stop_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    def ask(event: Event) -> None:
        if event.kind == "step" and event.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match=r"stopped after step 5(?s:.*)--resume goes on"):
        run(SRP, run=tmp_path, watch=ask)
    assert signal.getsignal(signal.SIGTERM) is before
    assert Checkpoints(tmp_path).steps() == [5]
    events: list[Event] = []
    assert same(run(SRP, events, run=tmp_path, resume=True), run(SRP))
    assert of(events, "step")[0].step == 6


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(SRP, run=tmp_path, checkpoint_every=2, watch=at(9))
    with pytest.raises(InputError, match="--resume"):
        run(SRP, run=tmp_path)
    with pytest.raises(InputError, match="another spec"):
        run(SRP.replace("until 3", "until 4"), run=tmp_path, resume=True)
    run(SRP, run=tmp_path, resume=True)
    run(SRP, run=tmp_path)  # a finished one may be


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    whole = run(SRP, run=tmp_path)
    events: list[Event] = []
    assert same(run(SRP, events, run=tmp_path, resume=True), whole)
    assert of(events, "step") == []


# -- files -------------------------------------------------------------------------------------------------------------


def state(number: int) -> dict[str, Any]:
    return {"number": number, "tensor": torch.full((50,), float(number))}


@pytest.mark.parametrize("damage", ["cut short", "a bit", "empty", "another file"])
def test_a_torn_checkpoint_falls_back_to_the_one_before(damage: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2, 3):
        checkpoints.write(number, state(number))
    assert checkpoints.steps() == [3, 2]
    path = checkpoints.path(3)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut short": content[:-20], "a bit": content, "empty": b"", "another file": b"x" * 99}[damage])
    found, notes = checkpoints.latest()
    assert found is not None
    assert found["number"] == 2
    assert len(notes) == 1
    assert "the one before it is used" in notes[0]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, state(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            checkpoints.write(2, state(2))
    assert [path.name for path in tmp_path.iterdir()] == [checkpoints.path(1).name]


def test_a_torn_checkpoint_of_a_run_costs_steps_not_bits(tmp_path: Path) -> None:
    """Killed, and the newest checkpoint damaged besides: the run goes on from the one before, and ends the same."""
    with pytest.raises(Killed):
        run(ASSL, run=tmp_path, checkpoint_every=2, watch=at(20))
    newest, before = Checkpoints(tmp_path).steps()
    path = Checkpoints(tmp_path).path(newest)
    path.write_bytes(path.read_bytes()[:-100])
    events: list[Event] = []
    assert same(run(ASSL, events, run=tmp_path, resume=True), run(ASSL))
    assert of(events, "step")[0].step == before + 1
    assert any("torn or damaged" in str(event.data) for event in of(events, "note"))


def test_all_checkpoints_torn_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(SRP, run=tmp_path, checkpoint_every=2, watch=at(12))
    for path in tmp_path.glob("checkpoint-*"):
        path.write_bytes(b"")
    events: list[Event] = []
    assert same(run(SRP, events, run=tmp_path, resume=True), run(SRP))
    assert of(events, "step")[0].step == 1
    assert len(of(events, "note")) == 2


def test_half_written_files_are_swept_away(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(SRP, run=tmp_path, checkpoint_every=2, watch=at(9))
    (tmp_path / "checkpoint-000000099.123.tmp").write_bytes(b"half")
    run(SRP, run=tmp_path, resume=True)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("harm", ["cut short", "half a line", "zeros"])
def test_metrics_that_came_to_harm(harm: str, tmp_path: Path) -> None:
    """What a power failure may leave: the run goes on, with the lines that are whole."""
    with pytest.raises(Killed):
        run(SRP, run=tmp_path, checkpoint_every=4, watch=at(12))
    path = tmp_path / "metrics.jsonl"
    content = path.read_bytes()
    path.write_bytes({"cut short": b"", "half a line": content[:100], "zeros": content[:90] + bytes(2000)}[harm])
    assert same(run(SRP, run=tmp_path, resume=True), run(SRP))
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()][-1] == "finish"


def test_metrics_that_cannot_be_written_are_told_of_once(tmp_path: Path) -> None:
    events: list[Event] = []

    def fill(event: Event) -> None:
        events.append(event)
        if event.kind == "step" and event.step == 5:
            (tmp_path / "metrics.jsonl").unlink()
            (tmp_path / "metrics.jsonl").mkdir()

    trained = run(SRP, run=tmp_path, watch=fill)
    notes = [event for event in of(events, "note") if "no more metrics" in event.data["text"]]
    assert len(notes) == 1
    assert [event.step for event in trained.history if event.kind == "step"] == list(range(1, 18))


def test_a_full_disk_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("disk: No space left on device")

    monkeypatch.setattr(Checkpoints, "write", full)
    events: list[Event] = []
    run(SRP, events, run=tmp_path, model=network())
    assert any("No space left" in str(event.data) for event in of(events, "note"))
