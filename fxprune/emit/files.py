"""A compact graph and its plan in, the output folder out: weights, source, exported program, plan, report."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from fxprune import __version__
from fxprune.emit.export import Exported, difference, evaluating, export_bytes, largest, other_sizes
from fxprune.emit.load import run
from fxprune.emit.source import generate, state
from fxprune.emit.writer import MARK, write
from fxprune.errors import OutputError, RewriteError

__all__ = ["FORMATS", "Saved", "save"]

FORMATS = ("safetensors", "pt2")  # what can be emitted: weights with source, and an exported program
TOLERANCE = 1e-5  # between the module and what was read back, relative to the output


@dataclass(frozen=True, slots=True)
class Saved:
    """What was written."""

    folder: Path
    files: tuple[str, ...]  # names, sorted
    exported: Exported | None  # None: not asked for


def save(
    folder: str | os.PathLike[str],
    *,
    module: fx.GraphModule,
    example: torch.Tensor | tuple[Any, ...],
    plan: Mapping[str, Any],
    report_text: str,
    title: str,
    header: Iterable[str] = (),
    formats: Iterable[str] = FORMATS,
    extra_files: Mapping[str, str | bytes] | None = None,
) -> Saved:
    """Write the output folder, whole or not at all; the model is read back and compared before it is moved into place.

    Args:
        folder: where to; an output folder of an earlier run is replaced.
        module: the compact network.
        example: its inputs.
        plan: what was decided, of values that JSON knows.
        report_text: content of report.txt.
        title, header: first line and further lines of the docstring of model.py.
        formats: some of FORMATS.
        extra_files: name → content of further files.

    Raises:
        OutputError: the folder is not ours, or cannot be written; a format that does not exist.
        RewriteError: the network cannot be written as source.
    """
    chosen = tuple(dict.fromkeys(formats))
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise OutputError(f"there is no format {unknown[0]}", hint=f"one of {', '.join(FORMATS)}")
    inputs = example if isinstance(example, tuple) else (example,)
    contents: dict[str, str | bytes] = {"report.txt": ended(report_text), **(extra_files or {})}
    if "safetensors" in chosen:
        contents["model.py"] = generate(module, title=title, header=header)
        contents["model.safetensors"] = packed(state(module))
    exported = export_bytes(*on_cpu(module, inputs)) if "pt2" in chosen else None
    if exported is not None and exported.done:
        contents["model.pt2"] = exported.data
    names = tuple(sorted([*contents, "plan.json"]))
    contents["plan.json"] = as_json({**plan, MARK: __version__, **noted(names, exported)})
    check = (lambda place: read_back(place, module, inputs)) if "safetensors" in chosen else (lambda place: None)
    write(folder, {name: putter(contents[name]) for name in names}, check)
    return Saved(Path(folder), names, exported)


def noted(names: tuple[str, ...], exported: Exported | None) -> dict[str, Any]:
    """What plan.json says about the files."""
    if exported is None:
        return {"files": list(names)}
    said = {"free": list(exported.free), "note": exported.note}
    return {"files": list(names), "export": said}


def as_json(value: Mapping[str, Any]) -> str:
    """Sorted and indented, so that two plans can be compared line by line."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def ended(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"


def packed(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The weights as a safetensors file; tensors that share memory are written as if they did not."""
    seen: set[int] = set()
    out: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        place = flat.untyped_storage().data_ptr()
        whole = flat.untyped_storage().nbytes() == flat.numel() * flat.element_size()
        out[name] = flat if place not in seen and whole else flat.clone()
        seen.add(place)
    return safetensors.torch.save(out, metadata={"format": "pt", MARK: __version__})


def putter(content: str | bytes) -> Callable[[Path], None]:
    data = content.encode("utf-8") if isinstance(content, str) else content
    return lambda path: void(path.write_bytes(data))


def void(_: object) -> None:
    """Nothing, whatever is given."""


def on_cpu(module: fx.GraphModule, inputs: tuple[Any, ...]) -> tuple[nn.Module, tuple[Any, ...]]:
    """The network and its inputs on the CPU; copied only where they are elsewhere."""
    tensors = [*module.parameters(), *module.buffers()]
    moved = on_cpu_inputs(inputs)
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return module, moved
    return copy.deepcopy(module).cpu(), moved


def on_cpu_inputs(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs with every tensor on the CPU."""
    return tuple(pytree.tree_map(lambda v: v.cpu() if isinstance(v, torch.Tensor) else v, inputs))


def read_back(folder: Path, module: fx.GraphModule, inputs: tuple[Any, ...]) -> None:
    """Load what was written, and compare with the network it was written from.

    Raises:
        RewriteError: they differ.
    """
    device = next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    loaded = run(folder / "model.py").load(folder, device=device)
    small = next(iter(other_sizes(on_cpu_inputs(inputs), ("H", "W"))))
    trial = pytree.tree_map(lambda v: v.to(device) if isinstance(v, torch.Tensor) else v, small)
    try:
        theirs = outputs(module, trial)
    except Exception:  # a size that the network does not take
        trial = inputs
        theirs = outputs(module, trial)
    ours = outputs(loaded, trial)
    if len(ours) != len(theirs):
        raise RewriteError("model.py gives another number of outputs than the network it was written from")
    for one, other in zip(ours, theirs, strict=True):
        if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
            continue
        if one.shape != other.shape or difference(one, other) > TOLERANCE * largest(other):
            raise RewriteError("model.py does not compute what the network it was written from computes")


def outputs(module: nn.Module, inputs: tuple[Any, ...]) -> list[Any]:
    """Every tensor that a module gives for a copy of the inputs, in evaluation mode."""
    copied = pytree.tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, inputs)
    with evaluating(module), torch.no_grad():
        return pytree.tree_leaves(module(*copied))
