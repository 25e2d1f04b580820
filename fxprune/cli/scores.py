"""What was measured → a table, an image a row and a network a column, and what has to be said about it."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from fxprune.cli.measuring import Measured, lr_of
from fxprune.train.metrics import Score

__all__ = ["facts", "table"]


def table(measured: Measured) -> Table:
    """PSNR on Y in dB, and SSIM, of every image and the mean of every set; the mean on RGB below.

    The last columns are the PSNR of the network asked for over that of bicubic interpolation and of the dense one.
    """
    names = [row.contender.name for row in measured.rows]
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("", "size", *names, *(f"over {name}" for name in others(names))):
        made.add_column(title, justify="right" if title else "left", no_wrap=True)
    sets = {one.name: one for one in measured.sets}
    for of_set in zip(*(row.evaluation.sets for row in measured.rows), strict=True):
        one = sets[of_set[0].name]
        made.add_row(Text(f"{one.name} x{one.scale}", "bold"))
        for images in zip(*(found.images for found in of_set), strict=True):
            size = f"{images[0].width}x{images[0].height}"
            scores = [image.scores[0] for image in images]
            made.add_row(Text(f"  {images[0].name}"), Text(size, "dim"), *cells(scores))
        for k, title in enumerate(("mean", "mean, RGB")):
            scores = [found.means[k] for found in of_set]
            made.add_row(Text(f"  {title}", "" if k else "bold"), "", *cells(scores, "dim" if k else "bold"))
    return made


def others(names: list[str]) -> list[str]:
    """The networks that the last one is compared with: bicubic interpolation and the dense one."""
    return ["bicubic", *(["dense"] if len(names) > 2 else [])] if len(names) > 1 else []


def cells(scores: list[Score], style: str = "") -> list[Text]:
    """One row's scores and gains."""
    shown = [Text(f"{score.psnr:.2f} {score.ssim:.4f}", style) for score in scores]
    *before, last = scores
    return [*shown, *(gain(last.psnr - other.psnr) for other in before)]


def gain(decibels: float) -> Text:
    """A difference with its sign, in colour where it can be seen."""
    if not math.isfinite(decibels):
        return Text("")
    shown = f"{decibels:+.2f}"
    return Text(shown, "green" if decibels >= 0.005 else "red" if decibels <= -0.005 else "dim")


def facts(measured: Measured) -> Table:
    """The protocol, the networks, notes, and what was written."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    first = measured.rows[0].evaluation
    crop = first.protocols[0].crop
    made.add_row(
        "protocol", f"PSNR (dB) and SSIM on Y of YCbCr, {crop} pixels cropped at each side; RGB where it says so"
    )
    for one in measured.sets:
        made.add_row("images", Text(f"{one.name}: {len(one.pairs)}, {one.layout}, LR {lr_of(one)}"))
    for row in measured.rows[1:]:
        ensemble = ", self-ensemble" if row.contender.setup.ensemble else ""
        made.add_row("network", Text(f"{row.contender.name}: {row.parameters:,} parameters{ensemble}"))
    for note in measured.notes:
        made.add_row("note", Text(note))
    if measured.saved:
        made.add_row("saved", Text(f"{measured.saved}/"))
    if measured.picture:
        made.add_row("picture", Text(f"{measured.picture}: {measured.pictured}"))
    return made
