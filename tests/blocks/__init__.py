"""Building blocks of random networks: each takes images (batch, channels, height, width) and gives images back.

`out` is the number of channels of each output, `zoom` what the block does to height and width. All that a network in
the wild does to channels should be here at least once.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.blocks.attention import (
    ChannelAttention,
    channel_attention,
    efficient,
    mlp,
    multi_head,
    spatial_attention,
    token_attention,
    transposed_attention,
)
from tests.blocks.base import Block, Call, Plain, divisors
from tests.blocks.convs import (
    conv,
    depthwise,
    functional,
    grouped,
    grouped_transposed,
    mixed,
    strided,
    transposed,
    unfolded,
    weight_normed,
    weight_normed_old,
)
from tests.blocks.pointwise import across, activation, elementwise, layer_norm, norm
from tests.blocks.structure import (
    Scale,
    cat,
    combine,
    constant,
    gated,
    partial,
    pixel_shuffle,
    pixel_unshuffle,
    repeated,
    resize,
    scale,
    shuffle,
    split,
)

__all__ = ["BLOCKS", "Block", "Call", "ChannelAttention", "Plain", "Scale", "divisors"]

# kind → (how to draw one, how many inputs, whether these have equally many channels, how often)
BLOCKS: dict[str, tuple[Callable[..., Block | None], int, bool, int]] = {
    "activation": (activation, 1, False, 6),
    "across": (across, 1, False, 4),
    "cat": (cat, 2, False, 6),
    "cat of three": (cat, 3, False, 2),
    "channel_attention": (channel_attention, 1, False, 3),
    "combine": (combine, 2, True, 10),
    "constant": (constant, 1, False, 2),
    "conv": (conv, 1, False, 14),
    "depthwise": (depthwise, 1, False, 3),
    "efficient": (efficient, 1, False, 1),
    "elementwise": (elementwise, 1, False, 6),
    "functional": (functional, 1, False, 3),
    "gated": (gated, 1, False, 3),
    "grouped": (grouped, 1, False, 4),
    "grouped_transposed": (grouped_transposed, 1, False, 2),
    "layer_norm": (layer_norm, 1, False, 3),
    "mixed": (mixed, 1, False, 2),
    "mlp": (mlp, 1, False, 2),
    "multi_head": (multi_head, 1, False, 1),
    "norm": (norm, 1, False, 5),
    "partial": (partial, 1, False, 2),
    "pixel_shuffle": (pixel_shuffle, 1, False, 3),
    "pixel_unshuffle": (pixel_unshuffle, 1, False, 2),
    "repeated": (repeated, 1, False, 2),
    "resize": (resize, 1, False, 2),
    "scale": (scale, 1, False, 4),
    "shuffle": (shuffle, 1, False, 3),
    "spatial_attention": (spatial_attention, 1, False, 2),
    "split": (split, 1, False, 6),
    "strided": (strided, 1, False, 2),
    "token_attention": (token_attention, 1, False, 2),
    "transposed": (transposed, 1, False, 2),
    "transposed_attention": (transposed_attention, 1, False, 2),
    "unfolded": (unfolded, 1, False, 1),
    "weight_normed": (weight_normed, 1, False, 1),
    "weight_normed_old": (weight_normed_old, 1, False, 1),
}
