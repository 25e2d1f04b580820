"""A device's name → lightning-fabric: placement, mixed precision, one process or as many as torchrun started."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from fxprune.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["launched", "processes", "rank"]


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """The number of this process among those that torchrun started; 0 without it."""
    return int(os.environ.get("RANK", "0")) if "LOCAL_RANK" in os.environ else 0


def launched(device: str, precision: str) -> Fabric:
    """Fabric on `cpu`, `cuda`, `cuda:1` or `mps`; under torchrun, one device for each process.

    Raises:
        InputError: a precision that the device does not have.
    """
    from lightning_fabric import Fabric

    kind, _, index = device.partition(":")
    if kind == "cpu" and precision == "16-mixed":
        raise InputError("fp16 needs a GPU", hint="on a CPU: precision bf16, or leave it out")
    world = processes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about environments and cluster plugins
        if world > 1:
            local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
            fabric = Fabric(
                accelerator=kind,
                strategy="ddp",
                devices=local,
                num_nodes=world // local,
                precision=precision,  # type: ignore[arg-type]
            )
        else:
            devices = [int(index)] if index else 1
            fabric = Fabric(accelerator=kind, devices=devices, precision=precision)  # type: ignore[arg-type]
        fabric.launch()
    return fabric
