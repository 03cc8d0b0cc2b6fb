"""Change the number of pixels along each axis, in any number of dimensions."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_BLOCK = 2**23  # values resized at once


def linear(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize linearly along each axis, with antialiasing where the array shrinks.

    Each new pixel is a mean of old ones, weighted by a triangle whose half-width is one old pixel or, when shrinking,
    one new pixel. Equal to Pillow's bilinear filter on float images; written here for any number of axes, and because
    Pillow would round 8-bit images to whole grey levels.

    Args:
        array: Shape (*space, C), any real type.
        shape: The new space.

    Returns:
        Shape (*shape, C), float32.
    """
    for axis, length in enumerate(shape):
        if array.shape[axis] != length:
            array = _along(array, axis, length)
    return np.ascontiguousarray(array, dtype=np.float32)


def by_parts(
    parts: Iterable[tuple[tuple[slice, ...], np.ndarray]],
    old: Sequence[int],
    new: Sequence[int],
    resize: Callable[[np.ndarray, Sequence[int]], np.ndarray],
) -> np.ndarray:
    """Resize an array that comes in parts, each along its whole axes first, so that little is held at once.

    Args:
        parts: Where each goes in the old space, partial along one axis at most, and its values.
        old: The old space.
        new: The new space.
        resize: ``linear`` or ``nearest``.

    Returns:
        An array of its own, which may be changed in place.
    """
    gathered: np.ndarray | None = None
    for place, part in parts:
        whole = [span == slice(None) for span in place]
        resized = resize(part, np.where(whole, new, part.shape[: len(new)]).tolist())
        if all(whole):
            return resized.copy() if np.may_share_memory(resized, part) else resized
        if gathered is None:
            lengths = np.where(whole, new, old).tolist()
            gathered = np.empty((*lengths, *part.shape[len(new) :]), resized.dtype)
        gathered[place] = resized
    assert gathered is not None
    return resize(gathered, new)


def _along(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Resize along one axis, in blocks: the product copies its input as float32, and scans hold 278 million voxels."""
    moved = np.moveaxis(array, axis, 0)
    weights = _triangles(moved.shape[0], length)
    resized = np.empty((length, *moved.shape[1:]), np.float32)
    step = max(1, _BLOCK // moved[:, :1].size)
    for start in range(0, moved.shape[1], step):
        part = moved[:, start : start + step]
        resized[:, start : start + step] = (weights @ part.reshape(len(part), -1)).reshape(length, *part.shape[1:])
    return np.moveaxis(resized, 0, axis)


def nearest(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Give each new pixel the class found at its centre; (*space) -> (*shape), same type.

    Whole numbers only, so that a centre between two old pixels goes to the later one on every machine.
    """
    for axis, length in enumerate(shape):
        old = label.shape[axis]
        if old != length:
            label = label.take((2 * np.arange(length) + 1) * old // (2 * length), axis=axis)
    return np.ascontiguousarray(label)


@lru_cache(maxsize=16)  # a scan comes in hundreds of parts of one size
def _triangles(old: int, new: int) -> Any:
    """Return the weights of old pixels in new ones, a sparse matrix (new, old), float32, rows adding up to 1."""
    from scipy.sparse import csr_array  # here: SciPy takes longer to import than the command line may take to answer

    step = old / new
    reach = max(step, 1.0)
    centre = (np.arange(new)[:, None] + 0.5) * step
    column = np.floor(centre - reach).astype(int) + np.arange(2 * int(np.ceil(reach)) + 1)
    weight = np.maximum(0, 1 - np.abs(column + 0.5 - centre) / reach)
    weight[(column < 0) | (column >= old)] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    ends = np.arange(new + 1) * column.shape[1]
    return csr_array((weight.astype(np.float32).ravel(), column.clip(0, old - 1).ravel(), ends), shape=(new, old))
