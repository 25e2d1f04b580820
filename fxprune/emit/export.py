"""A module and an example in, a `model.pt2` that torch.export.load reads out, for images of any size where possible."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from fxprune.emit.assembly import assembled
from fxprune.emit.lowering import NotTaken, lower
from fxprune.emit.sizes import Undecided
from fxprune.internals import quietly

__all__ = ["Exported", "export_bytes", "export_pt2"]

Shape = Callable[[int, int, int], tuple[int, int, int]]  # of batch, height and width
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
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and every part back into its own mode after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def sized(example: tuple[Any, ...], shape: Shape) -> tuple[Any, ...]:
    """The example filled with noise, each image of another batch, height and width: `shape` of those it has."""
    generator = torch.Generator().manual_seed(0)

    def change(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dim() != 4:
            return value
        n, h, w = shape(value.shape[0], value.shape[2], value.shape[3])
        return torch.rand((n, value.shape[1], h, w), generator=generator).to(value.dtype)

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

    inputs = sized(example, lambda n, h, w: (2 * n if batch_free else n, h, w))
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


def given_by(module: nn.Module, inputs: tuple[Any, ...]) -> list[Any]:
    """What a module gives for a copy of the inputs."""
    copied = pytree.tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, inputs)
    with torch.no_grad():
        return pytree.tree_leaves(module(*copied))


def compared(ours: list[Any], theirs: list[Any]) -> tuple[float, float]:
    """The largest absolute difference between outputs, inf where shapes differ, and the largest of theirs."""
    off, scale = 0.0, 0.0
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            off = max(off, difference(one, other) if one.shape == other.shape else torch.inf)
            scale = max(scale, largest(other))
    return off, scale


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest absolute difference of two tensors of one shape; inf where only one is a number."""
    first, second = one.to(torch.complex128), other.to(torch.complex128)
    equal = (first == second) | (first.isnan() & second.isnan())
    return float((first - second).abs().nan_to_num(torch.inf).masked_fill(equal, 0).max()) if one.numel() else 0.0


def largest(tensor: torch.Tensor) -> float:
    """The largest absolute finite value, 0 without any."""
    sizes = tensor.to(torch.complex128).abs()
    return float(sizes[sizes.isfinite()].max()) if bool(sizes.isfinite().any()) else 0.0


def only(free: tuple[str, ...], shape: Shape) -> Shape:
    """The same change, of what is free alone."""

    def changed(n: int, h: int, w: int) -> tuple[int, int, int]:
        high = shape(n, h, w)
        return high[0] if "N" in free else n, high[1] if "H" in free else h, high[2] if "W" in free else w

    return changed


def other_sizes(example: tuple[Any, ...], free: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Examples of other sizes, not square where free: odd, small, and multiples of the first for choosy models."""
    shapes: tuple[Shape, ...] = (
        lambda n, h, w: (n, 11, 22),
        lambda n, h, w: (n, 21, 38),
        lambda n, h, w: (n, 16, 24),
        lambda n, h, w: (n, *((2 * h, 3 * w) if 2 * h != 3 * w else (3 * h, 2 * w))),
    )
    return (sized(example, only(free, shape)) for shape in shapes)


def runs_of(example: tuple[Any, ...], free: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Inputs by which to tell what depends on the size: the example's, multiples and parts of it, and odd ones.

    A number that is the same for all of them is taken for one. Odd sizes are such that, where a network rounds them up
    to whole windows of 4, 8 or 16, the number of windows has no further divisors of that kind.
    """
    shapes: list[Shape] = [
        lambda n, h, w: (2 * n, h, w),
        lambda n, h, w: (3 * n, 2 * h, 3 * w if 2 * h != 3 * w else 4 * w),
        lambda n, h, w: (5 * n, (3 * h // 2 // 16 + 1) * 16 + 5, (5 * w // 4 // 16 + 1) * 16 + 3),
        lambda n, h, w: (7 * n, 21, 35),
        lambda n, h, w: (4 * n, 10, 13),
        lambda n, h, w: (6 * n, max(1, h // 2), w),
    ]
    return [sized(example, only(free, shape)) for shape in shapes]


def lowered(module: fx.GraphModule, example: tuple[Any, ...], free: tuple[str, ...], tolerance: float) -> Exported:
    """Write the graph down in ATen ops ourselves, which takes a tenth of the time that torch.export does.

    Raises:
        Exception: a size matters for more than numbers; the program differs; or whatever the network raises.
    """
    runs = runs_of(example, free)
    while True:
        try:
            found = lower(module, runs)
            break
        except NotTaken as error:
            del runs[error.run]  # a size that the model does not take
    if len(runs) < 2 and "H" in free:
        return of_one_size(module, example, free, tolerance)
    program = assembled(module, found, runs[0], {axis: name for axis, name in AXES.items() if name in free})
    return checked(program, module, example, free, tolerance, ours=True)


def of_one_size(module: fx.GraphModule, example: tuple[Any, ...], free: tuple[str, ...], tolerance: float) -> Exported:
    """The same for a network that takes no other height and width; the batch may be free.

    Raises:
        Undecided: it takes other squares, of which height and width cannot be told apart.
        Exception: as `lowered`.
    """
    try:
        lower(module, [example, sized(example, lambda n, h, w: (n, 2 * h, 2 * w))])
    except NotTaken:
        return lowered(module, example, tuple(name for name in free if name == "N"), tolerance)
    raise Undecided("the model takes squares")


def exported(module: nn.Module, example: tuple[Any, ...], batch_free: bool, tolerance: float) -> Exported:
    """Export by torch.export.

    Raises:
        Undecided: the batch cannot be free.
        Exception: whatever torch raises for a model that it cannot take.
    """
    program = trace(module, example, batch_free)
    free = free_axes(program)
    if batch_free and "N" not in free:
        raise Undecided("the batch is fixed")  # to the double of the example's
    return checked(program, module, example, free, tolerance)


def checked(
    program: ExportedProgram,
    module: nn.Module,
    example: tuple[Any, ...],
    free: tuple[str, ...],
    tolerance: float,
    ours: bool = False,
) -> Exported:
    """The program as a file, compared with the module at another size, or two if it is `ours`.

    torch.export may have found that a program is not for all sizes that the module takes, and it says so when run; one
    of ours must be for all.

    Raises:
        Exception: it differs, does not run, or cannot be written.
    """
    loaded, worst, seen = program.module(), 0.0, 0
    fixed = [name for name in AXES.values() if name not in free]
    notes = [f"{', '.join(fixed)} fixed to the example's"] if fixed else []
    failed: Exception = Undecided("the model takes no other size")
    for given in other_sizes(example, free):
        pair = (given, sized(given, only(free, lambda n, h, w: (2 * n, h, w))))[: 1 + ("N" in free)]
        try:
            theirs = [given_by(module, inputs) for inputs in pair]
        except Exception as error:  # a size that the model itself does not take
            failed = error
            continue
        try:
            found = [compared(given_by(loaded, x), y) for x, y in zip(pair, theirs, strict=True)]
        except Exception as error:
            if ours:
                raise
            failed = error
            notes.append(f"not for {' x '.join(map(str, pytree.tree_leaves(given)[0].shape[2:]))}")
            continue
        for off, scale in found:
            if off > tolerance * scale:
                raise ValueError(f"the exported program differs by {off:.3g} at another size")
            worst = max(worst, off)
        seen += 1
        if seen > ours:
            break
    if not seen:
        raise failed
    return Exported(free, ", ".join(notes) or None, worst, archive(program))


def export_bytes(module: nn.Module, example: tuple[Any, ...], *, tolerance: float = 1e-5) -> Exported:
    """Export with batch, height and width free, or with as much of that as the model allows; never raises for a model.

    The program is compared with the module at a second size, not square and of the example's batch.

    Args:
        module: on the CPU; it is exported as it is in evaluation mode, and given back in its own.
        example: the inputs; those with four dimensions are images, N x C x H x W.
        tolerance: allowed difference, relative to the largest output.
    """
    ways: list[Callable[[], Exported]] = [
        lambda: exported(module, example, True, tolerance),
        lambda: exported(module, example, False, tolerance),
    ]
    if isinstance(module, fx.GraphModule):
        ours = [("N", "H", "W"), ("H", "W")]
        ways = [partial(lowered, module, example, free, tolerance) for free in ours] + ways
    notes = []
    with quietly(), evaluating(module):
        for way in ways:
            try:
                return way()
            except Exception as error:  # a model that cannot be exported is a fact to report, whatever it raises
                notes.append(in_words(error))
    return Exported(note=f"torch.export cannot take this model: {notes[-2]}")


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
