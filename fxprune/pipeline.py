"""The compiler on one page: model + spec → trace → groups → plan → rewrite → verify → a compact network.

The first file to read. Each stage is a function from one frozen value to the next; their folders are listed in this
order in docs/architecture.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
import torch
from torch import fx, nn

from fxprune import lang, schedule
from fxprune.emit.files import Saved, save
from fxprune.emit.load import load
from fxprune.errors import PlanError, RewriteError
from fxprune.groups import Groups, discover, guard
from fxprune.lang import Attention, Emit, Norm, Spec
from fxprune.models import check_example, inputs_of
from fxprune.plan import Calibration, Plan, make_plan
from fxprune.rewrite import Kept, Rewritten, Slicer, Verified, can_mend, relative, rewrite, verify
from fxprune.schedule import trains
from fxprune.trace import Traced, retell, trace
from fxprune.train.events import METRICS, Beat, Event, metrics_text
from fxprune.train.loop import train
from fxprune.view import GroupRow, Report, make_report
from fxprune.view.constraint import constraint_graph
from fxprune.view.curves import curves
from fxprune.view.files import groups_svg
from fxprune.view.summary import report_html

__all__ = ["Analysis", "Compiled", "Pruner", "Training", "Watch", "analyze", "compile", "load", "plan"]

Watch = Callable[[str, float], None]  # called after each stage with its name and its seconds


@dataclass(frozen=True, slots=True)
class Training:
    """Where a run takes its pictures from, where it runs, and where it keeps what it has."""

    data: Path | None = None  # folder of images, or the folder in which those that the spec names are
    folder: Path = Path()  # what paths in the spec start from
    run: Path | None = None  # checkpoints and metrics; None: nothing is kept, and the run cannot be resumed
    device: str | None = None  # cpu, cuda, cuda:1, mps; None: where the model is
    resume: bool = False  # go on from the last checkpoint in `run`
    listen: Callable[[Event], None] = lambda event: None  # told what happens
    beat: Beat = lambda step, length: None  # told after every step


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A compact network, and everything there is to know about how it came about."""

    module: fx.GraphModule  # ready to run, train, export; in the mode of the model it was made from
    kept: Kept  # original name → dimension → kept indices, for dimensions that lost something; not for the columns
    # of a grouped convolution's weight whose groups keep different channels: what goes in is zero where one went
    report: Report
    plan: Plan
    spec: Spec
    example: tuple[Any, ...]
    history: tuple[Event, ...] = ()  # of training: what was told, from the first step on

    @property
    def protected(self) -> tuple[GroupRow, ...]:
        """What could not be cut, each with its reason."""
        return self.report.protected

    def save(self, folder: str | os.PathLike[str]) -> Saved:
        """Write weights, source, exported program, plan and report to a folder, whole or not at all.

        Raises:
            OutputError: the folder is not ours, or cannot be written.
        """
        formats = _formats(self.spec)
        pages = self.pages(formats)
        return save(
            folder,
            module=self.module,
            example=self.example,
            plan={
                "spec": lang.format_spec(self.spec),
                "set": dict(self.spec.given),
                "kept": {
                    name: {str(dim): list(kept) for dim, kept in dims.items()} for name, dims in self.kept.items()
                },
                "report": self.report.to_json(),
            },
            report_text=self.report.text(),
            title=f"{self.report.model}, pruned by fxprune.",
            header=(f"{self.report.params[1]:,} parameters of {self.report.params[0]:,}.",),
            formats=formats,
            extra_files=pages,
        )

    def pages(self, formats: Sequence[str]) -> dict[str, str]:
        """The report and the constraint graph as pictures, by file name."""
        written = [name for form in formats for name in _WRITTEN[form]]
        measured = {METRICS: metrics_text(self.history)} if self.history else {}
        files = sorted([*written, *measured, "plan.json", "report.txt", "report.html", "groups.svg"])
        return {
            "report.html": report_html(self.report, self.plan, self.spec, files=files, sections=curves(self.history)),
            "groups.svg": groups_svg(self.plan.groups, self.plan, title=self.report.model),
            **measured,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Analysis(Groups):
    """The groups of a network, with ways to look at them."""

    def to_networkx(self) -> networkx.DiGraph:
        """The constraint graph: layers and the ops that tie them, with their groups as attributes."""
        return constraint_graph(self)

    def to_svg(self) -> str:
        """The constraint graph as a picture, repeated blocks folded."""
        return groups_svg(self)


def analyze(model: nn.Module, example: Any = None) -> Analysis:
    """Find which channels of a network are tied together.

    Args:
        model: any network; it is not changed.
        example: an input tensor, a tuple of inputs or a dict of them by name; 1×3×48×48 in [0, 1] if left out.

    Raises:
        TraceError: the network cannot be traced; names the line that stopped it.
        InputError: the example does not fit the network.
    """
    given = inputs_of(model, example)
    found = _groups(model, trace(model, given))
    return Analysis(found.traced, found.labelled, found.unit_of, found.groups, found.starts)


def plan(
    spec: Spec | str | Path, model: nn.Module, example: Any = None, *, calibration: Calibration | None = None
) -> Plan:
    """Decide what a spec would remove from a network as it is, without doing it; phases that train are passed over."""
    parsed, given = _spec(spec), inputs_of(model, example)
    groups = _groups(model, trace(model, given), parsed)
    return make_plan(parsed, groups, calibration, untrained=trains(parsed))


def compile(
    spec: Spec | str | Path,
    model: nn.Module,
    example: Any = None,
    *,
    calibration: Calibration | None = None,
    name: str | None = None,
    sizes: Sequence[tuple[int, int]] = (),
    watch: Watch = lambda stage, seconds: None,
    training: Training = Training(),
) -> Compiled:
    """Prune a network by a spec and prove the result equal to the masked original.

    A spec with phases that train (`shrink`, `hold`, `finetune`, …) takes the network through them; what is proved is
    each cut.

    Args:
        spec: a `Spec`, the text of one, or a path.
        model: any network; it is not changed.
        example: an input tensor, a tuple of inputs or a dict of them by name; 1×3×48×48 in [0, 1] if left out.
        calibration: a batch for criteria that need gradients (`by taylor`).
        name: what to call the network in reports; by default its class.
        sizes: heights and widths of images that the network is known to take: every cut is verified there first.
        watch: told each stage and how long it took.
        training: data, device and place of a run, for a spec with phases that train.

    Raises:
        SpecError: mistakes in the spec, all of them.
        TrainError, StoppedError: training cannot go on, or was asked to stop.
        TraceError, InputError, PlanError: the network or the plan won't do.
        VerifyError: the compact network differs from the masked original. Nothing is returned then.
    """
    clock = _Clock(watch)
    with clock("parse"):
        parsed = _spec(spec)
    title = name or type(model).__name__
    if trains(parsed):
        return _trained(parsed, model, inputs_of(model, example), title, clock, training, sizes)
    with clock("trace"):
        given = inputs_of(model, example)
        traced = trace(model, given)
    with clock("groups"):
        groups = _groups(model, traced, parsed)
    decided, rewritten, verified = _cut(parsed, groups, calibration, clock, sizes)
    native = None
    if any(norm.mode == "native" for norm in parsed.of(Norm)):
        exact, rewritten = rewritten, rewrite(rewritten.slicer, exact=False)
        native = None if verified is None else _difference(exact, rewritten, given)
    report = make_report(title, decided, verified, native_difference=native, seconds=clock.seconds)
    return Compiled(rewritten.module, rewritten.kept, report, decided, parsed, given)


def _trained(
    spec: Spec,
    model: nn.Module,
    example: tuple[Any, ...],
    title: str,
    clock: _Clock,
    training: Training,
    sizes: Sequence[tuple[int, int]],
) -> Compiled:
    """Take the network through the phases of a spec."""
    with clock("train"):
        done = train(
            spec,
            model,
            example,
            data=training.data,
            folder=training.folder,
            run=training.run,
            device=training.device,
            resume=training.resume,
            watch=training.listen,
            beat=training.beat,
            sizes=sizes,
        )
    notes = [*done.notes, f"trained for {done.steps:,} steps"]
    notes += [f"PSNR-Y of the last validation: {done.psnr:.2f} dB"] if done.psnr is not None else []
    report = make_report(
        title, done.plan, done.verified, native_difference=done.native_difference, seconds=clock.seconds, notes=notes
    )
    return Compiled(done.module, done.kept, report, done.plan, spec, example, done.history)


class Pruner(schedule.Pruner):
    """The pruning side of your own training loop; see docs/own-loop.md. Its `cut` gives a `Compiled`."""

    def cut(self) -> Compiled:  # type: ignore[override]
        """Remove what is marked, prove the result, and hand it over as a compile does.

        Raises:
            RewriteError, VerifyError: something cannot be cut exactly.
        """
        done = super().cut()
        report = make_report(
            type(self.model).__name__, done.plan, done.verified, native_difference=done.native_difference
        )
        return Compiled(done.module, done.kept, report, done.plan, self.program.spec, self.example)


def _cut(
    spec: Spec, groups: Groups, calibration: Calibration | None, clock: _Clock, sizes: Sequence[tuple[int, int]]
) -> tuple[Plan, Rewritten, Verified | None]:
    """Plan, rewrite, verify. What cannot be rewritten exactly is protected, and the plan made anew without it.

    Raises:
        RewriteError, VerifyError: the fault is nowhere in particular, or protecting the place does not help.
    """
    first: RewriteError | None = None
    while True:
        try:
            with clock("plan"):
                decided = make_plan(spec, groups, calibration)
            with clock("rewrite"):
                rewritten = rewrite(Slicer.of(groups, decided.removed))
            with clock("verify"):
                verified = None if _on_meta(groups.traced.module) else verify(rewritten, sizes=sizes)
            return decided, rewritten, verified
        except RewriteError as error:
            first = first or error
            guarded = guard(groups, error.node) if error.node else None
            if guarded is None:
                raise first from None
            groups = guarded
        except PlanError:
            if first is not None:
                raise first from None
            raise


class _Clock:
    """Times named stages."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self.watch(stage, spent)


def _spec(spec: Spec | str | Path) -> Spec:
    return spec if isinstance(spec, Spec) else lang.parse(spec)


def _groups(model: nn.Module, traced: Traced, spec: Spec | None = None) -> Groups:
    """Discovery; if the network does not run on its example, say at which layer."""
    try:
        said = spec.of(Attention) if spec else ()
        return discover(traced, can_mend, said[0].mode if said else "most")
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        check_example(model, traced.example)
        raise retell(error) from None


def _on_meta(model: nn.Module) -> bool:
    return any(tensor.device.type == "meta" for tensor in (*model.parameters(), *model.buffers()))


def _difference(exact: Rewritten, native: Rewritten, given: tuple[Any, ...]) -> float:
    with torch.no_grad():
        return relative(exact.module.eval()(*given), native.module.eval()(*given))


_WRITTEN = {"pt2": ("model.pt2",), "safetensors": ("model.py", "model.safetensors")}
_FILES = {"export": "pt2", "python": "safetensors", "safetensors": "safetensors"}  # word → files that go together


def _formats(spec: Spec) -> tuple[str, ...]:
    """What `emit` asks for; everything by default. The plan and the report are always written."""
    asked = [name for emit in spec.of(Emit) for name in emit.formats] or list(_FILES)
    return tuple(dict.fromkeys(_FILES[name] for name in asked if name in _FILES))
