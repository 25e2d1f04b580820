"""Names → networks for the coverage table: the zoo's, and each architecture of spandrel at a size that runs in seconds.

Depth is cut where a network repeats the same block, width where it is large for no reason of structure. Nothing else
is changed: what a block does is what the real network does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fxprune import zoo
from fxprune.models.example import guess_channels
from fxprune.models.spandrel import Size, library, recognised, sizes_for

__all__ = ["NAMES", "Case", "build"]

ZOO: dict[str, dict[str, Any]] = {
    **{name: {} for name in zoo.NETWORKS},
    "edsr_large": {"blocks": 2},
    "hat": {"groups": 2, "blocks": 2},
    "hat_small": {"groups": 2, "blocks": 2},
    "nafssr": {"blocks": 2},
    "rcan": {"groups": 2, "blocks": 2},
    "rdn": {"blocks": 2, "scale": 2},
    "rrdb": {"blocks": 2},
    "swinir": {"groups": 2, "scale": 2},
    "swinir_light": {"groups": 2},
}

WINDOWS = {"depths": [2, 2], "num_heads": [6, 6], "embed_dim": 60, "upsampler": "pixelshuffledirect", "upscale": 2}

SPANDREL: dict[str, dict[str, Any]] = {
    "ATD.ATD": {
        "depths": (2, 2),
        "num_heads": (6, 6),
        "embed_dim": 60,
        "upscale": 2,
        "upsampler": "pixelshuffledirect",
    },
    "AuraSR.AuraSR": {
        "dim": 32,
        "image_size": 64,
        "input_image_size": 16,
        "style_network": {"dim_in": 32, "dim_out": 128, "depth": 2, "dim_text_latent": 0},
        "mid_attn_depth": 1,
        "attn_depths": (1, 1, 1, 1, 1),
    },
    "CRAFT.CRAFT": {"depths": [2, 2], "num_heads": [6, 6]},
    "Compact.Compact": {"num_conv": 4},
    "DAT.DAT": {"depth": [2, 2], "num_heads": [2, 2], "embed_dim": 60, "split_size": [8, 16]},
    "DCTLSA.DCTLSA": {"nf": 25},
    "DITN.DITN": {"ITL_blocks": 1, "SAL_blocks": 1},
    "DRCT.DRCT": {
        "depths": (2, 2),
        "num_heads": (6, 6),
        "embed_dim": 60,
        "window_size": 8,
        "gc": 12,
        "upscale": 4,
        "upsampler": "pixelshuffle",
    },
    "DRUNet.DRUNet": {"in_nc": 4, "out_nc": 3, "nc": [16, 32, 64, 128], "nb": 2},
    "DnCNN.DnCNN": {"in_nc": 3, "out_nc": 3, "nb": 6},
    "ESRGAN.ESRGAN": {"num_blocks": 2},
    "ESRGAN.ESRGAN+": {"num_blocks": 2, "plus": True},
    "ESRGAN.ESRGAN-unshuffle": {"num_blocks": 2, "scale": 2, "shuffle_factor": 2},
    "FBCNN.FBCNN": {"nb": 2},
    "FDAT.FDAT": {"num_groups": 2, "depth_per_group": 2, "embed_dim": 64},
    "FFTformer.FFTformer": {"dim": 16, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    "GFPGAN.GFPGAN": {},
    "GRL.GRL": {
        "depths": [2, 2],
        "num_heads_window": [3, 3],
        "num_heads_stripe": [3, 3],
        "embed_dim": 48,
        "upscale": 2,
        "upsampler": "pixelshuffledirect",
        "anchor_window_down_factor": 2,
        "out_proj_type": "linear",
    },
    "HAT.HAT": {
        "depths": (2, 2),
        "num_heads": (6, 6),
        "embed_dim": 60,
        "window_size": 8,
        "squeeze_factor": 10,
        "upscale": 4,
    },
    "HVICIDNet.HVICIDNet": {},
    "IPT.IPT": {"n_feats": 16, "scale": [2], "num_heads": 4, "num_layers": 1},
    "KBNet.KBNet_l": {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
    "KBNet.KBNet_s": {"width": 16, "middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 1], "dec_blk_nums": [1, 1, 1, 1]},
    "LaMa.LaMa": {"in_nc": 4},
    "MMRealSR.MMRealSR": {"num_in_ch": 3, "num_out_ch": 3, "num_block": 2},
    "MixDehazeNet.MixDehazeNet": {},
    "MoESR.MoESR": {"n_blocks": 2, "n_block": 2},
    "MoSR.MoSR": {"n_block": 4},
    "NAFNet.NAFNet": {"enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    "OmniSR.OmniSR": {"res_num": 2, "block_num": 1},
    "PLKSR.PLKSR": {"n_blocks": 4},
    "PLKSR.RealPLKSR": {"n_blocks": 4},
    "PLKSR.RealPLKSR-dysample": {"n_blocks": 4, "dysample": True, "layer_norm": True},
    "RCAN.RCAN": {"n_resgroups": 2, "n_resblocks": 2},
    "RGT.RGT": {"depth": [2, 2], "num_heads": [2, 2], "embed_dim": 60},
    "RealCUGAN.UpCunet2x": {},
    "RealCUGAN.UpCunet2x_fast": {},
    "RealCUGAN.UpCunet3x": {},
    "RealCUGAN.UpCunet4x": {},
    "RestoreFormer.RestoreFormer": {"ch": 32, "num_res_blocks": 1},
    "RetinexFormer.RetinexFormer": {"stage": 1},
    "SAFMN.SAFMN": {"dim": 36, "n_blocks": 4},
    "SAFMNBCIE.SAFMNBCIE": {"dim": 32, "n_blocks": 2, "num_layers": 2},
    "SCUNet.SCUNet": {"config": [2, 2, 2, 2, 2, 2, 2]},
    "SPAN.SPAN": {"num_in_ch": 3, "num_out_ch": 3},
    "SeemoRe.SeemoRe": {"num_layers": 2, "embedding_dim": 36},
    "SwiftSRGAN.SwiftSRGAN": {"num_blocks": 4},
    "Swin2SR.Swin2SR": {**WINDOWS, "window_size": 8},
    "SwinIR.SwinIR": {**WINDOWS, "window_size": 8},
    "Uformer.Uformer": {"embed_dim": 16, "depths": [1] * 9},
}

NAMES = (*(f"zoo:{name}" for name in ZOO), *(f"spandrel:{name}" for name in SPANDREL))


@dataclass(frozen=True, slots=True)
class Case:
    """A network of the table."""

    module: nn.Module  # no parameter is all zero
    example: tuple[torch.Tensor, ...]
    others: tuple[tuple[torch.Tensor, ...], ...]  # inputs to compare at: three sizes, if it takes as many
    remark: str = ""  # what is not as it should be


def build(name: str) -> Case:
    """Build a network of the table, its weights random.

    One of spandrel's is built, and then built anew from its own weights, as a user's checkpoint would be.
    """
    torch.manual_seed(0)
    family, _, which = name.partition(":")
    if family == "zoo":
        module = awake(zoo.build(which, **ZOO[which]))
        channels = 6 if which == "nafssr" else guess_channels(module)  # two views, one upon the other
        return case(module, channels, *sizes_for())
    library()
    architecture, _, title = which.partition(".")
    package = importlib.import_module(f"spandrel.architectures.{architecture}")
    made: Callable[..., nn.Module] = getattr(package, title.partition("-")[0].removesuffix("+"))
    module = awake(made(**SPANDREL[which]))
    try:
        known = recognised(module.state_dict(), which)
    except Exception as error:
        return case(module, 3, *sizes_for(16, 16), remark=f"not from a checkpoint: {type(error).__name__}: {error}")
    if known is None:
        return case(module, 3, *sizes_for(16, 16), remark="not from a checkpoint: spandrel does not know it")
    return case(known.module, known.channels, known.example, known.sizes)


def case(module: nn.Module, channels: int, example: Size, others: tuple[Size, ...], remark: str = "") -> Case:
    """Random images of these sizes; a network that fills holes gets a mask besides."""

    def images(size: Size, batch: int = 1) -> tuple[torch.Tensor, ...]:
        image = torch.rand(batch, channels, *size)
        return (image, torch.rand(batch, 1, *size).round()) if type(module).__name__ == "LaMa" else (image,)

    return Case(module, images(example), tuple(images(size) for size in others), remark)


def awake(module: nn.Module) -> nn.Module:
    """Give random values to parameters that are all zero, or next to it: behind them nothing could be compared."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point() and parameter.numel() and float(parameter.abs().max()) < 1e-2:
                parameter.normal_(0, 0.1)
    return module
