"""A module and an example in, a `model.pt2` that torch.export.load reads out, for images of any size where possible."""

from __future__ import annotations

import gc
import io
import logging
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

__all__ = ["Exported", "export_bytes", "export_pt2"]

AXES = {0: "N", 2: "H", 3: "W"}  # dimensions of an image input that may be free


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of an export."""

    free: tuple[str, ...] = ()  # dimensions that may change, "N", "H", "W"; empty: only the example's size
    note: str | None = None  # what could not be done, in words
    difference: float | None = None  # largest absolute difference at another size; None: not compared
    data: bytes = b""  # the archive; empty when there is none

    @property
    def done(self) -> bool:
        return bool(self.data)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's warnings and logs about tracing from the user; collect no garbage meanwhile, to save time."""
    level, collecting = logging.root.manager.disable, gc.isenabled()
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if collecting:
            gc.enable()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and every part back into its own mode after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def sized(example: tuple[Any, ...], size: tuple[int, int] | None, batch: int | None) -> tuple[Any, ...]:
    """The example with each image input at another size (a pair of factors) and batch, filled with noise."""
    generator = torch.Generator().manual_seed(0)

    def change(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dim() != 4:
            return value
        n, c, h, w = value.shape
        shape = (batch or n, c, h * (size or (1, 1))[0], w * (size or (1, 1))[1])
        return torch.rand(shape, generator=generator).to(value.dtype)

    return tuple(pytree.tree_map(change, example))


def trace(module: nn.Module, example: tuple[Any, ...], batch_free: bool) -> ExportedProgram:
    """Export with every size left open that the model leaves open.

    A batch of one is a special case to torch, so the example's batch is doubled to keep it open.
    """

    def dims(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        if value.dim() != 4:
            return {}
        return {axis: Dim.AUTO for axis in AXES if axis or batch_free}

    inputs = sized(example, None, 2 if batch_free else None)
    shapes = pytree.tree_map(dims, inputs)
    return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)


def free_axes(program: ExportedProgram) -> tuple[str, ...]:
    """The dimensions that are still open in every image input."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    images = [value for value in values if isinstance(value, torch.Tensor) and value.dim() == 4]
    return tuple(name for axis, name in AXES.items() if images and all(is_open(image.shape[axis]) for image in images))


def is_open(size: int | torch.SymInt) -> bool:
    """Whether tracing has left a size open; one that it has pinned down stays a SymInt that stands for a number."""
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None


def archive(program: ExportedProgram) -> bytes:
    """The program as torch.export.save writes it, without the sample inputs, which would be pickled.

    Raises:
        ValueError: something else in the archive is pickled.
    """
    program._example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    data = buffer.getvalue()
    with zipfile.ZipFile(io.BytesIO(data)) as entries:
        for entry in entries.namelist():
            text = entries.read(entry) if entry.endswith(("_config.json", ".pt", ".pkl")) else b""
            if entry.endswith(".pkl") or (entry.endswith(".pt") and text) or b'"use_pickle": true' in text:
                raise ValueError(f"{Path(entry).name} would be pickled")
    return data


def compared(program: ExportedProgram, module: nn.Module, example: tuple[Any, ...]) -> float:
    """The largest absolute difference between program and module, 0 for equal and inf where shapes differ."""
    inputs = [pytree.tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, example) for _ in range(2)]
    with torch.no_grad():
        ours = pytree.tree_leaves(program.module()(*inputs[0]))
        theirs = pytree.tree_leaves(module(*inputs[1]))
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            if one.shape != other.shape:
                return float("inf")
            worst = max(worst, difference(one, other))
    return worst


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest absolute difference of two tensors of one shape; inf where only one is a number."""
    first, second = one.to(torch.complex128), other.to(torch.complex128)
    equal = (first == second) | (first.isnan() & second.isnan())
    return float((first - second).abs().nan_to_num(torch.inf).masked_fill(equal, 0).max()) if one.numel() else 0.0


def largest(tensor: torch.Tensor) -> float:
    """The largest absolute finite value, 0 without any."""
    sizes = tensor.to(torch.complex128).abs()
    return float(sizes[sizes.isfinite()].max()) if bool(sizes.isfinite().any()) else 0.0


def other_size(example: tuple[Any, ...], free: tuple[str, ...]) -> tuple[Any, ...]:
    """An example of another size, not square: multiples of the first one's, which suit every model."""
    image = next((v for v in pytree.tree_leaves(example) if isinstance(v, torch.Tensor) and v.dim() == 4), None)
    if image is None or not free:
        return example
    high, wide = (2 if "H" in free else 1), (3 if "W" in free else 1)
    if image.shape[2] * high == image.shape[3] * wide:
        high, wide = (3 if "H" in free else 1), (2 if "W" in free else 1)
    return sized(example, (high, wide), 3 if "N" in free else None)


def export_bytes(module: nn.Module, example: tuple[Any, ...], *, tolerance: float = 1e-5) -> Exported:
    """Export with batch, height and width free, or with as much of that as the model allows; never raises for a model.

    The program is compared with the module at a second size, not square and with another batch where those are free.

    Args:
        module: on the CPU; it is exported as it is in evaluation mode, and given back in its own.
        example: the inputs; those with four dimensions are images, N x C x H x W.
        tolerance: allowed difference, relative to the largest output.
    """
    notes = []
    with quiet(), evaluating(module):
        for batch_free in (True, False):
            try:
                program = trace(module, example, batch_free)
                free = free_axes(program)
                data = archive(program)
                probe = other_size(example, free)
                off = compared(program, module, probe)
                with torch.no_grad():
                    outputs = pytree.tree_leaves(module(*pytree.tree_map(copied, probe)))
            except Exception as error:  # a model that torch.export cannot take is a fact to report, whatever it raises
                notes.append(in_words(error))
                continue
            scale = max((largest(t) for t in outputs if isinstance(t, torch.Tensor)), default=0.0)
            if off > tolerance * scale:
                notes.append(f"the exported program differs by {off:.3g} at another size")
                continue
            fixed = [name for name in AXES.values() if name not in free]
            note = f"{', '.join(fixed)} fixed to the example's" if fixed else None
            return Exported(free, note, off, data)
    return Exported(note=f"torch.export cannot take this model: {notes[0]}")


def copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def in_words(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]


def export_pt2(module: nn.Module, example: tuple[Any, ...], path: str | os.PathLike[str]) -> Exported:
    """`export_bytes`, written to a file; no file is written for a model that cannot be exported."""
    exported = export_bytes(module, example)
    if exported.done:
        Path(path).write_bytes(exported.data)
    return exported
