"""Weights remembered under names, and put back into what is left of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fxprune.errors import OutputError, PlanError
from fxprune.rewrite import Slicer
from fxprune.trace.copying import fold, share

__all__ = ["Memory"]


class Memory:
    """States saved by `save as NAME`; of each, what the cuts since then have kept."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Tensor]] = {}

    def save(self, label: str, model: nn.Module) -> None:
        """Remember the weights as they are now, under plain names: weight norm is folded."""
        plain = share(model)
        fold(plain)
        self.states[label] = {name: tensor.detach().clone() for name, tensor in plain.state_dict().items()}

    def write(self, label: str, folder: Path) -> Path:
        """A file of the weights: `LABEL.safetensors`.

        Raises:
            OutputError: it cannot be written.
        """
        path = folder / f"{label.replace('/', '-')}.safetensors"
        beside = path.with_suffix(".tmp")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(save({name: t.contiguous().clone() for name, t in self.states[label].items()}))
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OutputError(f"{path}: {error.strerror or error}") from None
        return path

    def cut(self, slicer: Slicer) -> None:
        """A cut was made."""
        self.states = {
            label: {name: slicer.cut(name, tensor) for name, tensor in state.items()}
            for label, state in self.states.items()
        }

    def rewind(self, label: str, model: nn.Module) -> None:
        """Put back the weights that are left.

        Raises:
            PlanError: nothing is saved under that name.
        """
        if label not in self.states:
            raise PlanError(f"no state is saved as `{label}`")
        plain = share(model)
        fold(plain)
        with torch.no_grad():
            for name in plain.state_dict():
                _put(model, name, self.states[label][name])

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {"states": self.states}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """The inverse."""
        self.states = {
            label: {name: tensor.to(device) for name, tensor in of.items()} for label, of in state["states"].items()
        }


def _put(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    part = model.get_submodule(path)
    if parametrize.is_parametrized(part, leaf):
        setattr(part, leaf, value)  # torch takes it apart again
    else:
        getattr(part, leaf).copy_(value)
