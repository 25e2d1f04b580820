"""A reference, arguments and weights go in; the network they stand for comes out, the same one every time."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import nn

from fxprune import zoo
from fxprune.errors import Diagnostic, FxpruneError, ModelError
from fxprune.models import candidates, signature
from fxprune.models.blame import told, user_line
from fxprune.models.example import guess_channels
from fxprune.models.files import import_file
from fxprune.models.quarantine import importing, quarantine, seeded
from fxprune.models.reference import Reference, did_you_mean, parse_reference, shown
from fxprune.models.spandrel import Known, Size, load_checkpoint
from fxprune.models.weights import load_weights

__all__ = ["Loaded", "load_model"]

Made = TypeVar("Made")

SCRIPTED = ("is a TorchScript program, not Python code", "give the network before torch.jit.script or torch.jit.trace")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network, and where it came from."""

    module: nn.Module  # in the mode and on the device its code left it
    reference: str  # as the user wrote it
    args: Mapping[str, object] = field(default_factory=dict)  # given to the factory
    weights: Path | None = None  # the file the weights were read from; None: as initialised
    input_channels: int = 3  # most likely channel count of the input
    example: Size | None = None  # height and width of an example input, where not any will do
    sizes: tuple[Size, ...] = ()  # heights and widths to verify at; empty: not known to be any but the usual


def load_model(
    reference: str,
    *,
    args: Mapping[str, object] | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
) -> Loaded:
    """Build the network a reference names.

    The same reference, arguments and seed give the same weights, and running the user's code changes neither the
    random state nor torch's settings of the process.

    Args:
        reference: `model.py`, `model.py:factory`, `package.module:factory` or `zoo:name`; a factory is a function,
            a class or a network. Or a checkpoint of a network that spandrel knows: `x4.pth`, `spandrel:x4.pth`.
        args: keyword arguments of the factory.
        weights: a `.safetensors`, `.pth`, `.pt`, `.ckpt` or `.bin` file with exactly the network's weights.
        seed: of every random number drawn while the network is built.

    Raises:
        ModelError: the reference, its code, the arguments or the weights are not usable; one message, with the line
            of the user's code where there is one.
    """
    given = dict(args or {})
    parsed = parse_reference(reference)
    if parsed.kind == "checkpoint":
        found = recognise(parsed, given, weights, seed)
        return Loaded(found.module, parsed.text, given, parsed.path, found.channels, found.example, found.sizes)
    with quarantine(seed):
        module, known = build(parsed, given, seed)
    path = None
    if weights is not None:
        path = Path(weights)
        load_weights(module, path, parsed.text, known)
    return Loaded(module, parsed.text, given, path, guess_channels(module))


def recognise(reference: Reference, args: Mapping[str, object], weights: str | Path | None, seed: int) -> Known:
    """The network of a checkpoint, which says itself how it was built.

    Raises:
        ModelError: arguments or other weights are given besides; whatever `load_checkpoint` raises.
    """
    if args or weights is not None:
        besides = f"argument {next(iter(args))}" if args else f"weights from {weights}"
        raise ModelError(
            f"{reference.place} is a checkpoint, which says itself how its network is built and holds its weights: "
            f"it takes no {besides}",
            hint="give the code as the model (model.py or zoo:name), and the checkpoint as its weights",
        )
    with quarantine(seed):
        return load_checkpoint(reference.path)


def build(reference: Reference, args: dict[str, object], seed: int) -> tuple[nn.Module, dict[str, object]]:
    """The network, and every setting it was built with that is known by name."""
    if reference.kind == "zoo":
        made = zoo.build(reference.place, **args)
        return made, {name: p.default for name, p in zoo.NETWORKS[reference.place].parameters().items()} | args
    if reference.kind == "file":
        folders, keep = (reference.path.resolve().parent,), False
    else:
        folders, keep = (Path.cwd(),), True
    with importing(folders, reference.place, keep=keep):
        if reference.kind == "file":
            module = retold(reference, folders, "importing it", lambda: import_file(reference.path))
        else:
            module = import_module(reference, folders)
        factory = candidates.named(module, reference) if reference.factory else None
        if factory is None:
            factory = candidates.choose(module, reference, args)
        seeded(seed)
        return called(factory, reference, args, folders)


def import_module(reference: Reference, folders: tuple[Path, ...]) -> ModuleType:
    """Import a dotted name.

    Raises:
        ModelError: there is no such module, or it raises.
    """
    name = reference.place
    try:
        return retold(reference, folders, "importing it", lambda: importlib.import_module(name))
    except ModelError as error:
        if top_is_known(name):
            raise
        hint = f"did you mean zoo:{name}?" if name in zoo.NETWORKS else did_you_mean(f"{name}.py", local_files())
        raise ModelError(
            f"there is no module {name.partition('.')[0]}, here or installed", hint=hint
        ) from error.__cause__


def top_is_known(name: str) -> bool:
    """Whether the first part of a dotted name can be imported at all."""
    top = name.partition(".")[0]
    return top in sys.modules or importlib.util.find_spec(top) is not None


def local_files() -> list[str]:
    """The Python files of the current folder."""
    return [path.name for path in Path.cwd().glob("*.py")]


def called(
    factory: Any, reference: Reference, args: dict[str, object], folders: tuple[Path, ...]
) -> tuple[nn.Module, dict[str, object]]:
    """Have a factory make the network, after checking that the arguments fit it.

    Raises:
        ModelError: no factory, arguments that do not fit, a factory that raises or makes something else.
    """
    who = reference.factory or str(getattr(factory, "__name__", "model"))
    if isinstance(factory, torch.jit.ScriptModule):
        raise ModelError(f"{who} in {reference.place} {SCRIPTED[0]}", hint=SCRIPTED[1])
    if isinstance(factory, nn.Module):
        if args:
            raise ModelError(
                f"{who} in {reference.place} is a network already built, it takes no {', '.join(sorted(args))}",
                hint=f"define build_model({', '.join(sorted(args))}) in that file",
            )
        # An imported module's own network is the process's, not ours to load weights into.
        return retold(reference, folders, f"copying {who}", lambda: copy.deepcopy(factory)), {}
    if not callable(factory):
        raise ModelError(
            f"{who} in {reference.place} is {article(factory)}, not something that makes a network",
            hint="name a function that returns one, a network class, or a network",
        )
    fitting(factory, who, reference, args)
    made = retold(reference, folders, f"{who}({written(args)})", lambda: factory(**args))
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{who} in {reference.place} returned {article(made)}, not a network",
            hint="it has to return the torch.nn.Module itself",
        )
    if isinstance(made, torch.jit.ScriptModule):
        raise ModelError(f"{who} in {reference.place} {SCRIPTED[0]}", hint=SCRIPTED[1])
    return made, signature.settings(factory, args)


def fitting(factory: Callable[..., Any], who: str, reference: Reference, args: Mapping[str, object]) -> None:
    """Refuse arguments that a factory does not take, and a call without those it needs."""
    accepted = signature.accepted(factory)
    takes = f"it takes {', '.join(accepted)}" if accepted else "it takes no arguments"
    wrong = []
    for name in signature.unknown(factory, args):
        near = did_you_mean(name, accepted) or ""
        hint = f"{near} {takes}" if near.startswith("did") else takes
        wrong.append(Diagnostic(f"{who} in {reference.place} has no argument {name}", hint=hint))
    if wrong:
        raise ModelError(wrong)
    needed = signature.missing(factory, args)
    if needed:
        plural = "arguments" if len(needed) > 1 else "argument"
        raise ModelError(
            f"{who} in {reference.place}{defined_at(factory)} needs the {plural} {', '.join(needed)}",
            hint=f"give {'them' if len(needed) > 1 else 'it'} with the model, as in {needed[0]}=…, or name a factory "
            f"that does: {reference.place}:NAME",
        )


def retold(reference: Reference, folders: tuple[Path, ...], doing: str, run: Callable[[], Made]) -> Made:
    """Run the user's code; what it raises becomes one message with the line it happened on.

    Raises:
        ModelError: whatever the code raised.
    """
    try:
        return run()
    except FxpruneError:
        raise
    except SystemExit as error:
        where = user_line(error, folders) or reference.place
        raise ModelError(
            f"{where}: {doing} ended the program (sys.exit)",
            hint='what is to happen only when the file is run belongs under `if __name__ == "__main__":`',
        ) from None
    except Exception as error:  # the user's code may raise anything
        where = user_line(error, folders) or reference.place
        if isinstance(error, SyntaxError):
            raise ModelError(f"{where}: this is not Python: {error.msg}") from error
        raise ModelError(f"{where}: {doing} raised {told(error)}", hint=import_hint(error)) from error


def import_hint(error: Exception) -> str | None:
    """What to do about an import that failed."""
    if not isinstance(error, ImportError):
        return None
    if "relative import" in str(error):
        return "load it as a part of its package: package.module:factory"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error.name.partition('.')[0]} is neither installed beside fxprune nor lies next to the file"
    return None


def defined_at(factory: object) -> str:
    """` (file:line)` of a function or class, where that is known."""
    made = inspect.unwrap(factory) if inspect.isfunction(factory) else factory
    code = getattr(made, "__code__", None) or getattr(getattr(made, "__init__", None), "__code__", None)
    return f" ({shown(code.co_filename)}:{code.co_firstlineno})" if code else ""


def written(args: Mapping[str, object]) -> str:
    """Arguments as they would stand in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in args.items())


def article(value: object) -> str:
    """What a value is, in words."""
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
