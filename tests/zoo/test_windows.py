"""The arithmetic of windows, against loops over pixels."""

from __future__ import annotations

import pytest
import torch

from fxprune.zoo.windows import pad_to_multiple, relative_positions, shifted_mask, window_merge, window_partition


def test_partition_cuts_windows_row_by_row() -> None:
    x = torch.arange(2 * 4 * 6 * 3).view(2, 4, 6, 3)
    windows = window_partition(x, 2)
    assert windows.shape == (12, 2, 2, 3)
    assert torch.equal(windows[1], x[0, 0:2, 2:4])
    assert torch.equal(windows[6 + 3], x[1, 2:4, 0:2])
    assert torch.equal(window_merge(windows, 2, 4, 6), x)


@pytest.mark.parametrize(("window", "outer"), [(3, 3), (4, 6)])
def test_equal_offsets_share_a_bias(window: int, outer: int) -> None:
    index = relative_positions(window, outer).view(window, window, outer, outer)
    offsets: dict[int, set[tuple[int, int]]] = {}
    for i in range(window):
        for j in range(window):
            for k in range(outer):
                for m in range(outer):
                    offsets.setdefault(int(index[i, j, k, m]), set()).add((i - k, j - m))
    assert all(len(found) == 1 for found in offsets.values())
    assert sorted(offsets) == list(range((window + outer - 1) ** 2))


@pytest.mark.parametrize(("h", "w", "window", "shift"), [(8, 12, 4, 2), (6, 6, 3, 1)])
def test_mask_keeps_apart_what_the_roll_brought_together(h: int, w: int, window: int, shift: int) -> None:
    """Two pixels of a rolled window may meet if neither, or both, came round from the other edge, along each axis."""
    mask = shifted_mask(h, w, window, shift)

    def came_round(size: int) -> torch.Tensor:
        return torch.arange(size).roll(-shift) < shift

    rows, columns = came_round(h)[:, None].expand(h, w), came_round(w)[None, :].expand(h, w)
    marks = window_partition(torch.stack([rows, columns], dim=-1)[None].long(), window).view(-1, window * window, 2)
    meet = (marks[:, :, None] == marks[:, None, :]).all(-1)
    assert torch.equal(mask, torch.where(meet, 0.0, -100.0))


def test_padding_mirrors_below_and_right() -> None:
    x = torch.rand(1, 2, 5, 8)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 2, 8, 8)
    assert torch.equal(padded[:, :, :5], x)
    assert torch.equal(padded[:, :, 5], x[:, :, 3])
