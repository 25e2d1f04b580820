"""One image as several upscalers make it → a picture of the same crop side by side, PSNR and SSIM under each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import uniform_filter

from fxprune.train.evaluate import Contender, super_resolve
from fxprune.train.metrics import Protocol, Score, luma
from fxprune.train.pictures import Pair, read_pair
from fxprune.train.resize import Pixels, upscale

__all__ = ["Panel", "compare", "comparison_picture", "telling_crop"]

SIDE = 240  # pixels a panel has at least, each way
GAP, LINE = 8, 18  # between panels; height of a line of text
FONT = 13  # pixels


@dataclass(frozen=True, slots=True)
class Panel:
    """One upscaler's image."""

    label: str
    image: Pixels  # uint8 H×W×3, as large as the HR image
    score: Score | None  # of the whole image, not the crop; None: nothing to measure


def compare(pair: Pair, scale: int, contenders: Sequence[Contender], *, crop: int = 64) -> Image.Image:
    """LR, bicubic, each contender, and HR: a square of `crop` HR pixels where bicubic errs most.

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
    return comparison_picture(panels, telling_crop(bicubic, hr, side), f"{pair.name} x{scale}, {protocol.name}")


def telling_crop(image: Pixels, truth: Pixels, side: int) -> tuple[int, int, int]:
    """(top, left, side) of the square, inside two images of one size, in which they differ most on Y."""
    error = np.square(luma(image) - luma(truth))
    mean = uniform_filter(error, size=side, mode="constant")
    first = side // 2  # the filter's value at p covers p − side//2 onwards
    inside = mean[first : first + error.shape[0] - side + 1, first : first + error.shape[1] - side + 1]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return int(top), int(left), side


def comparison_picture(panels: list[Panel], crop: tuple[int, int, int], title: str) -> Image.Image:
    """The crop (top, left, side; HR pixels) of each panel, enlarged by whole pixels, in one row under a title."""
    top, left, side = crop
    zoom = max(1, -(-SIDE // side))
    edge = side * zoom
    size = GAP + len(panels) * (edge + GAP), LINE + edge + 2 * LINE + 2 * GAP
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=FONT)
    draw.text((GAP, GAP // 2), title, fill="black", font=font)
    for number, panel in enumerate(panels):
        x, y = GAP + number * (edge + GAP), LINE + GAP
        piece = np.ascontiguousarray(panel.image[top : top + side, left : left + side])
        sheet.paste(Image.fromarray(piece).resize((edge, edge), Image.Resampling.NEAREST), (x, y))
        lines = [panel.label] + ([f"{panel.score.psnr:.2f} dB / {panel.score.ssim:.4f}"] if panel.score else [])
        for row, text in enumerate(lines):
            draw.text((x + edge // 2, y + edge + LINE // 2 + row * LINE), text, fill="black", font=font, anchor="mm")
    return sheet
