"""`fxprune eval`: a network and images → PSNR and SSIM of each, beside bicubic interpolation; images and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fxprune.cli.output import printed
from fxprune.cli.shared import guarded, with_model

if TYPE_CHECKING:
    from fxprune.cli.measuring import Measured

__all__ = ["eval_"]

LEAVES = "dead_leaves"


@click.command("eval", short_help="Measure PSNR and SSIM of a network on images.")
@click.argument("what", metavar="OUT|MODEL|bicubic")
@click.option("--scale", type=click.IntRange(1), metavar="N", help="How many times larger.  [default: as the network]")
@click.option(
    "--data",
    "folders",
    metavar="DIR",
    multiple=True,
    help=f"HR images, with their LR images or without; {LEAVES}: pictures drawn for it.  May be repeated.  "
    f"[default: {LEAVES}]",
)
@click.option("--dense", metavar="OUT|MODEL", help="The network before it was pruned, to measure beside.")
@click.option(
    "--tile",
    default=512,
    show_default=True,
    type=click.IntRange(0),
    metavar="SIZE",
    help="LR images of more than SIZE x SIZE pixels are cut up; 0: never.",
)
@click.option(
    "--overlap",
    default=64,
    show_default=True,
    type=click.IntRange(0),
    metavar="PIXELS",
    help="How far a tile sees beyond its sides.",
)
@click.option("--self-ensemble", "ensemble", is_flag=True, help="The mean over the eight turns and flips of an image.")
@click.option(
    "--range",
    "peak",
    type=click.Choice(["auto", "1", "255"]),
    default="auto",
    show_default=True,
    help="The network's value for white.",
)
@click.option("--save", metavar="DIR", help="Write the network's images, DIR/SET/IMAGE.png.")
@click.option(
    "--picture", metavar="FILE", help="Draw LR, bicubic, the networks and HR side by side: .png, .jpg, .webp."
)
@click.option("--image", metavar="NAME", help="Of which image.  [default: the one that bicubic gets most wrong]")
@click.option(
    "--crop",
    default=64,
    show_default=True,
    type=click.IntRange(8),
    metavar="PIXELS",
    help="How much of it, HR pixels each way.",
)
@with_model
def eval_(what: str, as_json: bool, **given: Any) -> None:
    """Measure PSNR and SSIM of a network on images, on Y and RGB, beside bicubic interpolation.

    OUT is a folder that fxprune wrote. DIR holds HR images, in HR/ or by themselves, with LR/ or without (they are
    made then, as MATLAB's bicubic imresize does), or folders of such sets; the layouts of DIV2K, BasicSR and KAIR are
    known. --set, --weights and --input are for MODEL; where that is an OUT, for --dense.

    \b
    fxprune eval zoo:edsr --weights edsr.pth --data Set5 --data Set14
    fxprune eval out/half-edsr --dense zoo:edsr --weights edsr.pth --data Set5 --picture set5.png
    """
    if given["image"] and not given["picture"]:
        raise click.UsageError("--image says what --picture draws: give both")
    with guarded():
        from fxprune.cli.measuring import Wish, measure

        measured = measure(Wish(what, **given))
    told(measured, as_json)


def told(measured: Measured, as_json: bool) -> None:
    """Results on stdout."""
    from fxprune.cli.scores import facts, table
    from fxprune.view.terminal import show

    if as_json:
        printed(measured.to_json())
    else:
        show("", table(measured), "", facts(measured))
