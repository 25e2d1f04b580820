"""Image sets → batches of random LR and HR patches, each a function of (seed, step, place in the batch) alone.

So a run resumes at any step with the batches it would have had, whatever the number of workers or processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from fxprune.errors import InputError
from fxprune.train.draws import Stream, philox
from fxprune.train.pictures import ImageSet, Pair, read_hr, read_lr
from fxprune.train.resize import MARGIN, Pixels, downscale

__all__ = ["PatchSource"]


class PatchSource:
    """Random patches of some image sets, in batches.

    Args:
        sets: the images; all of one scale.
        patch: height and width of an LR patch, in LR pixels.
        batch: patches per step, over all processes.
        seed: of the choice of patches.
        rank, world: this process and how many there are; each gets batch / world patches, in order.
        flip: mirror half of the patches left to right, and half top to bottom.
        rotate: turn half of the patches (with the flips: all eight orientations).
        cache_bytes: decoded images kept in memory, at most; those that do not fit are decoded at each use.
            None: a quarter of the machine's memory, shared between the processes.

    Raises:
        InputError: sets of several scales, no image as large as a patch, or a batch that does not divide by world.
    """

    def __init__(
        self,
        sets: Sequence[ImageSet],
        *,
        patch: int,
        batch: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        flip: bool = True,
        rotate: bool = True,
        cache_bytes: int | None = None,
    ) -> None:
        scales = {one.scale for one in sets}
        if len(scales) != 1:
            raise InputError(f"training images of the scales {sorted(scales)}", hint="one scale at a time")
        if patch < 1 or batch < 1 or batch % world:
            hint = f"at least one patch of one pixel, and as many for each of the {world} processes"
            raise InputError(f"a batch of {batch} patches of {patch}x{patch} pixels", hint=hint)
        self.scale, self.patch, self.batch_size, self.seed = scales.pop(), patch, batch, seed
        self.places = range(rank * batch // world, (rank + 1) * batch // world)
        self.flip, self.rotate = flip, rotate
        pairs = [pair for one in sets for pair in one.pairs]
        enough = patch * self.scale
        self.pairs = tuple(pair for pair in pairs if min(pair.height, pair.width) >= enough)
        self._notes = {note: None for one in sets for note in one.notes}  # a dict: each once, in order
        self._notes.update({_too_small(pair, enough): None for pair in pairs if min(pair.height, pair.width) < enough})
        if not self.pairs:
            hint = next(reversed(self._notes), "there are none at all")
            raise InputError(f"no training image has {enough}x{enough} pixels", hint=hint)
        budget = _quarter_of_memory() // world if cache_bytes is None else cache_bytes
        room = np.cumsum([pair.height * pair.width * 3 * (1 + 1 / self.scale**2) for pair in self.pairs])
        self._kept = int(np.searchsorted(room, budget, side="right"))  # how many images are kept, once decoded
        self._cache: dict[int, tuple[Pixels, Pixels]] = {}
        self._locks = [Lock() for _ in range(self._kept)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out and why: too small, damaged, without a partner. Grows as damaged files are met."""
        return tuple(self._notes)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many patches are drawn as there are images, rounded up."""
        return -(-len(self.pairs) // self.batch_size)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """This process's LR and HR patches of a step: n×3×p×p and n×3×sp×sp, float32 in [0, 1].

        Raises:
            InputError: every training image is damaged.
        """
        windows = [self._sample(step, place) for place in self.places]
        return _values([lr for lr, _ in windows]), _values([hr for _, hr in windows])

    def steps(
        self, start: int = 0, stop: int | None = None, *, workers: int = 2
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(step, LR, HR) for each step from `start` until `stop` (None: for ever), prepared ahead by threads.

        The same for any number of workers; 0 prepares each batch when it is asked for.
        """
        if not workers:
            for step in range(start, stop if stop is not None else 2**63):
                yield step, *self.batch(step)
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="patches")
        waiting: deque[tuple[int, Future[tuple[Tensor, Tensor]]]] = deque()
        try:
            step = start
            while waiting or stop is None or step < stop:
                while len(waiting) < 2 * workers and (stop is None or step < stop):
                    waiting.append((step, pool.submit(self.batch, step)))
                    step += 1
                number, future = waiting.popleft()
                yield number, *future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _sample(self, step: int, place: int) -> tuple[Pixels, Pixels]:
        """One LR and HR patch, p×p×3 and sp×sp×3; a damaged image is noted and the next one used instead."""
        word, *corner, turn = (int(w) for w in philox(self.seed, Stream.PATCHES, step, place).random_raw(4))
        for attempt in range(len(self.pairs)):
            index = (word + attempt) % len(self.pairs)
            pair = self.pairs[index]
            y = corner[0] % (pair.height // self.scale - self.patch + 1)
            x = corner[1] % (pair.width // self.scale - self.patch + 1)
            try:
                lr, hr = self._window(index, y, x)
            except InputError as error:
                self._notes[str(error)] = None
                continue
            return self._turned(lr, turn), self._turned(hr, turn)
        raise InputError("no training image can be read", hint=self.notes[-1])

    def _turned(self, image: Pixels, turn: int) -> Pixels:
        if self.flip and turn & 1:
            image = image[:, ::-1]
        if self.flip and turn & 2:
            image = image[::-1]
        return np.swapaxes(image, 0, 1)[:, ::-1] if self.rotate and turn & 4 else image

    def _window(self, index: int, y: int, x: int) -> tuple[Pixels, Pixels]:
        """The patches whose LR one has its top left at (y, x)."""
        p, s, pair = self.patch, self.scale, self.pairs[index]
        if index < self._kept:
            with self._locks[index]:
                if index not in self._cache:
                    hr = np.ascontiguousarray(read_hr(pair))
                    self._cache[index] = read_lr(pair, s, hr), hr
                lr, hr = self._cache[index]
            return lr[y : y + p, x : x + p], hr[y * s : (y + p) * s, x * s : (x + p) * s]
        hr = read_hr(pair)
        window = hr[y * s : (y + p) * s, x * s : (x + p) * s]
        if pair.lr is not None:
            return read_lr(pair, s, hr)[y : y + p, x : x + p], window
        # downscaled with its surroundings, the window comes out as it would from the whole image
        top, left = max(0, y - MARGIN), max(0, x - MARGIN)
        around = hr[top * s : (y + p + MARGIN) * s, left * s : (x + p + MARGIN) * s]
        return downscale(around, s)[y - top : y - top + p, x - left : x - left + p], window


def _too_small(pair: Pair, enough: int) -> str:
    return f"{pair.hr}: {pair.width}x{pair.height} pixels are less than a patch of {enough}x{enough}"


def _values(patches: list[Pixels]) -> Tensor:
    # in numpy, not torch: each thread that uses torch's parallel loops would start a pool of threads of its own
    levels = np.stack(patches).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.divide(levels, np.float32(255), dtype=np.float32, order="C"))


def _quarter_of_memory() -> int:
    try:
        return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES")) // 4
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 2**31
