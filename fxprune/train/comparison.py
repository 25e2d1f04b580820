"""One image as several upscalers make it → a picture: the whole, and one crop of each, PSNR and SSIM under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import uniform_filter

from fxprune.train.metrics import Protocol, Score, luma
from fxprune.train.pictures import Pair, read_pair
from fxprune.train.resize import Pixels, upscale
from fxprune.train.upscaling import Contender, super_resolve

__all__ = ["Panel", "compare", "comparison_picture", "telling_crop"]

SIDE = 240  # pixels a panel has at least, each way
GAP, LINE = 8, 18  # between panels; height of a line of text
FONT = 13  # pixels
WIDEST = 2  # the whole image's width over its height, at most
MARK = "#ff2d2d"  # the frame around the crop


@dataclass(frozen=True, slots=True)
class Panel:
    """One upscaler's image."""

    label: str
    image: Pixels  # uint8 H×W×3, as large as the HR image
    score: Score | None  # of the whole image, not the crop; None: nothing to measure


def compare(
    pair: Pair, scale: int, contenders: Sequence[Contender], *, crop: int = 64, title: str | None = None
) -> Image.Image:
    """LR, bicubic, each contender, and HR: a square of `crop` HR pixels where bicubic errs most, and where it lies.

    PSNR-Y and SSIM-Y of the whole image, the scale cropped, stand under each.
    """
    protocol = Protocol("Y", scale)
    lr, hr = read_pair(pair, scale)
    bicubic = upscale(lr, scale)
    made = [("bicubic", bicubic)]
    made += [(one.name, super_resolve(one.model, lr, scale, one.setup)) for one in contenders]
    blocks = np.repeat(np.repeat(lr, scale, axis=0), scale, axis=1)
    panels = [
        Panel("LR", blocks, None),
        *(Panel(label, image, protocol.score(image, hr)) for label, image in made),
        Panel("HR", hr, None),
    ]
    side = min(crop, *hr.shape[:2])
    said = f"{title or pair.name} x{scale}: PSNR and SSIM on {protocol.name}, of the whole image"
    return comparison_picture(panels, telling_crop(bicubic, hr, side), said)


def telling_crop(image: Pixels, truth: Pixels, side: int) -> tuple[int, int, int]:
    """(top, left, side) of the square, inside two images of one size, in which they differ most on Y."""
    error = np.square(luma(image) - luma(truth))
    mean = uniform_filter(error, size=side, mode="constant")
    first = side // 2  # the filter's value at p covers p − side//2 onwards
    inside = mean[first : first + error.shape[0] - side + 1, first : first + error.shape[1] - side + 1]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return int(top), int(left), side


def comparison_picture(panels: Sequence[Panel], crop: tuple[int, int, int], title: str) -> Image.Image:
    """A row: the last panel's whole image with the crop framed, then the crop of each panel, under a title.

    Args:
        panels: images of one size.
        crop: top, left and side of a square in them; enlarged by whole pixels.
        title: one line.
    """
    top, left, side = crop
    zoom = max(1, -(-SIDE // side))
    edge = side * zoom
    whole = overview(panels[-1].image, crop, edge)
    size = 2 * GAP + whole.width + len(panels) * (edge + GAP), LINE + edge + 2 * LINE + 3 * GAP
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=FONT)
    draw.text((GAP, GAP // 2), title, fill="black", font=font)
    sheet.paste(whole, (GAP, LINE + GAP))
    for number, panel in enumerate(panels):
        x, y = 2 * GAP + whole.width + number * (edge + GAP), LINE + GAP
        piece = np.ascontiguousarray(panel.image[top : top + side, left : left + side])
        sheet.paste(Image.fromarray(piece).resize((edge, edge), Image.Resampling.NEAREST), (x, y))
        lines = [panel.label] + ([f"{panel.score.psnr:.2f} dB / {panel.score.ssim:.4f}"] if panel.score else [])
        for row, text in enumerate(lines):
            place = x + edge // 2, y + edge + GAP + LINE // 2 + row * LINE
            draw.text(place, shortened(text, edge, font), fill="black", font=font, anchor="mm")
    return sheet


def overview(image: Pixels, crop: tuple[int, int, int], height: int) -> Image.Image:
    """An image made `height` pixels high, the crop framed in it; the sides of a very wide one are left out."""
    rows, columns = image.shape[:2]
    top, left, side = crop
    seen = min(columns, WIDEST * rows)
    first = min(max(0, left + side // 2 - seen // 2), columns - seen)
    part = Image.fromarray(np.ascontiguousarray(image[:, first : first + seen]))
    ratio = height / rows
    whole = part.resize((max(1, round(seen * ratio)), height), Image.Resampling.LANCZOS)
    corners = (left - first, top, left - first + side, top + side)
    box = [min(round(value * ratio), limit - 1) for value, limit in zip(corners, whole.size * 2, strict=True)]
    ImageDraw.Draw(whole).rectangle(box, outline=MARK, width=2)
    return whole


def shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text, its middle left out where it is wider than that many pixels."""
    shown, kept = text, len(text)
    while kept > 8 and font.getlength(shown) > width:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - kept + kept // 2 :]}"
    return shown
