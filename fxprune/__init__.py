"""fxprune: a compiler from sparsity plans to small super-resolution networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxprune.errors import FxpruneError as FxpruneError
    from fxprune.groups import Groups as Groups
    from fxprune.groups import rule as rule
    from fxprune.lang import Spec as Spec
    from fxprune.lang import parse as parse
    from fxprune.pipeline import Compiled as Compiled
    from fxprune.pipeline import Pruner as Pruner
    from fxprune.pipeline import analyze as analyze
    from fxprune.pipeline import compile as compile
    from fxprune.pipeline import load as load
    from fxprune.plan import Calibration as Calibration

__version__ = "0.1.0"

_HOMES = {
    "Calibration": "plan",
    "Compiled": "pipeline",
    "FxpruneError": "errors",
    "Groups": "groups",
    "Pruner": "pipeline",
    "Spec": "lang",
    "analyze": "pipeline",
    "compile": "pipeline",
    "load": "pipeline",
    "parse": "lang",
    "rule": "groups",
}

__all__ = [
    "Calibration",
    "Compiled",
    "FxpruneError",
    "Groups",
    "Pruner",
    "Spec",
    "analyze",
    "compile",
    "load",
    "parse",
    "rule",
]


def __getattr__(name: str) -> Any:
    """Public names, imported when first used: `import fxprune` costs nothing, torch comes when it is needed."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fxprune' has no attribute '{name}'")
    return getattr(import_module(f"fxprune.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
