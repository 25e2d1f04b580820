"""`fxprune compile`: a spec and a model → the output folder, and on the screen what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxprune.cli.output import printed
from fxprune.cli.shared import built, read, timed, with_model, working

if TYPE_CHECKING:
    from fxprune.pipeline import Training
    from fxprune.train.events import Event
    from fxprune.view.terminal import Stages

__all__ = ["compile_"]


@click.command("compile", short_help="Cut MODEL as SPEC says, prove and write it.")
@click.argument("spec")
@click.argument("model", required=False)
@click.option("-o", "--out", metavar="OUT", help="Output folder.  [default: out/SPEC-MODEL]")
@click.option("--data", metavar="DIR", help="Training images, or the folder in which those that the spec names are.")
@click.option("--resume", is_flag=True, help="Go on with training from the last checkpoint in OUT.run.")
@click.option("--tensorboard", is_flag=True, help="Write the course of training for TensorBoard too, into OUT.run.")
@with_model
def compile_(
    spec: str,
    model: str | None,
    out: str | None,
    data: str | None,
    resume: bool,
    tensorboard: bool,
    pairs: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Cut MODEL as SPEC says, prove the result, write it to a folder.

    The folder holds model.py and model.safetensors, an exported program, the plan and a report. It is written whole
    or not at all; a folder that fxprune did not write is left alone. MODEL may be left out where the spec names one.

    A spec with phases that train keeps checkpoints and metrics in OUT.run; Ctrl-C saves, --resume goes on. Started by
    torchrun, it trains with all its processes, and the first one writes and prints.
    """
    from fxprune.emit.places import check_out
    from fxprune.job import default_out

    job, seconds = read(spec, pairs)
    folder = Path(out) if out else default_out(job.where, model)
    check_out(folder)
    with working(quiet=not_the_first()) as stages:
        if not_the_first() and stages.status is not None:
            stages.status.stop()  # one line at the bottom of the terminal is enough
        stages("parse", seconds)
        network = built(job, model, stages, **given)
        from fxprune import pipeline

        compiled = pipeline.compile(
            job.spec,
            network.module,
            network.example,
            name=network.title,
            sizes=network.sizes,
            watch=stages,
            training=training(stages, folder, job.folder, data, resume=resume, tensorboard=tensorboard),
        )
        if not_the_first():
            return
        with timed(stages, "write"):
            saved = compiled.save(folder)
    if as_json:
        printed({"out": str(folder), "files": list(saved.files), **compiled.report.to_json()})
        return
    from fxprune.view.terminal import changes, facts, show

    noted = {"export": saved.exported.note} if saved.exported and saved.exported.note else {}
    more = noted | {
        "files": f"{folder}: {', '.join(saved.files)}",
        "look": f"{folder / 'report.html'} says what was done, {folder / 'groups.svg'} shows where",
        "load": loading(folder, saved.files),
    }
    show("", changes(compiled.report), "", facts(compiled.report, more))


def training(stages: Stages, out: Path, folder: Path, data: str | None, *, resume: bool, tensorboard: bool) -> Training:
    """How a spec is trained that has phases for it: its run is kept beside the output, and shown on stderr.

    Raises:
        InputError: TensorBoard is asked for and not installed.
    """
    from fxprune.pipeline import Training
    from fxprune.train.board import Board
    from fxprune.view.progress import Progress

    run = out.with_name(f"{out.name}.run")
    progress = Progress(stages.console, stages.status, lambda line: click.echo(line, err=True))
    listeners: list[Callable[[Event], None]] = [progress, *([Board(run / "tensorboard")] if tensorboard else [])]

    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return Training(
        data=Path(data) if data else None, folder=folder, run=run, resume=resume, listen=listen, beat=progress.beat
    )


def not_the_first() -> bool:
    """Whether this is a process that torchrun started beside the first one."""
    from fxprune.train.devices import rank

    return rank() > 0


def loading(folder: Path, files: Sequence[str]) -> str:
    """How to load what was written."""
    if "model.py" in files:
        return f'fxprune.load("{folder}"); without fxprune, in that folder: import model; model.load()'
    if "model.pt2" in files:
        return f'torch.export.load("{folder / "model.pt2"}").module()'
    return "nothing: the spec asks for no such file (emit)"
