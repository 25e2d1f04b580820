"""What a command line names → what the compiler takes: a spec, a network, an example, a place for the output."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lark import UnexpectedInput

from fxprune import lang
from fxprune.errors import InputError, ModelError, SpecError
from fxprune.lang import Input, ModelRef, Spec, tree
from fxprune.lang.ast import plain
from fxprune.lang.parser import grammar
from fxprune.lang.values import value_of
from fxprune.source import Source
from fxprune.zoo import NETWORKS

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Job",
    "Network",
    "Settings",
    "Where",
    "default_out",
    "load_network",
    "place",
    "read_job",
    "settings",
    "shapes_of",
    "typed",
    "usable_device",
]

Where: TypeAlias = Path | Source  # a spec's file, or its text

ORDER = "the spec comes first, then the model: fxprune compile SPEC MODEL"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `--set` said."""

    variables: Mapping[str, str] = field(default_factory=dict)  # of the spec, as written
    args: Mapping[str, object] = field(default_factory=dict)  # of the model's constructor
    weights: str | None = None  # a file


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A spec, and what was set for it."""

    where: Where
    spec: Spec
    settings: Settings

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.where) if isinstance(self.where, Path) else self.where.name

    @property
    def folder(self) -> Path:
        """What paths in it start from."""
        return self.where.parent if isinstance(self.where, Path) else Path()

    @property
    def text(self) -> str:
        """It, as written."""
        return self.spec.source.text if isinstance(self.where, Path) else self.where.text

    @property
    def names_model(self) -> bool:
        """Whether it says itself which model it is for."""
        return bool(self.spec.of(ModelRef))


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network to compile."""

    module: nn.Module
    example: tuple[Any, ...]  # on the network's device
    title: str  # what reports call it: zoo:edsr(blocks=8)
    sizes: tuple[tuple[int, int], ...] = ()  # heights and widths to verify at; empty: any will do


def settings(pairs: Iterable[str], variables: Iterable[str] = ()) -> Settings:
    """Sort out `name=value` texts: a variable of the spec, `weights`, or an argument of the model's constructor.

    Args:
        pairs: as written; of several for one name, the last counts. `model.NAME=value` is always an argument.
        variables: those the spec defines with `let`.

    Raises:
        InputError: a text that is no `name=value`.
    """
    known = set(variables)
    found = Settings({}, {})
    for pair in pairs:
        name, sign, value = (part.strip() for part in pair.partition("="))
        plainly = name.removeprefix("model.")
        if not sign or not plainly.isidentifier():
            raise InputError(f"--set {pair}: this is no setting", hint="write NAME=VALUE, as in --set blocks=8")
        if name in known:
            found = replace(found, variables={**found.variables, name: value})
        elif name == "weights":
            found = replace(found, weights=value)
        else:
            found = replace(found, args={**found.args, plainly: typed(value)})
    return found


def typed(text: str) -> object:
    """A value as Python has it: whole numbers, decimals, 70%, 10K, yes and no, none, [1, 2]; any other is a text."""
    listed = re.fullmatch(r"\((.*?),?\s*\)", text)
    written = f"[{listed[1]}]" if listed else text
    try:
        parsed = grammar().parse(written, start="value")
    except UnexpectedInput:
        return text
    return plain(value_of(tree.single_value(Source(written), parsed)))


def place(given: str, stdin: bytes | None = None, *, only_files: bool = False) -> Where:
    """Where a spec stands: its path, or its text if it was given itself or through stdin.

    Raises:
        SpecError: what came through stdin is not text; a model where a spec should be.
    """
    if stdin is not None:
        try:
            return Source(stdin.decode("utf-8"), "<stdin>")
        except UnicodeDecodeError:
            raise SpecError("<stdin> is not a text file", hint="a spec is plain UTF-8 text") from None
    if not only_files and not given.endswith(".prune") and len(given.split()) > 1 and not Path(given).exists():
        return Source(given, "<spec>")
    if given.startswith("zoo:") or given.endswith(".py"):
        raise SpecError(f"{given} is a model, not a spec", hint=ORDER)
    return Path(given)


def read_job(where: Where, pairs: Iterable[str] = (), *, alone: bool = False) -> Job:
    """The spec with the variables that `--set` gives, and what else that gives.

    Args:
        where: path or text.
        pairs: `--set`, as written.
        alone: there is no model on the command line; if there is none in the spec either, every setting has to be a
            variable.

    Raises:
        SpecError: every mistake in it.
        InputError: a setting that is none.
    """
    pairs = tuple(pairs)
    spec = _parse(where, {})
    given = settings(pairs, spec.variables)
    if alone and (given.args or given.weights) and not spec.of(ModelRef):
        name = next(iter(given.args), "weights")
        there = f"there are {', '.join(sorted(spec.variables))}" if spec.variables else f"define it: let {name} = 50%"
        raise InputError(f"--set {name}: the spec has no variable {name}, and no model to set it for", hint=there)
    return Job(where, _parse(where, given.variables) if given.variables else spec, given)


def _parse(where: Where, variables: Mapping[str, str]) -> Spec:
    if isinstance(where, Path):
        return lang.parse(where, variables=variables)
    # A text without a line break could be taken for a file's name.
    return lang.parse(where.text if "\n" in where.text else where.text + "\n", where.name, variables=variables)


def load_network(
    reference: str | None,
    given: Settings,
    *,
    spec: Spec | None = None,
    folder: Path = Path(),
    weights: str | None = None,
    shape: str | None = None,
    device: str = "cpu",
) -> Network:
    """Build the network that the command line names, or else the spec.

    Args:
        reference: from the command line; it takes the place of the whole `model` line of the spec.
        given: `--set`.
        spec: its `model` line counts where there is no reference, its `input` line where there is no shape.
        folder: what paths in the spec start from.
        weights: `--weights`; it wins over the spec.
        shape: `--input`.
        device: where the network runs.

    Raises:
        ModelError: no network is named, or it cannot be built.
        InputError: no shape, no such device.
    """
    from fxprune.models import example_for, initialise, load_model

    line = next(iter(spec.of(ModelRef)), None) if spec and reference is None else None
    if line is not None:
        reference = named(line.name, folder)
    if reference is None:
        raise ModelError(
            "no model is named", hint="give one after the spec, or add a line such as: model edsr(scale=2)"
        )
    args = {**(line.keywords() if line else {}), **given.args}
    file = weights or given.weights or (str(folder / line.weights) if line and line.weights else None)
    on = usable_device(device)
    try:
        loaded = load_model(reference, args=args, weights=file)
    except ModelError as error:
        raise _explained(error, given, spec, line) from error.__cause__
    shapes = shapes_of(shape) if shape else next((i.shapes for i in spec.of(Input)), None) if spec else None
    if shapes is None and loaded.example is not None:
        shapes = ((1, loaded.input_channels, *loaded.example),)
    example = example_for(loaded.module, shapes)
    initialise(loaded.module, example)
    title = loaded.reference + (f"({', '.join(f'{k}={v}' for k, v in args.items())})" if args else "")
    return Network(loaded.module.to(on), tuple(x.to(on) for x in example), title, loaded.sizes)


def named(name: str, folder: Path) -> str:
    """The reference that a `model` line means: a name of the zoo, or a path from the spec's folder."""
    if name in NETWORKS:
        return f"zoo:{name}"
    if name.startswith("zoo:"):
        return name
    place, _, _ = name.partition(".py:")
    if name.endswith(".py") or place != name or os.sep in name:
        return str(folder / name)
    return name if ":" in name or "." in name else f"zoo:{name}"


def stem_of(reference: str) -> str:
    """What output is named by: `edsr` for zoo:edsr, `net-Big` for path/net.py:Big."""
    place = reference.removeprefix("zoo:")
    match = re.fullmatch(r"(.*?)(?:\.py)?(?::([\w.]+))?", place)
    path, factory = (match[1], match[2]) if match else (place, None)
    words = [Path(path).name.rpartition(".")[2], *([factory] if factory else [])]
    return "-".join(words) or "model"


def _explained(error: ModelError, given: Settings, spec: Spec | None, line: ModelRef | None) -> ModelError:
    """A model's error with the place in the spec that named it, and with the variables `--set` could have meant."""
    variables = ", ".join(sorted(spec.variables)) if spec else ""
    findings = []
    for found in error.diagnostics:
        hint, span = found.hint, found.span
        if any(name in found.message for name in given.args) and variables:
            hint = f"{hint or ''}; the spec's variables are {variables}".removeprefix("; ")
        elif line is not None:
            span = span or line.span
        findings.append(replace(found, hint=hint, span=span))
    return type(error)(findings)


def shapes_of(text: str) -> tuple[tuple[int, ...], ...]:
    """`1x3x48x48`, or several with commas between.

    Raises:
        InputError: it is not written so.
    """
    shapes = []
    for one in text.split(","):
        if not re.fullmatch(r"\s*\d+(\s*[x×]\s*\d+)*\s*", one):
            raise InputError(f"--input {text}: this is no shape", hint="batch x channels x height x width: 1x3x48x48")
        shapes.append(tuple(int(size) for size in re.split("[x×]", one)))
    return tuple(shapes)


def usable_device(name: str) -> Any:
    """A device that can be used.

    Raises:
        InputError: it cannot.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        hint = "write cpu or cuda"
        raise InputError(f"--device {name}: there is no such kind of device", hint=hint) from None
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        kinds = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        hint = f"there is {', '.join(kind for kind, here in kinds.items() if here)}"
        raise InputError(f"--device {name}: not available here: {reason}", hint=hint) from None
    return device


def default_out(where: Where, model: str | None) -> Path:
    """`out/half-edsr` for half.prune and zoo:edsr; without a model on the command line, `out/half`."""
    words = [where.stem] if isinstance(where, Path) else []
    return Path("out") / ("-".join([*words, *([stem_of(model)] if model else [])]) or "compact")
