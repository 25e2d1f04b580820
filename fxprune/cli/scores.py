"""What was measured → a table, an image a row and a network a column, and what has to be said about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fxprune.cli.images import lr_of
from fxprune.cli.measuring import Measured
from fxprune.train.metrics import Score

__all__ = ["facts", "table"]

GAINS = ("over bicubic", "over dense")  # columns, of the network asked for


def table(measured: Measured) -> Table:
    """PSNR on Y in dB, and SSIM, of every image and the mean of every set; the mean on RGB below.

    The last columns are the PSNR of the network asked for over that of bicubic interpolation and of the dense one.
    """
    names = [row.contender.name for row in measured.rows]
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    made.add_column()
    for title in ("size", *(f"{name}\nPSNR   SSIM" for name in names)):
        made.add_column(title, justify="right", no_wrap=True)
    for title in GAINS[: len(names) - 1]:
        made.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
    for of_set in zip(*(row.evaluation.sets for row in measured.rows), strict=True):
        made.add_row(Text(f"{of_set[0].name} x{measured.scale}", "bold"))
        for images in zip(*(found.images for found in of_set), strict=True):
            size = f"{images[0].width}x{images[0].height}"
            made.add_row(Text(f"  {images[0].name}"), Text(size, "dim"), *cells([image.scores[0] for image in images]))
        for title, scores in zip(
            ("mean", "mean, RGB"), zip(*(found.means for found in of_set), strict=True), strict=True
        ):
            style = "bold" if title == "mean" else "dim"
            made.add_row(Text(f"  {title}", style), "", *cells(scores, style))
    return made


def cells(scores: Sequence[Score], style: str = "") -> list[Text]:
    """One row's scores and gains."""
    *before, last = scores
    shown = [Text(f"{score.psnr:.2f} {score.ssim:.4f}", style) for score in scores]
    return [*shown, *(gain(last.psnr - other.psnr) for other in before)]


def gain(decibels: float) -> Text:
    """A difference with its sign, in colour where there is some; nothing where images were equal."""
    if not math.isfinite(decibels):
        return Text("")
    shown = f"{decibels:+.2f}"
    return Text(shown, "dim" if float(shown) == 0 else "green" if decibels > 0 else "red")


def facts(measured: Measured) -> Table:
    """The protocol, the networks, notes, and what was written."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    crop = measured.rows[0].evaluation.protocols[0].crop
    made.add_row(
        "protocol", f"PSNR (dB) and SSIM on Y of YCbCr, {crop} pixels cropped at each side; RGB where it says so"
    )
    counts = {one.name: len(one.images) for one in measured.rows[0].evaluation.sets}
    sources = {one.name: lr_of(one) for one in measured.sets if one.name in counts}
    for source in dict.fromkeys(sources.values()):
        alike = ", ".join(f"{counts[name]} of {name}" for name, made_so in sources.items() if made_so == source)
        made.add_row("images", Text(f"{alike}; LR images {source}"))
    for row in measured.rows[1:]:
        ensemble = ", self-ensemble" if row.contender.setup.ensemble else ""
        made.add_row("network", Text(f"{row.contender.name}: {row.parameters:,} parameters{ensemble}"))
    for note in measured.notes:
        made.add_row("note", Text(note))
    if measured.saved:
        made.add_row("saved", Text(f"the images of {measured.rows[-1].contender.name} in {measured.saved}"))
    if measured.picture:
        made.add_row("picture", Text(f"{measured.picture}: {measured.pictured}"))
    return made
