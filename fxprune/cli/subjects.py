"""What a command line calls a network: a folder that fxprune wrote, or a model reference → the network, to be run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fxprune.emit.load import load
from fxprune.errors import InputError, OutputError
from fxprune.job import Settings, load_network, shapes_of, usable_device
from fxprune.models import example_for

__all__ = ["Subject", "subject"]

PROGRAM = "model.pt2"  # what a spec that says `emit export` leaves


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A network to look at."""

    name: str  # as given, with arguments: out/half-edsr, zoo:edsr(blocks=8)
    module: nn.Module  # on the device asked for
    example: tuple[Tensor, ...]  # likewise
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers it has."""
        return sum(parameter.numel() for parameter in self.module.parameters())


class Exported(nn.Module):
    """The network of an exported program, which torch lets no one call `eval` on: it is in evaluation mode anyway."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> Exported:
        """Leave it as it is."""
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        made: Tensor = self.program(*inputs)
        return made


def subject(
    name: str, given: Settings, *, weights: str | None = None, shape: str | None = None, device: str = "cpu"
) -> Subject:
    """The network of a folder that fxprune wrote, or of a model reference.

    Args:
        name: from the command line.
        given: `--set`; of a model reference alone.
        weights: `--weights`; likewise.
        shape: `--input`.
        device: where it runs.

    Raises:
        ModelError, OutputError: there is no such network, or it cannot be built or read.
        InputError: settings for a folder, which has its own; no shape, no such device.
    """
    if not Path(name).is_dir():
        network = load_network(name, given, weights=weights, shape=shape, device=device)
        fresh = name.startswith("zoo:") and not weights and not given.weights
        notes = (f"{network.title} has random weights: --weights FILE gives it others",) if fresh else ()
        return Subject(network.title, network.module, network.example, notes)
    if given.args or given.weights or weights:
        said = f"--set {next(iter(given.args), 'weights')}" if given.args or given.weights else "--weights"
        raise InputError(
            f"{said}: {name} holds a network with its weights, there is nothing to set",
            hint="settings are for a model reference, such as zoo:edsr",
        )
    on = usable_device(device)
    folder = Path(name)
    only_program = (folder / PROGRAM).is_file() and not (folder / "model.py").exists()
    module = run_program(folder / PROGRAM) if only_program else load(folder, device=on)
    example = example_for(module, shapes_of(shape) if shape else None)
    return Subject(name, module.to(on), tuple(x.to(on) for x in example))


def run_program(path: Path) -> nn.Module:
    """The network of an exported program.

    Raises:
        OutputError: the file is damaged.
    """
    try:
        return Exported(torch.export.load(path).module())
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OutputError(f"{path}: the file is damaged: {reason}") from None
