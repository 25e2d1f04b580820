"""A selection + groups → the groups it means, and what was left alone, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from fxprune.errors import Diagnostic, PlanError
from fxprune.groups import Group, Groups
from fxprune.lang import Selection, Spec, Term, closest, matches
from fxprune.lang.ast import Node

__all__ = ["NARROW", "check_spec", "layers", "protected_by", "selected"]

NARROW = 4  # a group of fewer units is left alone unless it is named: RGB behind a 3→3 mean shift


def layers(groups: Groups) -> tuple[str, ...]:
    """Paths of the layers that make channels, in graph order."""
    found = {m.path: None for group in groups for m in group.members if m.role == "out"}
    return tuple(found)


def protected_by(groups: Groups, selection: Selection) -> set[int]:
    """Indices of the groups that hold a filter of a layer that is protected.

    Raises:
        PlanError: a path that matches no module of the network, with the nearest names.
    """
    check(groups, selection)
    return {g.index for g in groups if any(_covers(groups, selection, g, p) for p in _makers(g))}


def selected(groups: Groups, selection: Selection | None, among: Iterable[Group]) -> list[Group]:
    """The groups of which every producer is selected, in graph order.

    A group of which only some are would take layers along that were not asked for.

    Raises:
        PlanError: a path that matches no module of the network, or a selection that means no group.
    """
    among = list(among)
    if selection is None:
        return among
    check(groups, selection)
    chosen = [g for g in among if all(_covers(groups, selection, g, p.path) for p in g.members if p.role == "out")]
    if not chosen and selection.terms:
        partly = [g for g in among if any(_covers(groups, selection, g, p.path) for p in g.members if p.role == "out")]
        hint = None
        if partly:
            others = sorted(
                {
                    p.path
                    for p in partly[0].members
                    if p.role == "out" and not _covers(groups, selection, partly[0], p.path)
                }
            )
            hint = f"its channels are tied to {_some(others)}: name these too"
        raise PlanError("this selects no group that can be cut", span=selection.span, hint=hint)
    return chosen


def named(groups: Groups, selection: Selection | None, group: Group) -> bool:
    """Is a layer of the group selected by a path, not by a word for many?"""
    paths = [term for term in selection.terms if term.what == "path"] if selection else []
    return any(matches(term.name, path) for term in paths for path in _makers(group))


def check_spec(groups: Groups, spec: Spec) -> None:
    """Every name that any statement selects by means something in the network.

    Raises:
        PlanError: those that do not, all of them, each with the nearest names.
    """
    wrong = [found for selection in _selections(tuple(spec)) for found in _mistakes(groups, selection)]
    if wrong:
        raise PlanError(wrong)


def check(groups: Groups, selection: Selection) -> None:
    """Every name in a selection means something in the network.

    Raises:
        PlanError: those that do not.
    """
    wrong = _mistakes(groups, selection)
    if wrong:
        raise PlanError(wrong)


def _selections(node: object) -> Iterator[Selection]:
    """Every selection in a statement, or in statements, in order."""
    if isinstance(node, Selection):
        yield node
    elif isinstance(node, tuple):
        for part in node:
            yield from _selections(part)
    elif isinstance(node, Node):
        for place in fields(node):
            yield from _selections(getattr(node, place.name))


def _mistakes(groups: Groups, selection: Selection) -> list[Diagnostic]:
    root = groups.traced.module
    known = {name for name, _ in root.named_modules() if name} | {name for name, _ in root.named_parameters()}
    kinds = {type(part).__name__ for part in root.modules()}
    wrong = []
    for term in (*selection.terms, *selection.excluded):
        if term.what == "path" and not any(matches(term.name, path) for path in known):
            near = closest(term.name, sorted(known))
            hint = (
                f"did you mean {' or '.join(f'`{n}`' for n in near)}?"
                if near
                else f"the layers are {_some(layers(groups))}"
            )
            wrong.append(Diagnostic(f"no layer is called `{term.name}`", term.span, hint))
        if term.what == "kind" and term.name not in kinds:
            wrong.append(
                Diagnostic(
                    f"the model has no layer of kind {term.name}", term.span, f"it has {', '.join(sorted(kinds))}"
                )
            )
        if term.what == "group" and term.name not in {g.name for g in groups}:
            wrong.append(
                Diagnostic(
                    f'no group is called "{term.name}"', term.span, f"they are {_some([g.name for g in groups])}"
                )
            )
    return wrong


def _covers(groups: Groups, selection: Selection, group: Group, path: str) -> bool:
    inside = not selection.terms or any(_term(groups, term, group, path) for term in selection.terms)
    return inside and not any(_term(groups, term, group, path) for term in selection.excluded)


def _term(groups: Groups, term: Term, group: Group, path: str) -> bool:
    match term.what:
        case "path":
            return matches(term.name, path)
        case "kind":
            part = groups.traced.module.get_submodule(path)
            return type(part).__name__ == term.name
        case "group":
            return group.name == term.name
        case "role" if term.name in ("free", "constrained"):
            return group.kind == term.name
        case _:
            ends = layers(groups)
            return path == (ends[0] if term.name == "first" else ends[-1])


def _makers(group: Group) -> list[str]:
    """Layers with a filter for each unit: producers, and those that carry channels along (depthwise, norms)."""
    return sorted({m.path for m in group.members if m.role != "in"})


def _some(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
