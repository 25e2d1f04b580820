"""A network and maybe a shape go in, an example input comes out; or whether the network can take one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fxprune.errors import InputError
from fxprune.models.blame import told, user_line
from fxprune.models.position import by_position
from fxprune.models.quarantine import quarantine

__all__ = ["Shape", "check_example", "example_for", "guess_channels", "initialise"]

Shape: TypeAlias = tuple[int, ...]

HEIGHT, WIDTH = 48, 48  # the field's patch size
LARGEST = 2**31  # elements; more is a slip of the keyboard


def example_for(module: nn.Module, shape: Shape | Sequence[Shape] | None = None, seed: int = 0) -> tuple[Tensor, ...]:
    """Random pictures for a network, uniform in [0, 1], float32, on the CPU.

    Args:
        module: asked for its number of input channels where no shape is given.
        shape: of the input, as (N, C, H, W); of each input, where there are several; None: 1 x C x 48 x 48.
        seed: of the values; the process's random state is neither used nor changed.

    Raises:
        InputError: a shape that is no shape.
    """
    if shape is None:
        shape = (1, guess_channels(module), HEIGHT, WIDTH)
    shapes: Sequence[Any] = shape if shape and isinstance(shape[0], Sequence) else (shape,)
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(checked(s), generator=generator, dtype=torch.float32, device="cpu") for s in shapes)


def initialise(module: nn.Module, example: Sequence[Tensor]) -> None:
    """Let lazy layers (`nn.LazyConv2d`) take their shapes from an example; other networks are left as they are.

    Raises:
        InputError: the network does not run on its example; names the layer.
    """
    if any(map(nn.parameter.is_lazy, (*module.parameters(), *module.buffers()))):
        try:
            with torch.no_grad():
                module(*example)
        except Exception:  # the model's own code
            check_example(module, tuple(example))
            raise


def checked(shape: Sequence[object]) -> Shape:
    """A shape whose sizes are whole numbers from 1 up.

    Raises:
        InputError: it is not.
    """
    sizes = tuple(size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size > 0)
    written = "x".join(map(str, shape))
    if len(sizes) != len(shape) or not sizes:
        raise InputError(
            f"{written or 'nothing'} is not the shape of an input", hint="sizes are whole numbers, as in 1x3x48x48"
        )
    if torch.Size(sizes).numel() > LARGEST:
        raise InputError(f"an input of {written} is too large to be an example", hint="as in 1x3x48x48")
    return sizes


def guess_channels(module: nn.Module) -> int:
    """How many channels a network's input most likely has.

    The first convolution's, in order of registration; where that is not 3 but three channels are what the network
    can take (its body was registered first, or it unshuffles the picture before), 3.
    """
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)), None)
    if first is None or first.in_channels in (0, 3):
        return 3
    fits = [c for c in (first.in_channels, 3) if fails_on_meta(module, (1, c, HEIGHT, WIDTH)) is None]
    return fits[0] if fits else first.in_channels


def fails_on_meta(module: nn.Module, shape: Shape) -> Exception | None:
    """What a network raises on an input of that shape, without arithmetic."""
    return attempt(module, (torch.empty(shape),), on_meta)[0]


def check_example(module: nn.Module, example: Sequence[Any]) -> None:
    """Make sure that a network takes an example, without touching either.

    Shapes alone are run through first, on the meta device, which costs no arithmetic. Only where that fails does the
    network run for real, since code may well be right and yet not run on shapes alone.

    Raises:
        InputError: the network raises on it; with the layer and the line of its code.
    """
    failed, layer = attempt(module, example, on_meta)
    if failed is None:
        return
    everything = [*module.parameters(), *module.buffers()]
    if not any(tensor.is_meta for tensor in everything):
        failed, layer = attempt(module, example, on_device)
        if failed is None:
            return
    shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors(example))
    where = user_line(failed)
    raise InputError(
        f"{where + ': ' if where else ''}the model does not take an input of {shapes}: "
        f"{f'layer {layer}: ' if layer else ''}{told(failed)}",
        hint=remedy(failed, module, example),
    ) from failed


def tensors(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def remedy(failed: Exception | None, module: nn.Module, example: Sequence[Any]) -> str:
    """What to do about an example that a network does not take."""
    if isinstance(failed, TypeError) and "missing" in str(failed) and "positional" in str(failed):
        return "it takes several inputs: give the shape of each, separated by commas, as in 1x3x48x48,1x3x48x48"
    types = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if types and not types & {x.dtype for x in tensors(example)}:
        return f"its weights are {sorted(map(str, types))[0]}; an example is torch.float32: convert it with .float()"
    return "give the shape of an input as batch x channels x height x width, as in 1x3x48x48"


Conversion: TypeAlias = Callable[[Tensor], Tensor]


def on_meta(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and type without values."""
    return torch.empty_like(tensor, device="meta", requires_grad=False)


def on_device(tensor: Tensor) -> Tensor:
    """A copy with the same values."""
    return tensor.detach().clone()


def attempt(module: nn.Module, example: Sequence[Any], convert: Conversion) -> tuple[Exception | None, str | None]:
    """Run a copy of a network whose tensors, like those of the example, are converted.

    Returns:
        what it raised, and the path of the innermost layer that was running; (None, None) if it ran through.
    """
    entered: list[str] = []
    try:
        with quarantine(0), torch.no_grad():
            copied = converted(module, convert)
            by_position(copied)
            for name, layer in copied.named_modules():
                described = f"{name} ({type(layer).__name__})" if name else ""
                layer.register_forward_pre_hook(lambda _module, _inputs, text=described: entered.append(text))
                layer.register_forward_hook(lambda _module, _inputs, _output: leave(entered))
            device = next((t.device for t in (*copied.parameters(), *copied.buffers())), None)
            inputs = pytree.tree_map_only(Tensor, convert, list(example))
            copied(*pytree.tree_map_only(Tensor, lambda x: x.to(device) if device else x, inputs))
    except Exception as error:  # the network's code may raise anything
        return error, entered[-1] if entered and entered[-1] else None
    return None, None


def leave(entered: list[str]) -> None:
    """Forget the layer that has just run."""
    entered.pop()


def converted(module: nn.Module, convert: Conversion) -> nn.Module:
    """A copy of a network with every tensor it holds converted, parameters staying parameters, shared ones shared."""
    memo: dict[int, object] = {}
    for part in module.modules():
        for held in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            if isinstance(held, Tensor) and id(held) not in memo:
                new = convert(held)
                memo[id(held)] = nn.Parameter(new, held.requires_grad) if isinstance(held, nn.Parameter) else new
    return copy.deepcopy(module, memo)
