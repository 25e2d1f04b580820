"""A network and a file of weights go in; the network comes out with exactly those weights, or it is said why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from fxprune.errors import ModelError
from fxprune.models.blame import told
from fxprune.models.checkpoint import read_checkpoint, views

__all__ = ["load_weights"]

FIRST = 4  # how many names of each kind of misfit are shown


@dataclass(frozen=True, slots=True)
class Misfit:
    """How a state dict differs from what a network needs; all sorted as the network and the file have them."""

    missing: tuple[str, ...]  # names the network needs and the file lacks
    unexpected: tuple[str, ...]  # names in the file that the network does not have
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]  # name, shape in the file, in the network

    @property
    def size(self) -> int:
        """How many names do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)


def load_weights(module: nn.Module, path: Path, model: str, settings: Mapping[str, object]) -> None:
    """Put the weights of a file into a network, every one of them, nothing left over.

    Args:
        module: changed in place.
        path: `.safetensors`, `.pth`, `.pt`, `.ckpt` or `.bin`.
        model: what the network is called in messages.
        settings: the arguments the network was built with, defaults included, for the hint.

    Raises:
        ModelError: the file cannot be read, holds no state dict, or one that does not fit.
    """
    held = read_checkpoint(path)
    needed = module.state_dict()
    best: tuple[Misfit, str, dict[str, Tensor]] | None = None
    for how, state in views(held):
        misfit = compared(state, needed)
        if best is None or misfit.size < best[0].size:
            best = misfit, how, state
        if not misfit.size:
            break
    if best is None:
        raise ModelError(
            f"{path} holds no weights by name, but {type(held).__name__}",
            hint="save them with torch.save(model.state_dict(), PATH)",
        )
    misfit, how, state = best
    on_meta = any(tensor.is_meta for tensor in needed.values())
    try:
        # A network's own hooks may rename or fill in what seems not to fit, so it has the last word.
        module.load_state_dict(state, strict=True, assign=on_meta)
    except RuntimeError as error:
        text = report(misfit, f"{path}{how}", model) if misfit.size else f"{path} cannot be loaded: {told(error)}"
        raise ModelError(text, hint=hint(misfit, settings)) from error


def compared(state: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> Misfit:
    """The differences in names and shapes between a state dict and the needed one."""
    both = [name for name in needed if name in state]
    return Misfit(
        tuple(name for name in needed if name not in state),
        tuple(name for name in state if name not in needed),
        tuple(
            (name, tuple(state[name].shape), tuple(needed[name].shape))
            for name in both
            if state[name].shape != needed[name].shape
        ),
    )


def report(misfit: Misfit, file: str, model: str) -> str:
    """The differences in words: counts, and the first few of each kind."""
    kinds = (
        ("missing in the file", list(misfit.missing)),
        ("unknown to the network", list(misfit.unexpected)),
        ("of another shape", [f"{name} {times(a)} instead of {times(b)}" for name, a, b in misfit.reshaped]),
    )
    lines = [f"the weights in {file} do not fit {model}"]
    for title, names in kinds:
        if names:
            more = f" … and {len(names) - FIRST} more" if len(names) > FIRST else ""
            lines.append(f"  {len(names)} {title}: {', '.join(names[:FIRST])}{more}")
    return "\n".join(lines)


def times(shape: tuple[int, ...]) -> str:
    """A shape as 64x3x3x3."""
    return "x".join(map(str, shape)) or "scalar"


def hint(misfit: Misfit, settings: Mapping[str, object]) -> str | None:
    """What setting the file may have been made with, told from the most frequent change of a size."""
    sizes = Counter(
        (a, b)
        for _, file, network in misfit.reshaped
        if len(file) == len(network)
        for a, b in zip(file, network, strict=True)
        if a != b
    )
    if not sizes:
        return None
    (in_file, built), _ = sizes.most_common(1)[0]
    for name, value in settings.items():
        if type(value) is int and value == built:
            return f"the checkpoint looks like {name}={in_file}, the model was built with {name}={built}"
    return f"the checkpoint has sizes of {in_file} where the model has {built}"
