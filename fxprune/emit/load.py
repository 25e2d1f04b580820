"""An output folder in, the model with its weights out."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from fxprune.emit.writer import is_ours
from fxprune.errors import OutputError

__all__ = ["load"]


def load(folder: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> nn.Module:
    """The model that a compile wrote: an ordinary module, in evaluation mode, ready to be trained further.

    The folder's `model.py` is run: load only folders you trust. Without fxprune, `import model; model.load()` in the
    folder gives the same.

    Args:
        folder: an output folder.
        device: where the weights go.

    Raises:
        OutputError: no such folder, not one of fxprune's, files missing or torn, or weights that do not fit.
    """
    place = Path(folder)
    if not place.is_dir():
        raise OutputError(f"{place}: no such folder")
    for name in ("plan.json", "model.py", "model.safetensors"):
        if not (place / name).is_file():
            raise OutputError(f"{place}: {name} is missing", hint="is this a folder that fxprune compile wrote?")
    if not is_ours(place):
        raise OutputError(f"{place}: plan.json was not written by fxprune")
    source = run(place / "model.py")
    check_weights(place / "model.safetensors", source)
    try:
        model = source.load(place, device=device)
    except (RuntimeError, SafetensorError) as error:
        raise OutputError(f"{place}: the weights cannot be loaded: {first_line(error)}") from None
    if not isinstance(model, nn.Module):
        raise OutputError(f"{place / 'model.py'}: load() gives a {type(model).__name__}, not a module")
    return model


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def run(path: Path) -> ModuleType:
    """Run a model file as a module of its own name, so that its classes know where their source is.

    Raises:
        OutputError: the file cannot be read or run, or defines no `load` and `build_model`.
    """
    path = path.resolve()
    name = f"fxprune_model_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        sys.modules[name] = module
        exec(code, module.__dict__)
    except Exception as error:  # whatever code in a damaged file may do
        sys.modules.pop(name, None)
        raise OutputError(f"{path}: cannot be run: {type(error).__name__}: {first_line(error)}") from None
    for needed in ("load", "build_model"):
        if not callable(getattr(module, needed, None)):
            raise OutputError(f"{path}: {needed}() is missing", hint="the file was changed since it was written")
    return module


def check_weights(path: Path, source: ModuleType) -> None:
    """Compare names, shapes and types of the weights with those that the model has.

    Raises:
        OutputError: the file is torn, or does not belong to this model.
    """
    with torch.device("meta"):
        model = source.build_model()
    wanted = model.state_dict(keep_vars=True)
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
    except (SafetensorError, OSError) as error:
        raise OutputError(f"{path}: the file is damaged: {first_line(error)}") from None
    hint = "model.safetensors and model.py must come from the same run"
    seen = {id(wanted[name]) for name in shapes if name in wanted}
    missing = sorted(name for name, tensor in wanted.items() if name not in shapes and id(tensor) not in seen)
    extra = sorted(set(shapes) - set(wanted))
    if missing or extra:
        what = f"has no {missing[0]}" if missing else f"has {extra[0]}, which the model does not know"
        raise OutputError(f"{path}: the file {what}", hint=hint)
    for name, (shape, kind) in sorted(shapes.items()):
        if shape != tuple(wanted[name].shape):
            raise OutputError(f"{path}: {name} is {shape}, the model needs {tuple(wanted[name].shape)}", hint=hint)
        if KINDS.get(kind, wanted[name].dtype) != wanted[name].dtype:
            raise OutputError(f"{path}: {name} is of type {kind}, the model needs {wanted[name].dtype}", hint=hint)


# How safetensors names the types of numbers.
KINDS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
