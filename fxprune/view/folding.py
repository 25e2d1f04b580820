"""Many layer paths → few: what differs only in its numbers is written once, as `body.{0..15}.conv1`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Folded", "fold", "folded_text", "placed"]

NUMBER = re.compile(r"\d+")
TO = "\0"  # stands for the two dots of a range, to be told from the dots of a path
GAP = "\1"  # stands for a number


@dataclass(frozen=True, slots=True)
class Folded:
    """Paths that differ only in their numbers, each combination of which occurs."""

    names: tuple[str, ...]  # the parts between the dots: ("body", "{0..15}", "conv1")
    members: tuple[str, ...]  # the paths it stands for, in the order given

    def __str__(self) -> str:
        return ".".join(self.names)


def fold(paths: Iterable[str]) -> tuple[Folded, ...]:
    """The fewest lines that name exactly these paths, in the order of their first members."""
    place = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    templates: dict[str, dict[tuple[int, ...], str]] = {}
    for path in place:
        # A number with leading zeros is part of a name: 07 and 7 are two layers.
        numbers = tuple(int(n) for n in NUMBER.findall(path))
        plain = NUMBER.sub(GAP, path) if all(str(int(n)) == n for n in NUMBER.findall(path)) else path
        templates.setdefault(plain, {})[numbers] = path
    out = []
    for template, found in templates.items():
        parts = template.split(GAP)
        for box in boxes(sorted(found)) if len(parts) > 1 else [()]:
            members = [path for numbers, path in found.items() if len(parts) == 1 or inside(numbers, box)]
            text = parts[0] + "".join(written(values) + part for values, part in zip(box, parts[1:], strict=True))
            names = tuple(name.replace(TO, "..") for name in text.split("."))
            out.append(Folded(names, tuple(sorted(members, key=place.__getitem__))))
    return tuple(sorted(out, key=lambda folded: place[folded.members[0]]))


def folded_text(paths: Iterable[str], most: int = 4) -> str:
    """Paths in one line, folded: the first few, and how many more layers there are."""
    lines = fold(paths)
    text = ", ".join(str(line) for line in lines[:most])
    more = sum(len(line.members) for line in lines[most:])
    return f"{text} and {more} more" if more else text


def placed(reason: str, paths: Iterable[str], most: int = 2) -> str:
    """A reason, and in which modules it arose: `no rule for `aten.kthvalue` at body.{0..15}.gate`."""
    where = folded_text((path for path in paths if path), most)
    return f"{reason} at {where}" if where else reason


def boxes(points: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """Split a set of points into products of sets, taking the coordinates in turn."""
    if not points[0]:
        return [()]
    rests: dict[int, list[tuple[int, ...]]] = {}
    for first, *rest in points:
        rests.setdefault(first, []).append(tuple(rest))
    same: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for first, found in rests.items():
        same.setdefault(tuple(found), []).append(first)
    return [(tuple(firsts), *box) for found, firsts in same.items() for box in boxes(found)]


def inside(numbers: tuple[int, ...], box: tuple[tuple[int, ...], ...]) -> bool:
    """Whether a point lies in a product of sets."""
    return all(number in values for number, values in zip(numbers, box, strict=True))


def written(values: tuple[int, ...]) -> str:
    """A set of ascending numbers as `7`, `{0..15}` or `{0,2,5..7}`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    shown = [f"{run[0]}{TO}{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
    return shown[0] if len(values) == 1 else "{" + ",".join(shown) + "}"
