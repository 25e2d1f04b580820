"""`fxprune compile`: a spec and a model → the output folder, and on the screen what was done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fxprune.cli.output import log, printed
from fxprune.cli.shared import built, read, timed, with_model, working

__all__ = ["compile_"]


@click.command("compile", short_help="Cut MODEL as SPEC says, prove and write it.")
@click.argument("spec")
@click.argument("model", required=False)
@click.option("-o", "--out", metavar="OUT", help="Output folder.  [default: out/SPEC-MODEL]")
@click.option("--data", metavar="DIR", help="Training images, or the folder in which those that the spec names are.")
@click.option("--resume", is_flag=True, help="Go on with training from the last checkpoint in OUT.run.")
@with_model
def compile_(
    spec: str,
    model: str | None,
    out: str | None,
    data: str | None,
    resume: bool,
    pairs: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Cut MODEL as SPEC says, prove the result, write it to a folder.

    The folder holds model.py and model.safetensors, an exported program, the plan and a report. It is written whole
    or not at all; a folder that fxprune did not write is left alone. MODEL may be left out where the spec names one.

    A spec with phases that train keeps checkpoints and metrics in OUT.run; Ctrl-C saves, --resume goes on.
    """
    from fxprune.emit.places import check_out
    from fxprune.job import default_out

    job, seconds = read(spec, pairs)
    folder = Path(out) if out else default_out(job.where, model)
    check_out(folder)
    with working() as watch:
        watch("parse", seconds)
        network = built(job, model, watch, **given)
        from fxprune import pipeline

        training = pipeline.Training(
            data=Path(data) if data else None,
            folder=job.folder,
            run=folder.with_name(f"{folder.name}.run"),
            resume=resume,
            listen=log,
        )
        compiled = pipeline.compile(
            job.spec, network.module, network.example, name=network.title, watch=watch, training=training
        )
        with timed(watch, "write"):
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


def loading(folder: Path, files: Sequence[str]) -> str:
    """How to load what was written."""
    if "model.py" in files:
        return f'fxprune.load("{folder}"); without fxprune, in that folder: import model; model.load()'
    if "model.pt2" in files:
        return f'torch.export.load("{folder / "model.pt2"}").module()'
    return "nothing: the spec asks for no such file (emit)"
