"""A path of a Python file goes in, the module it defines comes out, under a name of its own."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType

from fxprune.errors import ModelError
from fxprune.models.quarantine import USER_PACKAGE
from fxprune.models.reference import shown

__all__ = ["import_file"]


def import_file(path: Path) -> ModuleType:
    """Run a file as a module.

    It becomes a member of packages that stand for the folders around it, so that `from .blocks import Block` and
    `from ..ops import f` find the files they name. No `__init__.py` of those folders is run: a network's file in the
    middle of a training framework must not need the framework. The module stays registered under its name, which
    holds a digest of the path; classes are looked up by it long after.

    Raises:
        SyntaxError, ModelError: the file is not Python.
        Exception: what its code raises.
    """
    path = path.resolve()
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except ValueError as error:  # null bytes, or bytes that are no text
        raise ModelError(f"{shown(path)}: this is not Python: {error}") from error
    code = compile(tree, str(path), "exec", dont_inherit=True)
    package = enclosing(path, depth(path, tree))
    name = f"{package}.{path.stem}"
    spec = importlib.machinery.ModuleSpec(name, None, origin=str(path))
    module = ModuleType(name)
    module.__file__, module.__package__, module.__spec__ = str(path), package, spec
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def depth(path: Path, tree: ast.AST) -> int:
    """How many folders around a file its relative imports may go up to: as far as the packages reach, one at least."""
    dots = [node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    folders = path.parents
    count = max([1, *dots])
    while count < len(folders) and (folders[count - 1] / "__init__.py").is_file():
        count += 1
    return min(count, len(folders))


def enclosing(path: Path, count: int) -> str:
    """Register packages for the `count` folders around a file, outermost first; the innermost one's name."""
    digest = hashlib.blake2s(str(path).encode(), digest_size=6).hexdigest()
    name = f"{USER_PACKAGE}{digest}"
    forget(name)
    for folder in reversed(path.parents[:count]):
        package = ModuleType(name)
        package.__path__, package.__package__ = [str(folder)], name
        sys.modules[name] = package
        inner, name = name, f"{name}.{child(folder, path)}"
    return inner


def child(folder: Path, path: Path) -> str:
    """The name below `folder` on the way to `path`."""
    return path.relative_to(folder).parts[0]


def forget(name: str) -> None:
    """Drop a package and its members: the file may have changed since it was last run."""
    for member in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        del sys.modules[member]
