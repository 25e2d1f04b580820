"""The process's arguments → a command; whatever goes wrong in one → a message on stderr and an exit code.

Exit codes: 0 done; 1 a mistake of the user's, told in a few lines on stderr; 2 a command that is not written right;
70 a fault of ours, with its traceback; 130 interrupted. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import re
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from fxprune import __version__
from fxprune.cli.output import printed
from fxprune.errors import FxpruneError

__all__ = ["MISTAKE", "front", "main", "told"]

MISTAKE, USAGE, FAULT, INTERRUPTED = 1, 2, 70, 130
FAULTY = "this is a fault of fxprune, not yours"


class Front(click.Group):
    """The commands; whatever goes wrong in one becomes a message and an exit code here."""

    def main(
        self, args: Sequence[str] | None = None, *rest: Any, interrupts: Sequence[int] = (), **extra: Any
    ) -> NoReturn:
        """Run a command and exit.

        Args:
            args: of the command line; those of the process if left out.
            rest, extra: as click has them.
            interrupts: signals that have come in. One that comes while torch imports its parts may be swallowed
                there, to surface later as whatever is missing then; it is an interruption all the same.
        """
        args = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            done = super().main(args, *rest, **extra)
            code = done if isinstance(done, int) else 0
        except click.ClickException as error:
            error.show()
            misplaced = re.search(r"extra arguments? \((\w+=\S*?)[ )]", error.message)
            if misplaced:
                click.echo(f"  hint: settings are given by --set: --set {misplaced[1]}", err=True)
            code = USAGE
        except (click.Abort, KeyboardInterrupt):
            code = told("interrupted", INTERRUPTED, args)
        except Exception as error:
            if interrupts:
                code = told("interrupted", INTERRUPTED, args)
            elif isinstance(error, FxpruneError):
                code = told(str(error), INTERRUPTED if error.stopped else MISTAKE, args, error)
            else:
                traceback.print_exc()
                code = told(f"{FAULTY}: please report it with the lines above", FAULT, args, error)
        sys.exit(code)


def told(message: str, code: int, args: Sequence[str], error: Exception | None = None) -> int:
    """Print a message on stderr; with --json also an object on stdout. Returns the exit code."""
    click.echo(message, err=True)
    if "--json" in args:
        kind = type(error).__name__ if error else "Interrupted"
        found: list[dict[str, object]] = [{"message": message, "hint": None, "where": None}]
        if isinstance(error, FxpruneError):
            found = [{"message": d.message, "hint": d.hint, "where": _where(d.span)} for d in error.diagnostics]
        printed({"error": {"kind": kind, "text": message, "exit_code": code, "findings": found}})
    return code


def _where(span: Any) -> str | None:
    if span is None:
        return None
    line, column = span.source.position(span.start)
    return f"{span.source.name}:{line}:{column}"


@click.group(cls=Front, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="fxprune %(version)s")
def front() -> None:
    """Prune super-resolution networks as a short spec says, and prove the result.

    \b
    SPEC   a .prune file, - for stdin, or the text itself: 'cut filters 50% by l1'
    MODEL  model.py, model.py:factory, package.module:factory or zoo:edsr
    """


def main() -> NoReturn:
    """The entry point: `fxprune` and `python -m fxprune`."""
    interrupts: list[int] = []

    def stop(number: int, _: object) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    # A request to end is treated as Ctrl-C, so that what is half written is cleared away.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    front.main(prog_name="fxprune", interrupts=interrupts)
