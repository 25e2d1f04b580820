"""An imported module goes in, the one thing in it that makes a model comes out, or a list to choose from."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from fxprune.errors import ModelError
from fxprune.models.reference import Reference, did_you_mean, shown
from fxprune.models.signature import missing, unknown

__all__ = ["choose", "named"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network class of the user's file."""

    name: str
    line: int  # where its definition starts, from 1
    made: type[nn.Module]
    misfit: tuple[str, ...]  # what speaks against calling it with the given arguments; empty: they suffice
    within: bool  # used by another class of the file: a building block


def named(module: ModuleType, reference: Reference) -> Any:
    """What `reference.factory`, a name or a dotted one, is in the module.

    Raises:
        ModelError: no such name.
    """
    found: Any = module
    for part in str(reference.factory).split("."):
        if not hasattr(found, part):
            public = [n for n, value in vars(found).items() if not n.startswith("_") and makes_models(value)]
            raise ModelError(f"there is no {reference.factory} in {reference.place}", hint=did_you_mean(part, public))
        found = getattr(found, part)
    return found


def makes_models(value: object) -> bool:
    """Whether a value may be named as a factory: a network, a class of networks, a function."""
    return isinstance(value, nn.Module) or inspect.isfunction(value) or is_network(value)


def is_network(value: object) -> bool:
    """Whether a value is a class of networks that says what its `forward` does."""
    return inspect.isclass(value) and issubclass(value, nn.Module) and value.forward is not nn.Module.forward


def choose(module: ModuleType, reference: Reference, args: Mapping[str, object]) -> Any:
    """What makes the model where the reference names nothing.

    In this order: `model` where it is a network and no arguments are given; `build_model`; the one network class
    defined in the file. Of several classes, those that another one uses are building blocks and stand back; of those
    left, the one that the given arguments suffice for is taken.

    Raises:
        ModelError: nothing to choose, or more than one thing, with lines and how to name one.
    """
    built = getattr(module, "model", None)
    factory = getattr(module, "build_model", None)
    if isinstance(built, nn.Module) and not (args and callable(factory)):
        return built
    if callable(factory):
        return factory
    found = candidates(module, args)
    whole = [c for c in found if not c.within] or found
    for choice in (whole, [c for c in whole if not c.misfit]):
        if len(choice) == 1:
            return choice[0].made
    if not found:
        raise nothing(module, reference)
    raise several(whole, reference)


def candidates(module: ModuleType, args: Mapping[str, object]) -> list[Candidate]:
    """The network classes that a module's own file defines at its top level, in the order of their lines."""
    if module.__file__ is None:
        return []
    definitions = {node.name: node for node in top_level(Path(module.__file__))}
    uses = {name: names_in(node) & set(definitions) for name, node in definitions.items()}
    classes = {
        name: made
        for name, made in vars(module).items()
        if name in definitions and is_network(made) and made.__module__ == module.__name__
    }
    blocks = {used for name in classes for used in reached(name, uses) if used != name}
    return sorted(
        (
            Candidate(name, definitions[name].lineno, made, misfit(made, args), name in blocks)
            for name, made in classes.items()
        ),
        key=lambda candidate: candidate.line,
    )


def misfit(made: type[nn.Module], args: Mapping[str, object]) -> tuple[str, ...]:
    """What a class lacks to be called with the given arguments, and which of them it does not take."""
    return (*(f"needs {name}" for name in missing(made, args)), *(f"takes no {name}" for name in unknown(made, args)))


def top_level(file: Path) -> list[ast.ClassDef | ast.FunctionDef]:
    """The classes and functions defined at the top level of a file."""
    return [n for n in ast.parse(file.read_bytes()).body if isinstance(n, ast.ClassDef | ast.FunctionDef)]


def names_in(node: ast.AST) -> set[str]:
    """Every plain name that occurs in a definition."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def reached(start: str, uses: Mapping[str, set[str]]) -> set[str]:
    """What a definition uses, itself or through the definitions it uses."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        fresh = uses[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return seen


def several(choices: list[Candidate], reference: Reference) -> ModelError:
    """More than one network, and nothing to tell which is meant."""
    listed = [f"{c.name} ({', '.join((f'line {c.line}', *c.misfit))})" for c in choices]
    return ModelError(
        f"{reference.place} defines several networks: {', '.join(listed)}",
        hint=f"choose one, as in {reference.place}:{choices[-1].name}; or define build_model() in that file",
    )


def nothing(module: ModuleType, reference: Reference) -> ModelError:
    """A module in which nothing makes a model; what it offers by name is listed."""
    offered = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and makes_models(value)
        and not str(getattr(value, "__module__", "")).startswith("torch")
    ]
    if offered:
        hint = (
            f"name what makes it, as in {reference.place}:{sorted(offered)[0]}; there is {', '.join(sorted(offered))}"
        )
    else:
        hint = "define a network class, a module-level model, or build_model() in it"
    return ModelError(f"no model found in {shown(reference.place)}", hint=hint)
