"""`fxprune fmt`: specs → the same specs in the canonical layout."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from fxprune.cli.entry import MISTAKE, told
from fxprune.cli.shared import read
from fxprune.errors import FxpruneError

__all__ = ["fmt"]


@click.command(short_help="Lay out SPEC in the canonical way.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit with 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Change nothing; print what would change.")
def fmt(specs: tuple[str, ...], only_check: bool, diff: bool) -> int:
    """Lay out each SPEC in the one canonical way, in place; - reads stdin and prints."""
    from fxprune.emit.places import replace_file
    from fxprune.lang import format_spec

    wrong = differ = 0
    for name in specs:
        try:
            job, _ = read(name, only_files=True)
            old, new = job.text, format_spec(job.spec)
            if old != new and not only_check and not diff and isinstance(job.where, Path):
                replace_file(job.where, new)
        except FxpruneError as error:
            wrong = told(str(error), MISTAKE, ())
            continue
        if name == "-" and not only_check and not diff:
            click.echo(new, nl=False)
        elif old != new:
            differ = 1
            if diff:
                lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), job.name, job.name)
                click.echo("".join(lines), nl=False)
            else:
                click.echo(f"{job.name}: {'would change' if only_check else 'formatted'}")
    return wrong or (differ if only_check else 0)
