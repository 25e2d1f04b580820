"""A layer of torch.nn in, the constructor call that builds one like it out: `nn.Conv2d(64, 32, 3, padding=1)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fxprune.emit.literals import require_literal
from fxprune.errors import RewriteError

__all__ = ["constructor"]

Reader = Callable[[Any], Any]


def one_if_equal(name: str) -> Reader:
    """Reads a tuple such as kernel_size=(3, 3), and gives 3 for it."""

    def read(layer: Any) -> Any:
        value = getattr(layer, name)
        same = isinstance(value, tuple) and len(set(value)) == 1
        return value[0] if same else value

    return read


def present(name: str) -> Reader:
    return lambda layer: getattr(layer, name) is not None


def stride_of_pool(layer: Any) -> Any:
    """A pool's stride is its kernel size unless said otherwise."""
    return None if layer.stride == layer.kernel_size else layer.stride


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d),
)
PADS = (
    *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
)

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)

# An argument is the attribute of the same name, except for these.
READERS: Mapping[tuple[type[nn.Module], str], Reader] = {
    **{
        (cls, name): one_if_equal(name)
        for cls in CONVOLUTIONS
        for name in ("kernel_size", "stride", "padding", "output_padding", "dilation")
    },
    **{(cls, "stride"): stride_of_pool for cls in POOLS},
    **{(cls, "padding"): one_if_equal("padding") for cls in PADS},
    (nn.LayerNorm, "normalized_shape"): one_if_equal("normalized_shape"),
    **{(cls, "bias"): lambda layer: layer.bias is not None or layer.weight is None for cls in NORMS},
    (nn.RMSNorm, "normalized_shape"): one_if_equal("normalized_shape"),
    (nn.MultiheadAttention, "kdim"): lambda layer: None if layer.kdim == layer.embed_dim else layer.kdim,
    (nn.MultiheadAttention, "vdim"): lambda layer: None if layer.vdim == layer.embed_dim else layer.vdim,
    (nn.MultiheadAttention, "bias"): present("in_proj_bias"),
    (nn.MultiheadAttention, "add_bias_kv"): present("bias_k"),
    (nn.PairwiseDistance, "p"): lambda layer: layer.norm,
}
IGNORED = {"self", "device", "dtype", "_weight", "_freeze", "_bias"}
# Deprecated second spellings of arguments, never needed.
IGNORED_OF: Mapping[type[nn.Module], set[str]] = {nn.Hardtanh: {"min_value", "max_value"}}


def arguments(cls: type[nn.Module]) -> tuple[inspect.Parameter, ...]:
    """The constructor's arguments that say something about the layer."""
    ignored = IGNORED | IGNORED_OF.get(cls, set())
    parameters = inspect.signature(cls.__init__).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(p for p in parameters if p.name not in ignored and p.kind in plain)


def read(layer: nn.Module, name: str) -> Any:
    """The value with which `layer` was constructed, for the argument `name`."""
    reader = READERS.get((type(layer), name))
    if reader is not None:
        return reader(layer)
    value = getattr(layer, name)
    if name == "bias":
        return value is not None and value is not False
    return value


def dtype_of(layer: nn.Module) -> torch.dtype | None:
    """The floating type of a layer's own tensors, or None without any."""
    tensors = (*layer.parameters(), *layer.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point() or t.is_complex()), None)


def constructor(layer: nn.Module, path: str) -> str:
    """The call that builds a layer like `layer`, arguments with their default value left out.

    Args:
        layer: a module of a class in torch.nn, without hooks or parametrizations.
        path: its name in the network, for messages.

    Raises:
        RewriteError: the class is not torch.nn's, or the call would not give the same layer.
    """
    cls = type(layer)
    if getattr(nn, cls.__name__, None) is not cls:
        raise RewriteError(
            f"{path}: a layer of class {cls.__module__}.{cls.__qualname__} cannot be written without its code",
            hint="only layers of torch.nn stand in a generated model; trace into the others",
        )
    if layer._forward_pre_hooks or layer._forward_hooks:
        raise RewriteError(f"{path}: a layer with forward hooks cannot be written as source")
    written = []
    for argument in arguments(cls):
        try:
            value = read(layer, argument.name)
        except AttributeError:
            raise RewriteError(f"{path}: nn.{cls.__name__} does not say its {argument.name}") from None
        if argument.default is not inspect.Parameter.empty and same(argument.default, value):
            continue
        text = require_literal(value, path)
        positional = argument.default is inspect.Parameter.empty
        written.append(text if positional else f"{argument.name}={text}")
    dtype = dtype_of(layer)
    if dtype not in (None, torch.float32) and "dtype" in inspect.signature(cls.__init__).parameters:
        written.append(f"dtype={dtype}")
    text = f"nn.{cls.__name__}({', '.join(written)})"
    check(layer, text, path)
    return text


def same(default: Any, value: Any) -> bool:
    """Whether an argument may be left out: 0 and False, or 1 and 1.0, are not the same."""
    return type(default) is type(value) and bool(default == value)


def check(layer: nn.Module, text: str, path: str) -> None:
    """Build `text` without memory and compare."""
    try:
        with torch.device("meta"):
            built = eval(text, {"nn": nn, "torch": torch})
    except (TypeError, ValueError, RuntimeError):
        raise RewriteError(f"{path}: {text} does not say all that nn.{type(layer).__name__} needs") from None
    if described(built) != described(layer):
        raise RewriteError(f"{path}: {text} would not give back {layer}; its tensors are {shapes(layer)}")


def described(layer: nn.Module) -> tuple[Any, ...]:
    values = [read(layer, argument.name) for argument in arguments(type(layer))]
    return repr(layer), values, shapes(layer)


def shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
