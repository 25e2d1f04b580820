"""A folder with Set5 and Set14 → bicubic PSNR and SSIM beside the published ones; downscaling compared bit by bit.

    python tools/check_bicubic.py DIR       # DIR/{Set5,Set14}/x{2,3,4}/{HR,LR}/*.png

The published values are those of SRCNN's protocol: the luma of each picture, rounded to 8 bits, is scaled down and up
again in double precision, rounded to 8 bits, cropped by the scale and compared; a picture stored as greyscale is its
own luma. The columns beside them are fxprune's protocol: the 8-bit RGB picture is scaled up, its luma compared.
Exits with 1 where a published value is missed by more than its last digit or an LR picture differs in any pixel.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fxprune.train.metrics import Protocol, luma, psnr, ssim
from fxprune.train.resize import crop_to_multiple, downscale, downscale_tensor, upscale, upscale_tensor

GOLDEN = {  # (set, scale): PSNR, SSIM
    ("Set5", 2): (33.66, 0.9299),
    ("Set5", 3): (30.39, 0.8682),
    ("Set5", 4): (28.42, 0.8104),
    ("Set14", 2): (30.23, 0.8687),
    ("Set14", 3): (27.54, 0.7736),
    ("Set14", 4): (26.00, 0.7019),
}


def main(folder: Path) -> int:
    """Print one line per set and scale; the number of lines that disagree."""
    torch.set_num_threads(1)
    print("set      scale   PSNR   SSIM    golden PSNR   SSIM     ours, Y  SSIM    LR pictures bit-exact")
    wrong = 0
    for (name, scale), golden in GOLDEN.items():
        files = sorted((folder / name / f"x{scale}" / "HR").glob("*.png"))
        if not files:
            print(f"{folder / name / f'x{scale}' / 'HR'}: no pictures")
            wrong += 1
            continue
        classic = np.mean([published(file, scale) for file in files], axis=0)
        ours = np.mean([measured(file, scale) for file in files], axis=0)
        exact = sum(same_lr(file, scale) for file in files)
        good = round(classic[0], 2) == golden[0] and round(classic[1], 4) == golden[1] and exact == len(files)
        wrong += not good
        print(
            f"{name:8} x{scale}  {classic[0]:8.3f} {classic[1]:.5f}  {golden[0]:8.2f} {golden[1]:.4f}"
            f"  {ours[0]:10.3f} {ours[1]:.5f}   {exact}/{len(files)}  {'ok' if good else 'MISMATCH'}"
        )
    return wrong


def published(file: Path, scale: int) -> tuple[float, float]:
    """PSNR and SSIM of one picture by SRCNN's protocol."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    pixels = crop_to_multiple(pixels, scale)
    truth = pixels.astype(np.float64) if pixels.ndim == 2 else np.floor(luma(pixels) + 0.5)
    small = downscale_tensor(torch.from_numpy(truth)[None, None] / 255, scale, rounded=False)
    large = upscale_tensor(small, scale, rounded=False)[0, 0].numpy() * 255
    inner = slice(scale, -scale), slice(scale, -scale)
    image, truth = np.clip(np.floor(large + 0.5), 0, 255)[inner], truth[inner]
    return psnr(image, truth), ssim(image, truth)


def measured(file: Path, scale: int) -> tuple[float, float]:
    """PSNR and SSIM of one picture as `fxprune eval bicubic` measures it."""
    pixels = crop_to_multiple(read(file), scale)
    score = Protocol("Y", scale).score(upscale(downscale(pixels, scale), scale), pixels)
    return score.psnr, score.ssim


def same_lr(file: Path, scale: int) -> bool:
    """Whether the picture scaled down is the LR picture beside it."""
    return np.array_equal(
        downscale(crop_to_multiple(read(file), scale), scale), read(file.parents[1] / "LR" / file.name)
    )


def read(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.array(picture.convert("RGB"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
