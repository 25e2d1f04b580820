"""Layer paths and globs: which layers a glob names, and which names were probably meant when it names none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

__all__ = ["closest", "matches"]


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    out = ""
    for number, name in enumerate(glob.split(".")):
        joint = r"\." if number and not out.endswith("(?:[^.]+\\.)*") else ""
        if name == "**":
            out += joint + r"(?:[^.]+\.)*"
            continue
        inner = "".join(
            "[^.]*" if part == "*" else "[^.]" if part == "?" else _characters(part)
            for part in re.findall(r"\[[\w!-]+\]|.", name)
        )
        out += joint + inner
    if glob.split(".")[-1] == "**":
        out = out.removesuffix(r"(?:[^.]+\.)*") + "[^.]+"
    return re.compile(rf"(?:{out})(?:\..*)?", re.DOTALL)


def _characters(part: str) -> str:
    if len(part) == 1:
        return re.escape(part)
    inside = part[1:-1]
    negated = inside.startswith("!")
    return f"[{'^.' if negated else ''}{inside.removeprefix('!')}]"


def matches(glob: str, path: str) -> bool:
    """Whether a glob names the layer at a path, or something that it is part of.

    `*` is any run of characters within one name, `**` any number of names, `?` one character, `[0-3]` and `[!0]` one
    of, or none of. A glob that matches a module stands for everything in it: `tail.*` names `tail.0.conv` too.
    """
    try:
        return _pattern(glob).fullmatch(path) is not None
    except re.error:  # a range such as [9-0], which is empty
        return False


def closest(glob: str, paths: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """What was probably meant by a glob that names none of the layers: globs and names that do, nearest first."""
    paths = list(paths)
    names = dict.fromkeys(
        ".".join(path.split(".")[:depth]) for path in paths for depth in range(1, path.count(".") + 2)
    )
    deeper = f"**.{glob.removeprefix('*.')}"
    found = [deeper] if any(matches(deeper, path) for path in paths) else []
    stem, star, rest = glob.partition("*")
    if star:  # compare what stands before the first wildcard, and keep the rest
        near = get_close_matches(stem.rstrip("."), names, n=most, cutoff=0.5)
        tries = [f"{name}.{star}{rest}" if stem.endswith(".") else f"{name}{star}{rest}" for name in near]
        found += [name for name in tries if any(matches(name, path) for path in paths)]
    else:
        found += get_close_matches(glob, names, n=most, cutoff=0.5)
    return tuple(dict.fromkeys(found))[:most]
