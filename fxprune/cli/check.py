"""`fxprune check`: a spec → its mistakes; with a model → what would be cut."""

from __future__ import annotations

from typing import Any

import click

from fxprune.cli.output import printed
from fxprune.cli.shared import built, read, timed, with_model, working

__all__ = ["check"]


@click.command(short_help="Look for mistakes in SPEC; say what it would cut.")
@click.argument("spec")
@click.argument("model", required=False)
@with_model
def check(spec: str, model: str | None, pairs: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Look for mistakes in SPEC; with a model, say what it would cut, without cutting.

    The model is MODEL, or the one that the spec names.
    """
    job, seconds = read(spec, pairs, model)
    if not model and not job.names_model:
        if as_json:
            printed({"spec": job.name, "mistakes": 0, "statements": len(list(job.spec))})
        else:
            click.echo(f"{job.name}: no mistakes")
        return
    with working(dry=True) as watch:
        watch("parse", seconds)
        network = built(job, model, watch, **given)
        from fxprune import pipeline
        from fxprune.view import make_report

        with timed(watch, "plan"):
            plan = pipeline.plan(job.spec, network.module, network.example)
            report = make_report(network.title, plan, None)
    from fxprune.view.terminal import changes, facts, show

    if as_json:
        printed(report.to_json())
    else:
        show("", changes(report), "", facts(report, {"": "this is what would be cut; nothing was"}))
