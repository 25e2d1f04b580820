"""A batch of inputs and what should come of them → gradients and activations, on a private copy of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from fxprune.errors import PlanError
from fxprune.trace.copying import share

__all__ = ["LOSSES", "Calibration", "private_copy"]

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss, "mse": F.mse_loss}


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a criterion that needs data is measured on.

    Raises:
        PlanError: an unknown loss, or a named one without a target.
    """

    inputs: tuple[Any, ...]  # one batch, as `forward` takes it; the first dimension of its tensors is the batch
    target: Tensor | None = None  # what should come out; None: the loss judges the output alone
    loss: str | Callable[..., Tensor] = "l1"  # a name of `LOSSES`, or (output, target) → one number

    def __post_init__(self) -> None:
        if isinstance(self.loss, str):
            if self.loss not in LOSSES:
                raise PlanError(f"there is no loss `{self.loss}`", hint=f"there are {', '.join(sorted(LOSSES))}")
            if self.target is None:
                raise PlanError(f"the loss `{self.loss}` needs a target", hint="or give a function of the output")

    @classmethod
    def synthetic(cls, example: Sequence[Any], module: nn.Module, *, count: int = 4, seed: int = 0) -> Calibration:
        """Made-up pictures in place of data: the target is a random picture, the input its small version.

        The pictures are noise whose amplitude falls as 1/f, as that of photographs does, in the range of the example.
        The input is the target scaled down, bicubic with antialiasing, to the example's size; where a network keeps
        the size (denoisers, networks that take upscaled pictures), the target scaled down by two and up again. The
        loss is l1. Gradients on such pictures tell apart what an untrained eye can: give real ones where you can.

        Args:
            example: the network's inputs, of which the first is a picture (N, C, H, W).
            module: the network; it is run once, on a copy, for the size of its output.
            count: pictures in the batch.
            seed: of the pictures; the process's random state is neither used nor changed.

        Raises:
            PlanError: the network does not make one picture of one picture with as many channels.
        """
        out = _run(private_copy(module), tuple(example))
        tensors = [x for x in example if isinstance(x, Tensor)]
        pictures = len(tensors) == 1 and isinstance(out, Tensor) and tensors[0].dim() == out.dim() == 4
        if not pictures or tensors[0].shape[1] != out.shape[1]:
            raise PlanError(
                "pictures cannot be made up for a network that does not turn one picture into one picture",
                hint="give a calibration batch of real ones: Calibration(inputs, target)",
            )
        given = tensors[0]
        low, high = float(given.min()), float(given.max())
        high = high if high > low else low + 1
        target = low + (high - low) * _pictures((count, *out.shape[1:]), seed)
        size, kept = given.shape[-2:], given.shape[-2:] == out.shape[-2:]
        small = _resized(target, tuple(max(1, n // 2) for n in size) if kept else tuple(size))
        small = (_resized(small, tuple(size)) if kept else small).clamp(low, high)
        inputs = tuple(small.to(given) if x is given else x for x in example)
        return cls(inputs, target.to(given))

    @property
    def size(self) -> int:
        """How many samples."""
        batch = self.target if self.target is not None else self._first()
        return int(batch.shape[0]) if batch.dim() else 1

    def samples(self) -> Iterator[Calibration]:
        """Each sample as a batch of one."""
        size = self.size

        def only(k: int) -> Callable[[Tensor], Tensor]:
            return lambda tensor: tensor[k : k + 1] if tensor.dim() and tensor.shape[0] == size else tensor

        for k in range(size):
            inputs, target = pytree.tree_map_only(Tensor, only(k), (self.inputs, self.target))
            yield Calibration(inputs, target, self.loss)

    def measure(self, module: nn.Module) -> Tensor:
        """The loss of a network on the batch: one number, with its graph.

        Raises:
            PlanError: the network does not run on it, the output does not fit the target, no weight has a gradient.
        """
        with torch.enable_grad():
            out = _run(module, self.inputs)
            loss = self._judge(out)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise PlanError("the calibration loss does not give one number")
        if not loss.requires_grad:
            raise PlanError("the calibration loss does not depend on any weight, so there are no gradients")
        return loss.reshape(())

    def observe(self, module: nn.Module) -> None:
        """Run the network on the batch for what its hooks see.

        Raises:
            PlanError: the network does not run on it.
        """
        with torch.no_grad():
            _run(module, self.inputs)

    def _judge(self, out: Any) -> Any:
        if callable(self.loss):
            return self.loss(out) if self.target is None else self.loss(out, self.target)
        assert self.target is not None
        if not isinstance(out, Tensor) or out.shape != self.target.shape:
            made = "x".join(map(str, out.shape)) if isinstance(out, Tensor) else "no single tensor"
            wanted = "x".join(map(str, self.target.shape))
            raise PlanError(
                f"the network makes {made} of the calibration batch, its target is {wanted}",
                hint="a target that fits, or a loss of your own: Calibration(inputs, target, loss=...)",
            )
        return LOSSES[self.loss](out, self.target)

    def _first(self) -> Tensor:
        tensors = [leaf for leaf in pytree.tree_leaves(self.inputs) if isinstance(leaf, Tensor)]
        if not tensors:
            raise PlanError("the calibration batch holds no tensor")
        return tensors[0]


def private_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode with its own tensors, all of whose parameters take gradients; tied ones stay tied."""
    copy = share(module).eval()
    made: dict[int, Tensor] = {}
    for part in copy.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    own = tensor.detach().clone()
                    made[id(tensor)] = nn.Parameter(own, own.is_floating_point()) if held is part._parameters else own
                held[name] = made[id(tensor)]  # type: ignore[assignment]
    return copy


def _run(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """The output on clones, because a network may write to its input."""
    try:
        return module(*pytree.tree_map_only(Tensor, torch.clone, inputs))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()
        raise PlanError(
            f"the network does not run on the calibration batch: {reason[0] if reason else type(error).__name__}"
        ) from None


def _pictures(shape: tuple[int, ...], seed: int) -> Tensor:
    """(N, C, H, W) noise in [0, 1] whose amplitude halves from octave to octave; the channels share most of it."""
    generator = torch.Generator().manual_seed(seed)
    count, channels, height, width = shape
    total = torch.zeros(shape)
    cells = 2
    while True:
        size = (count, channels + 1, min(cells, height), min(cells, width))
        noise = torch.randn(size, generator=generator) / cells
        noise = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
        total += noise[:, :1] + 0.3 * noise[:, 1:]
        if cells >= max(height, width):
            break
        cells *= 2
    low, high = (extreme(total, (1, 2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
    return (total - low) / (high - low).clamp_min(1e-12)


def _resized(pictures: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(pictures, size=list(size), mode="bicubic", align_corners=False, antialias=True)
