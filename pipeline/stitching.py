"""Windows that cover a space: laid out as a grid, weighted, put together again."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

CACHED = 2**16  # values worked on at once
FLOOR = 1e-3  # of the largest Gaussian weight along an axis: the corners of an image lie in one window alone


def box(corner: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices that cut a box out of an array."""
    return tuple(slice(start, start + length) for start, length in zip(corner, shape, strict=True))


def starts(length: int, patch: int, overlap: int) -> tuple[int, ...]:
    """Return where windows begin along one axis: 0, s, 2s, ... with s = patch - overlap, the last ending with the axis.

    The same places as MIScnn's; an axis that is not longer than the window has one, at 0.
    """
    last = max(length - patch, 0)
    return (*range(0, last, patch - overlap), last)


@dataclass(frozen=True)
class Grid:
    """Overlapping windows that cover a space.

    Args:
        shape: Pixels per axis of the space, at least those of a window.
        patch: Pixels per axis of a window.
        starts: First pixels of the windows, per axis.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def over(cls, shape: Sequence[int], patch: Sequence[int], overlap: Sequence[int]) -> Self:
        """Lay a grid over a space, which grows to one window where it is smaller."""
        places = tuple(starts(*axis) for axis in zip(shape, patch, overlap, strict=True))
        return cls(tuple(map(max, shape, patch)), tuple(patch), places)

    @property
    def corners(self) -> list[tuple[int, ...]]:
        """First pixels of all windows, in the order of the array."""
        return list(itertools.product(*self.starts))


@lru_cache
def axis_weights(places: tuple[int, ...], patch: int, blend: str) -> np.ndarray:
    """Return the weight of each pixel of each window along one axis, (windows, patch), float32.

    A pixel's weight is the product over the axes. The weights of all windows add up to 1 in every pixel, so that
    putting windows together is a weighted sum.

    Args:
        places: First pixel of each window, rising; no gaps between windows.
        patch: Pixels of a window.
        blend: ``gaussian`` has a standard deviation of an eighth of the window about its centre (nnU-Net, MONAI) and a
            floor of 0.001 of the maximum; ``uniform`` counts all windows alike; ``miscnn`` halves what is there before
            each window is added (row 7 of docs/pipeline.md), which favours the last window where three or more meet.
    """
    weights = np.ones((len(places), patch))
    total = np.zeros(places[-1] + patch)
    if blend == "gaussian":
        distance = (np.arange(patch) - (patch - 1) / 2) / (patch / 8)
        bell = np.exp(-0.5 * distance**2)
        weights[:] = np.maximum(bell / bell.max(), FLOOR)
    if blend == "miscnn":
        for index, (before, start) in enumerate(itertools.pairwise(places), start=1):
            shared = before + patch - start
            weights[index, :shared] = 0.5
            for earlier in range(index):
                weights[earlier, max(start - places[earlier], 0) :] /= 2
    for start, weight in zip(places, weights, strict=True):
        total[start : start + patch] += weight
    return np.stack([w / total[s : s + patch] for s, w in zip(places, weights, strict=True)]).astype(np.float32)


def stitch(
    grid: Grid,
    patches: Iterator[np.ndarray],
    blend: str,
    reduce: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Put windows together, each as soon as it comes.

    Along axis 0 rows are finished once no later window touches them. With ``reduce`` only what it makes of finished
    rows is kept, so that memory does not grow with the length of axis 0.

    Args:
        grid: The windows.
        patches: Class-first values (K, *patch) of each window, in the order of ``grid.corners``.
        blend: See ``axis_weights``.
        reduce: Turns finished rows (K, rows, *space) into (rows, *space), uint8; None keeps all.

    Returns:
        (K, *shape), float32, or (*shape), uint8.
    """
    first = next(patches)
    if grid.patch == grid.shape:
        return first if reduce is None else reduce(first)
    patches = itertools.chain([first], patches)
    weights = [axis_weights(places, length, blend) for places, length in zip(grid.starts, grid.patch, strict=True)]
    depth, *across = grid.shape
    sums = np.zeros((len(first), depth if reduce is None else grid.patch[0], *across), np.float32)
    kept = sums if reduce is None else np.empty(grid.shape, np.uint8)
    corners = [*itertools.product(*map(enumerate, grid.starts[1:]))]
    base = 0
    for layer, (start, stop) in enumerate(itertools.pairwise((*grid.starts[0], depth))):
        rows = sums[:, start - base : start - base + grid.patch[0]]
        for corner in corners:
            window = box([place for _, place in corner], grid.patch[1:])
            plane = _outer([axis[index] for axis, (index, _) in zip(weights[1:], corner, strict=True)])
            _add(rows[:, :, *window], next(patches), weights[0][layer], plane)
        if reduce is not None:
            kept[start:stop] = reduce(rows[:, : stop - start])
            _scroll(sums, stop - start)
            base = stop
    return kept


def rows_at_once(shape: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of class-first values (K, *space) in blocks that fit a processor's cache, as windows do not."""
    classes, length, *across = shape
    step = max(1, CACHED // (classes * math.prod(across)))
    return (slice(start, start + step) for start in range(0, length, step))


def _add(sums: np.ndarray, patch: np.ndarray, weights: np.ndarray, plane: np.ndarray) -> None:
    """Add a window (K, *patch) times its weights."""
    for rows in rows_at_once(patch.shape):
        sums[:, rows] += patch[:, rows] * _outer([weights[rows], plane])


def _scroll(sums: np.ndarray, rows: int) -> None:
    """Drop the first rows of (K, rows, *space), move the others up, and clear what is free."""
    left = sums.shape[1] - rows
    for row in range(left):
        sums[:, row] = sums[:, row + rows]
    sums[:, left:] = 0


def _outer(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the products of one value per axis, an array with those axes."""
    product = np.ones((), np.float32)
    for axis in axes:
        product = np.multiply.outer(product, axis)
    return product
