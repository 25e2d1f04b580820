"""A checkpoint goes in; the network that the spandrel library builds for it, and the sizes it takes, come out."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fxprune.errors import ModelError
from fxprune.models.blame import told
from fxprune.models.checkpoint import read_checkpoint, views
from fxprune.models.example import fails_on_meta, guess_channels

__all__ = ["INSTALL", "Known", "Size", "library", "load_checkpoint", "recognised", "sizes_for"]

Size = tuple[int, int]  # height, width of an input, in pixels

INSTALL = "pip install --no-deps spandrel einops"  # what torch needs besides is there already
CODE = "give the code as the model (model.py or zoo:name), and this file as its weights"
EXAMPLE = 48  # the field's patch size


@dataclass(frozen=True, slots=True)
class Known:
    """A network with a checkpoint's weights, as spandrel recognised it."""

    module: nn.Module  # in training mode, on the CPU
    architecture: str  # spandrel's name for it, e.g. "ESRGAN"
    scale: int  # of the output image to the input image
    channels: int  # of the input
    example: Size  # of an input it takes
    sizes: tuple[Size, ...]  # three more that it takes; not all square, unless it takes nothing else


def load_checkpoint(path: Path) -> Known:
    """The network that a file of weights is for.

    No code in the file is run. Its weights are looked for under the keys of training frameworks, as `load_weights`
    does. What spandrel does to images before and after a network (a change of range, say) is not part of the network.

    Raises:
        ModelError: unreadable; spandrel is not installed, or does not know what the weights are of, or they are of a
            network that fills holes rather than takes an image alone.
    """
    held = read_checkpoint(path)
    if not isinstance(held, Mapping):
        raise ModelError(f"{path} holds no weights by name, but {type(held).__name__}")
    spandrel = library(str(path))
    failed: ModelError | None = None
    for state in readings(spandrel, held):
        try:
            known = recognised(state, str(path))
        except ModelError as error:
            failed = failed or error
            continue
        if known is not None:
            return known
    if failed is not None:
        raise failed
    raise ModelError(
        f"{path} is a checkpoint of no network that spandrel knows",
        hint=CODE,
    )


def readings(spandrel: ModuleType, held: Mapping[Any, Any]) -> Iterator[dict[str, Tensor]]:
    """The state dicts that may be meant: the one that spandrel would take, then every other."""
    first = spandrel.canonicalize_state_dict(dict(held))
    if first and all(isinstance(value, Tensor) for value in first.values()):
        yield first
    for _, state in views(held):
        yield state


def recognised(state: Mapping[str, Tensor], name: str) -> Known | None:
    """The network that weights are of; None where spandrel knows none.

    Args:
        state: name → tensor.
        name: what the weights are called in messages.

    Raises:
        ModelError: recognised, but the weights do not fit; or a network that takes a mask besides the image.
    """
    spandrel = library()
    try:
        found: Any = spandrel.MAIN_REGISTRY.load(dict(state))
    except spandrel.UnsupportedModelError:
        return None
    except Exception as error:  # spandrel reads settings off the weights: damaged ones bring up any exception
        raise ModelError(
            f"{name} looks like a network that spandrel knows, but cannot be loaded: {told(error)}",
            hint=CODE,
        ) from error
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ModelError(
            f"{name} is a checkpoint of {found.architecture.name}, a network that fills holes in images",
            hint="fxprune takes networks from image to image, as for super-resolution",
        )
    needs = found.size_requirements
    example, sizes = sizes_for(needs.minimum, needs.multiple_of, needs.square)
    # Where spandrel adds a channel of its own (a map of the noise level), it counts those of the image alone.
    own = fails_on_meta(found.model, (1, found.input_channels, *example)) is None
    channels = found.input_channels if own else guess_channels(found.model)
    return Known(found.model, str(found.architecture.name), found.scale, channels, example, sizes)


def sizes_for(minimum: int = 0, multiple_of: int = 1, square: bool = False) -> tuple[Size, tuple[Size, ...]]:
    """An example's size and three others for a network with these requirements.

    Args:
        minimum: smallest height and width, in pixels.
        multiple_of: what both are whole multiples of.
        square: whether they are equal.

    Returns:
        the smallest square from 48 x 48 that fits; a smaller or equal square, a wide one, and a large tall one.
            Squares only where nothing else will do.
    """

    def up(side: int) -> int:
        return -(-max(side, minimum, 1) // multiple_of) * multiple_of

    small, middle, low = up(EXAMPLE // 2), up(EXAMPLE), up(EXAMPLE // 3)
    if square:
        return (middle, middle), tuple((up(side), up(side)) for side in (small, small + 1, small + multiple_of + 1))
    return (middle, middle), ((small, small), (low, up(low + 16)), (up(middle + 16), middle))


def library(name: str = "a checkpoint") -> ModuleType:
    """The spandrel library, also where torchvision, which it imports, is missing or broken.

    Args:
        name: of the checkpoint that it is needed for, in messages.

    Raises:
        ModelError: spandrel is not installed, or does not import.
    """
    if importlib.util.find_spec("spandrel") is None:
        raise ModelError(
            f"{name} holds weights, but no code to run them with; the library that knows many networks by their "
            "weights, spandrel, is not installed",
            hint=f"{INSTALL}; or {CODE}",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.nullcontext() if "spandrel" in sys.modules else torchvision_stands():
                return importlib.import_module("spandrel")
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        raise ModelError(f"spandrel does not import: {told(error)}", hint=INSTALL if missing else None) from error


@contextlib.contextmanager
def torchvision_stands() -> Iterator[None]:
    """Inside, `torchvision.transforms.functional` imports: the real one, or else a stand-in, gone again afterwards.

    spandrel asks torchvision for three names only. torchvision's wheels are built for one build of torch, and fail to
    import beside any other in their own ways, which leaves parts of it behind.
    """
    try:
        importlib.import_module("torchvision.transforms.functional")
    except Exception:  # compiled parts that do not fit torch raise anything
        partial = {name: sys.modules.pop(name) for name in list(sys.modules) if is_torchvision(name)}
        sys.modules.update(stand_in())
        try:
            yield
        finally:
            for name in stand_in():
                del sys.modules[name]
            sys.modules.update(partial)
    else:
        yield


def is_torchvision(module: str) -> bool:
    """Whether a module is torchvision, or a part of it."""
    return module.partition(".")[0] == "torchvision"


def stand_in() -> dict[str, ModuleType]:
    """Modules that hold what spandrel's networks use of torchvision."""
    path = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    made = {name: ModuleType(name) for name in path}
    for name, module in made.items():
        module.__path__, module.__spec__ = [], ModuleSpec(name, None, is_package=True)
    functions: dict[str, Callable[..., Any] | type] = {
        "normalize": normalize,
        "rotate": rotate,
        "InterpolationMode": InterpolationMode,
    }
    vars(made[path[-1]]).update(functions)
    return made


def normalize(image: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Images (N, C, H, W) less a mean, over a deviation, per channel."""
    shape = (-1, 1, 1)
    return (image - torch.tensor(mean, device=image.device).view(shape)) / torch.tensor(std, device=image.device).view(
        shape
    )


class InterpolationMode:
    """The name of the one way to interpolate that spandrel's networks ask for."""

    BILINEAR = "bilinear"


def rotate(*_: object, **__: object) -> Tensor:
    """Only a training-time setting of an inpainting network, which is refused, turns images.

    Raises:
        ModelError: always.
    """
    raise ModelError("turning images needs torchvision, which is not installed")
