"""What several commands begin with: options of a model, the spec read, the network built, stages timed."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from fxprune.errors import ModelError

if TYPE_CHECKING:  # torch and rich are imported when a command runs: `fxprune --help` needs neither
    from fxprune.job import Job, Network
    from fxprune.view.terminal import Stages

__all__ = ["Watch", "built", "guarded", "read", "timed", "with_model", "working"]

Command = Callable[..., Any]
Watch = Callable[[str, float], None]


def with_model(command: Command) -> Command:
    """The options of every command that builds a network."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, on stdout."),
        click.option("--device", default="cpu", show_default=True, help="Where the model runs: cpu, cuda, cuda:1 …"),
        click.option("--input", "shape", metavar="SHAPE", help="Shape of an example input, such as 1x3x48x48."),
        click.option("--weights", metavar="FILE", help="Weights: .safetensors, .pth, .pt, .ckpt or .bin."),
        click.option(
            "--set",
            "pairs",
            metavar="NAME=VALUE",
            multiple=True,
            help="A variable of the spec, or an argument of the model's constructor. May be repeated.",
        ),
    ):
        command = option(command)
    return command


def read(
    spec: str, pairs: Sequence[str] = (), model: str | None = "", *, only_files: bool = False
) -> tuple[Job, float]:
    """A spec, read and checked, and how many seconds that took; stdin is read here."""
    from fxprune.job import place, read_job

    stdin = sys.stdin.buffer.read() if spec == "-" else None
    start = time.perf_counter()
    job = read_job(place(spec, stdin, only_files=only_files), pairs, alone=model is None)
    return job, time.perf_counter() - start


def built(job: Job, model: str | None, watch: Watch, **given: Any) -> Network:
    """The network that a command names, or its spec."""
    from fxprune.job import load_network

    with timed(watch, "model"):
        network = load_network(model, job.settings, spec=job.spec, folder=job.folder, **given)
    if model and job.names_model:
        click.echo(f"note     {model} takes the place of the spec's own model", err=True)
    return network


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What runs inside may print: it goes to stderr, so that stdout holds results alone.

    Raises:
        ModelError: it ended the program.
    """
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield
        except SystemExit:  # nothing of ours ends the program in there
            raise ModelError("the model's own code ended the program (sys.exit) when it was run") from None


@contextlib.contextmanager
def working(*, dry: bool = False, quiet: bool = False) -> Iterator[Stages]:
    """Guard what runs inside. Yields what shows stages."""
    from fxprune.view.terminal import Stages

    with guarded(), Stages(dry=dry, quiet=quiet) as stages:
        yield stages


@contextlib.contextmanager
def timed(watch: Watch, stage: str) -> Iterator[None]:
    """Tell how long a stage took."""
    start = time.perf_counter()
    yield
    watch(stage, time.perf_counter() - start)
