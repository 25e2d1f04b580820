"""A file of weights goes in, the ways to read it as a state dict come out, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fxprune.errors import ModelError
from fxprune.models.reference import missing_hint

__all__ = ["SUFFIXES", "read_checkpoint", "views"]

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")

# Keys under which training frameworks keep a network's weights, preferred first: an average before the last step.
WRAPPERS = (
    "params_ema",
    "state_dict_ema",
    "ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net_g",
    "net",
    "network",
    "generator",
    "weights",
)

# What wrapper modules (DataParallel, torch.compile, training modules) put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net_g.", "netG.", "net.", "network.", "generator.", "ema_model.")

DEPTH = 3  # wrappers or prefixes inside one another


def read_checkpoint(path: Path) -> object:
    """What a file of weights holds, on the CPU; no code in it is run.

    Raises:
        ModelError: missing, of another kind, damaged, or only readable by running code.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(f"{path} is not a file of weights", hint=f"weights are read from {', '.join(SUFFIXES)}")
    if not path.is_file():
        if path.exists():
            raise ModelError(f"{path} is a folder, not a file of weights")
        hint = missing_hint(path, [f"*{suffix}" for suffix in SUFFIXES])
        raise ModelError(f"{path} does not exist", hint=hint)
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path, device="cpu")
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes bring up any exception in torch's reader, IndexError among them
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ModelError:
    """Why a file of weights could not be read: code inside, another format, or damage."""
    text = str(error)
    foreign = re.search(r"GLOBAL ([\w.]+)", text)
    if foreign:
        return ModelError(
            f"{path} holds a pickled {foreign[1]}: reading it would run code from the file",
            hint="save the weights alone, where that code is at hand: torch.save(model.state_dict(), PATH)",
        )
    if "TorchScript" in text:
        return ModelError(
            f"{path} is a TorchScript program, not a file of weights",
            hint="save its weights: torch.save(torch.jit.load(FILE).state_dict(), PATH)",
        )
    kind = "a safetensors file" if path.suffix.lower() == ".safetensors" else "a PyTorch checkpoint"
    return ModelError(f"{path} is damaged, or is not {kind}", hint="was it copied or downloaded completely?")


def views(held: object) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every way to read what a checkpoint holds as a state dict, likeliest first: (how, names and tensors).

    The order: what lies under a wrapper's key, in the order of `WRAPPERS` and then by name; then the tensors held
    directly. Each is offered as it is, and then with each of `PREFIXES` taken off the names that begin with it,
    leaving the others out.
    """
    for how, state in unwrapped(held, "", DEPTH):
        yield from unprefixed(how, state, DEPTH)


def unwrapped(held: object, how: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The state dicts that lie in a value, under up to `depth` keys."""
    if not isinstance(held, Mapping):
        return
    inner = {str(key): value for key, value in held.items() if isinstance(value, Mapping)}
    known = [key for key in WRAPPERS if key in inner]
    if depth:
        for key in (*known, *sorted(set(inner) - set(known))):
            yield from unwrapped(inner[key], f"{how}[{key!r}]", depth - 1)
    tensors: dict[str, Tensor] = {str(key): value for key, value in held.items() if isinstance(value, Tensor)}
    if tensors:
        yield how, tensors


def unprefixed(how: str, state: dict[str, Tensor], depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """A state dict, and what lies in it below each prefix."""
    yield how, state
    for prefix in PREFIXES if depth else ():
        below: dict[str, Any] = {
            name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
        }
        if below:
            yield from unprefixed(f"{how} {prefix}*".strip(), below, depth - 1)
