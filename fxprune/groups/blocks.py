"""`Traced` → the tensors of grouped convolutions that are held in blocks, one for each group of channels."""

from __future__ import annotations

from operator import attrgetter

from torch import nn

from fxprune.trace import Traced, module_at

__all__ = ["blocks_of", "goes_whole"]


def goes_whole(groups: int, made: int, seen: int) -> bool:
    """Do groups go whole, where each makes `made` channels from `seen`? Depthwise, and where there are many groups."""
    return made == 1 or seen == 1 or groups > max(made, seen)


def blocks_of(traced: Traced) -> dict[int, int]:
    """id of a tensor → how many blocks it is held in.

    Law: a row of a grouped convolution's weight sees the channels of its own group, so the groups may keep different
    channels, as long as nothing but such convolutions reads the weight. Transposed, the groups lie along the outputs,
    and a column that goes from some rows only is no slice of the weight.
    """
    found: dict[int, int] = {}
    barred: set[int] = set()
    grouped: list[nn.Module] = []
    for node in traced.graph.graph.nodes:
        if node.op == "get_attr":
            barred.add(id(attrgetter(str(node.target))(traced.graph)))
        elif node.op == "call_module":
            layer = module_at(traced.graph, str(node.target))
            groups = _groups(layer)
            grouped += [layer] if groups > 1 else []
            for tensor in layer.parameters():
                if groups == 1 or found.setdefault(id(tensor), groups) != groups:
                    barred.add(id(tensor))
    for layer in grouped:  # its bias has as many rows as its weight
        own = {id(tensor) for tensor in layer.parameters()}
        barred |= own if own & barred else set()
    return {tensor: groups for tensor, groups in found.items() if tensor not in barred}


def _groups(layer: nn.Module) -> int:
    if not isinstance(layer, nn.modules.conv._ConvNd) or layer.transposed:
        return 1
    made, seen = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    return 1 if goes_whole(layer.groups, made, seen) else layer.groups
