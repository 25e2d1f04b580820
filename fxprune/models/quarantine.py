"""Running a user's code so that it leaves no traces: random state, torch's settings, import paths, working folder."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["USER_PACKAGE", "importing", "quarantine", "seeded"]

USER_PACKAGE = "fxprune_user_"  # begins the names that users' files are registered under, which stay


def set_device(device: torch.device) -> None:
    """Set the default device; the CPU is what torch uses when none is set."""
    torch.set_default_device(None if device == torch.device("cpu") else device)


def set_grad(enabled: bool) -> None:
    """Switch recording of gradients on or off."""
    torch.set_grad_enabled(enabled)


# Process-wide settings that scripts change at import: (read, write).
SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (os.getcwd, os.chdir),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, set_device),
    (torch.is_grad_enabled, set_grad),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    (lambda: torch.backends.cudnn.benchmark, lambda on: setattr(torch.backends.cudnn, "benchmark", on)),
    (lambda: torch.backends.cudnn.deterministic, lambda on: setattr(torch.backends.cudnn, "deterministic", on)),
)


@contextlib.contextmanager
def quarantine(seed: int) -> Iterator[None]:
    """Run the body from a fixed random state, its prints on stderr, and put every setting back afterwards.

    Printing goes to stderr because stdout belongs to the caller, who may be writing JSON there.
    """
    # The CPU's generator alone, unless the GPUs' exist already: seeding those would start them.
    devices = range(torch.cuda.device_count()) if gpus_started() else ()
    before = [(read, read(), write) for read, write in SETTINGS]
    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices), contextlib.redirect_stdout(sys.stderr):
        seeded(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
            # Only what has changed: setting a default device for good would outlive a caller's `with torch.device(…)`.
            for read, value, write in before:
                if read() != value:
                    write(value)


def seeded(seed: int) -> None:
    """Seed the generators that network code draws from: Python's, numpy's and torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if gpus_started():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def gpus_started() -> bool:
    """Whether this process uses a GPU already."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def importing(folders: tuple[Path, ...], argv: str, *, keep: bool) -> Iterator[None]:
    """Run the body with `folders` first on the import path, as if `argv` were the running script.

    Args:
        folders: where modules are looked for first.
        argv: what `sys.argv` holds meanwhile, so that an argument parser at module level sees no options.
        keep: whether modules imported from `folders` stay importable afterwards. If not, they are forgotten, and
            modules of the same names that had been imported from elsewhere are back: two models may each have
            their own `blocks.py`.
    """
    path, arguments = list(sys.path), list(sys.argv)
    hidden = {} if keep else {name: sys.modules.pop(name) for name in shadowed(folders)}
    known = set(sys.modules)
    sys.path[:0] = [str(folder) for folder in folders]
    sys.argv[:] = [argv]
    try:
        yield
    finally:
        sys.path[:], sys.argv[:] = path, arguments
        if not keep:
            for name in set(sys.modules) - known:
                if "." not in name and not name.startswith(USER_PACKAGE) and lies_in(sys.modules[name], folders):
                    for member in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
                        del sys.modules[member]
            sys.modules.update(hidden)


def shadowed(folders: tuple[Path, ...]) -> list[str]:
    """Imported modules that would hide a file of the same name in `folders`; never Python's own, torch or fxprune."""
    entries = [entry for folder in folders for entry in folder.iterdir()]
    siblings = {entry.stem for entry in entries if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    siblings -= {*sys.stdlib_module_names, "torch", "numpy", "fxprune"}
    hiding = [name for name in siblings if name in sys.modules and not lies_in(sys.modules[name], folders)]
    return [name for name in sys.modules if name.partition(".")[0] in hiding]


def lies_in(module: object, folders: tuple[Path, ...]) -> bool:
    """Whether a top-level module is one of `folders`' own files or packages, not one of an environment inside them."""
    places = [getattr(module, "__file__", None)]
    if places == [None]:
        places = [f"{place}/__init__.py" for place in getattr(module, "__path__", ())]
    own = [Path(place) for place in places if isinstance(place, str) and "site-packages" not in place]
    return any(folder in (place.parent, place.parent.parent) for place in own for folder in folders)
