"""A network of the coverage table → what torch-pruning makes of it, naively or told what an expert would tell it."""

from __future__ import annotations

import copy
import time
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch_pruning
from torch import nn
from torch.utils import _pytree as pytree

__all__ = ["peer"]

EXACT = 1e-4  # largest difference relative to the largest output that still passes for the same function


def peer(case: Any, expert: bool) -> dict[str, Any]:
    """Half of each group by torch-pruning, as its README shows it; the expert's ignored layers besides.

    Outcomes: *exact*; *inexact*, it runs but computes something else than the original whose removed filters are zeroed
    (with a norm over channels that is how it is meant); *runs*, where what was removed cannot be told from the
    parameters; *broken*, it does not run afterwards, or gives another shape; *fails*; *nothing cut*.
    """
    module = distinct(case.module.eval())
    original = copy.deepcopy(module)
    ignored = ends(module, case.example) if expert else []
    before = sum(p.numel() for p in module.parameters())
    start = time.perf_counter()
    try:
        importance = torch_pruning.importance.MagnitudeImportance(p=1)
        torch_pruning.pruner.MagnitudePruner(
            module, case.example, importance=importance, pruning_ratio=0.5, ignored_layers=ignored
        ).step()
    except Exception as error:  # whatever it raises is its answer
        return {"outcome": "fails", "why": f"{type(error).__name__}: {first_line(error)}"}
    seconds = round(time.perf_counter() - start, 2)
    params = [before, sum(p.numel() for p in module.parameters())]
    found = {"params": params, "seconds": seconds}
    if params[0] == params[1]:
        return {"outcome": "nothing cut", **found}
    masked = zeroed(original, module)
    worst = 0.0
    for inputs in (case.example, *case.others):
        try:
            want = run(masked or original, inputs)
        except Exception:  # the network itself does not run at this size
            continue
        try:
            got = run(module, inputs)
        except Exception as error:
            return {"outcome": "broken", "why": f"the result does not run: {first_line(error)}", **found}
        if [x.shape for x in want] != [x.shape for x in got]:
            return {"outcome": "broken", "why": "the output has another shape", **found}
        if masked is not None:
            pairs = zip(want, got, strict=True)
            worst = max(worst, *(float((a - b).abs().max() / a.abs().max().clamp_min(1e-30)) for a, b in pairs))
    if masked is None:
        return {"outcome": "runs", "why": "what was removed cannot be told", **found}
    return {"outcome": "exact" if worst <= EXACT else "inexact", "difference": worst, **found}


def first_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def run(network: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    """Every tensor that a network gives; from the same random state each time."""
    torch.manual_seed(0)
    with torch.no_grad():
        found = network(*(x.clone() for x in inputs))
    return [x for x in pytree.tree_leaves(found) if isinstance(x, torch.Tensor)]


def distinct(module: nn.Module) -> nn.Module:
    """Make the values of every parameter differ from one another, so that what is left of it can be recognised."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(0.05 * parameter.abs().mean().clamp_min(1e-3) * torch.randn_like(parameter))
    return module


def zeroed(original: nn.Module, pruned: nn.Module) -> nn.Module | None:
    """A copy of the original with zeros wherever the pruned network has nothing left; None where that is not to see."""
    masked = copy.deepcopy(original)
    left = dict(pruned.named_parameters())
    with torch.no_grad():
        for name, parameter in masked.named_parameters():
            if name not in left:
                return None
            kept = survivors(parameter.detach().numpy(), left[name].detach().numpy())
            if kept is None:
                return None
            for dim, indices in enumerate(kept):
                gone = sorted(set(range(parameter.shape[dim])) - set(indices))
                parameter[(slice(None),) * dim + (gone,)] = 0
    return masked


def survivors(whole: Any, part: Any) -> tuple[list[int], ...] | None:
    """Along each dimension, which indices of an array are left in a part of it, found by its values."""
    if whole.shape == part.shape:
        return tuple(list(range(size)) for size in whole.shape) if np.array_equal(whole, part) else None
    if whole.ndim != part.ndim or not part.size:
        return None
    for corner in np.argwhere(whole == part.flat[0]):
        kept = []
        for dim in range(whole.ndim):
            line = whole[tuple(slice(None) if d == dim else corner[d] for d in range(whole.ndim))]
            places = {value: k for k, value in enumerate(line.tolist())}
            wanted = part[tuple(slice(None) if d == dim else 0 for d in range(whole.ndim))].tolist()
            kept.append([places.get(value, -1) for value in wanted])
        if min(map(min, kept)) >= 0 and np.array_equal(whole[np.ix_(*kept)], part):
            return tuple(kept)
    return None


def ends(module: nn.Module, example: tuple[Any, ...]) -> list[nn.Module]:
    """The layers an expert would name: those that make the output, and those before a pixel shuffle.

    Found by running the network: the convolution or linear layer that ran last before each pixel shuffle, and at all.
    """
    found: list[nn.Module] = []
    last: list[nn.Module] = []

    def watched(shuffle: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            found.extend(last[-1:])
            return shuffle(*args, **kwargs)

        return call

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [
        part.register_forward_hook(lambda layer, *_: last.append(layer))
        for part in module.modules()
        if isinstance(part, kinds)
    ]
    with ExitStack() as stack:
        for name in ("pixel_shuffle", "pixel_unshuffle"):
            stack.enter_context(patch.object(nn.functional, name, watched(getattr(nn.functional, name))))
        run(module, example)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys([*found, *last[-1:]]))
