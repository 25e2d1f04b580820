"""The command line: arguments in, what was done on the screen, an exit code out. The only place that prints or exits.

Exit codes: 0 done; 1 a mistake of the user's, told in a few lines on stderr; 2 a command that is not written right;
70 a fault of ours, with its traceback; 130 interrupted. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fxprune import __version__
from fxprune.errors import FxpruneError, ModelError, OutputError

if TYPE_CHECKING:  # torch and rich are imported when a command runs: `fxprune --help` needs neither
    from fxprune.job import Job, Network
    from fxprune.train.events import Event

__all__ = ["front", "main"]

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


def printed(value: object) -> None:
    """One JSON object on stdout."""
    click.echo(jsoned(value), nl=False)


def jsoned(value: object) -> str:
    """A value as JSON, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


@click.group(cls=Front, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="fxprune %(version)s")
def front() -> None:
    """Prune super-resolution networks as a short spec says, and prove the result.

    \b
    SPEC   a .prune file, - for stdin, or the text itself: 'cut filters 50% by l1'
    MODEL  model.py, model.py:factory, package.module:factory or zoo:edsr
    """


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


@front.command("compile", short_help="Cut MODEL as SPEC says, prove and write it.")
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
    with working(as_json) as watch:
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


def log(event: Event) -> None:
    """A line on stderr for what happens in training."""
    from fxprune.view.training import line

    told = line(event)
    if told is not None:
        click.echo(told, err=True)


@front.command(short_help="Look for mistakes in SPEC; say what it would cut.")
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
    with working(as_json, dry=True) as watch:
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


@front.command(short_help="List which channels are tied together.")
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
    with working(as_json, quiet=True):
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


@front.command(short_help="Lay out SPEC in the canonical way.")
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


@front.command(short_help="List the networks that come along.")
@click.argument("name", required=False)
def zoo(name: str | None) -> None:
    """List the networks of the zoo; with NAME, the arguments of one."""
    from fxprune.view.catalogue import arguments, catalogue
    from fxprune.view.terminal import show

    show(arguments(name) if name else catalogue())


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
def working(as_json: bool, *, dry: bool = False, quiet: bool = False) -> Iterator[Watch]:
    """What runs inside may print: it goes to stderr, so that stdout holds results alone. Yields what shows stages."""
    from fxprune.view.terminal import Stages

    with contextlib.redirect_stdout(sys.stderr), Stages(dry=dry, quiet=quiet) as stages:
        try:
            yield stages
        except SystemExit:  # nothing of ours ends the program in there
            raise ModelError("the model's own code ended the program (sys.exit) when it was run") from None


@contextlib.contextmanager
def timed(watch: Watch, stage: str) -> Iterator[None]:
    """Tell how long a stage took."""
    start = time.perf_counter()
    yield
    watch(stage, time.perf_counter() - start)


def loading(folder: Path, files: Sequence[str]) -> str:
    """How to load what was written."""
    if "model.py" in files:
        return f'fxprune.load("{folder}"); without fxprune, in that folder: import model; model.load()'
    if "model.pt2" in files:
        return f'torch.export.load("{folder / "model.pt2"}").module()'
    return "nothing: the spec asks for no such file (emit)"


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
