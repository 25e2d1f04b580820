"""`fxprune groups`: a model → which channels are tied, as a tree, a picture, or the answer to a question."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fxprune.cli.output import jsoned, printed
from fxprune.cli.shared import with_model, working
from fxprune.errors import OutputError

__all__ = ["groups"]


@click.command(short_help="List which channels are tied together.")
@click.argument("model")
@click.argument("other", required=False, metavar="")
@click.option("-o", "--out", metavar="FILE", help="Write a file instead: .html, .svg, .png, .dot, .graphml, .json.")
@click.option(
    "--why",
    "asked",
    metavar="LAYER [LAYER]",
    help="Say why a layer is protected or what it is tied to; of two layers, the shortest chain of ops that ties them.",
)
@with_model
def groups(
    model: str,
    other: str | None,
    out: str | None,
    asked: str | None,
    pairs: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """List which channels of MODEL are tied together, and why some cannot be cut.

    \b
    fxprune groups net.py -o groups.html
    fxprune groups net.py --why body.3.conv2 body.7.conv2
    """
    from fxprune.emit.places import replace_file
    from fxprune.job import load_network, settings

    if other and not asked:
        raise click.UsageError(f"{other}: a second argument is a layer, after --why LAYER")
    if asked and out:
        raise click.UsageError("--why answers on the screen, -o writes a file: give one of them")
    with working(quiet=True):
        from fxprune.view.files import GRAPH_FORMATS, graph_file
        from fxprune.view.listing import listing_json
        from fxprune.view.terminal import show, summary, tree
        from fxprune.view.why import why

        form = Path(out).suffix.removeprefix(".").lower() if out else "json"
        if form not in GRAPH_FORMATS:
            raise OutputError(f"{out}: no format is called so", hint=f"end it in .{', .'.join(GRAPH_FORMATS)}")
        network = load_network(model, settings(pairs), **given)
        from fxprune import pipeline

        found = pipeline.analyze(network.module, network.example)
        listed = listing_json(found, network.title)
        answer = why(found, asked, other) if asked else None
    if answer is not None:
        if as_json:
            printed({"model": network.title, **asdict(answer)})
        else:
            show(str(answer))
        return
    if out:
        replace_file(Path(out), jsoned(listed) if form == "json" else graph_file(found, form, title=network.title))
    if as_json:
        printed(listed)
    elif out:
        click.echo(f"{out}: {summary(found)}")
    else:
        show(tree(found), "", f"{network.title}: {summary(found)}")
