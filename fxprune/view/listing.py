"""Groups → a tree of lines by module path, identical ones folded; and the same as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fxprune.groups import Group, Groups
from fxprune.view.folding import Folded, fold, folded_text, placed

__all__ = ["Line", "counted", "listing", "listing_json"]

KINDS = ("free", "constrained", "protected")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the tree: a group, several alike, or (`kind` empty) a module on the way to them."""

    depth: int  # how far it stands in
    name: str  # what follows the path of the line it stands under
    kind: str = ""  # free, constrained, protected
    width: int = 0  # filters of each group
    times: int = 1  # how many groups alike
    note: str = ""  # the layers tied to it, or why it is protected
    groups: tuple[int, ...] = ()  # indices of the groups


@dataclass(slots=True)
class _Branch:
    """Folded groups by path, while the tree is built."""

    groups: list[tuple[Group, ...]] = field(default_factory=list)
    children: dict[str, _Branch] = field(default_factory=dict)


def listing(groups: Iterable[Group]) -> tuple[Line, ...]:
    """The tree, in graph order."""
    root = _Branch()
    for folded, members in alike(groups):
        branch = root
        for name in folded.names:
            branch = branch.children.setdefault(name, _Branch())
        branch.groups.append(members)
    return tuple(lines(root, 0))


def alike(groups: Iterable[Group]) -> list[tuple[Folded, tuple[Group, ...]]]:
    """Groups of one kind and width, with as many producers, whose names differ only in their numbers."""
    classes: dict[tuple[object, ...], dict[str, Group]] = {}
    for group in groups:
        key = (group.kind, group.width, len(group.producers), group.reason, 0)
        while group.name in classes.setdefault(key, {}):  # one layer may have several groups that look alike
            key = (*key[:-1], key[-1] + 1)
        classes[key][group.name] = group
    found = [
        (folded, tuple(same[name] for name in folded.members)) for same in classes.values() for folded in fold(same)
    ]
    return sorted(found, key=lambda entry: entry[1][0].index)


def lines(branch: _Branch, depth: int) -> Iterator[Line]:
    """What stands under a branch; a module with nothing but one other in it is written together with it."""
    for name, child in branch.children.items():
        while not child.groups and len(child.children) == 1:
            ((inner, only),) = child.children.items()
            name, child = f"{name}.{inner}", only
        if not child.groups:
            yield Line(depth, name)
        for members in child.groups:
            first = members[0]
            indices = tuple(group.index for group in members)
            yield Line(depth, name, first.kind, first.width, len(members), note(members), indices)
        yield from lines(child, depth + 1)


def note(members: tuple[Group, ...]) -> str:
    """Why a group is protected, and where; of a constrained one, the layers whose filters go with the first's."""
    if members[0].reason:
        return placed(members[0].reason, (group.place.path for group in members if group.place))
    named = {made_by(group) for group in members}
    others = [path for group in members for path in dict.fromkeys(paths(group)) if path not in named]
    return f"with {folded_text(others)}" if others else ""


def made_by(group: Group) -> str:
    """The layer that a group is named after: `conv1` for its second group, `conv1#2`, too."""
    return group.name if group.name in paths(group) else group.name.rpartition("#")[0]


def paths(group: Group) -> list[str]:
    """The layers whose filters a group holds."""
    return [member.path for member in group.members if member.role == "out"]


def counted(groups: Iterable[Group]) -> str:
    """How many there are of each kind: `19 free, 1 constrained, 1 protected`."""
    number = Counter[str](group.kind for group in groups)
    return ", ".join(f"{number[kind]} {kind}" for kind in KINDS if number[kind]) or "no groups"


def listing_json(groups: Groups, model: str) -> dict[str, Any]:
    """Every group, with nothing folded."""
    return {
        "model": model,
        "inputs": [list(x.shape) for x in groups.traced.example if hasattr(x, "shape")],
        "groups": [
            {
                "index": group.index,
                "name": group.name,
                "kind": group.kind,
                "width": group.width,
                "producers": members(group, "out"),
                "consumers": members(group, "in"),
                "along": members(group, "along"),
                "reason": group.reason,
                "where": {"op": group.place.op, "path": group.place.path} if group.place else None,
            }
            for group in groups
        ],
    }


def members(group: Group, role: str) -> list[dict[str, object]]:
    """The tensors of one role, each with its dimension."""
    return [{"tensor": m.tensor, "dim": m.dim} for m in group.members if m.role == role]
