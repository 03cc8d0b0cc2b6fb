"""Cubic B-splines by SciPy: the coefficients of an image, and the images that maps make of them."""

import itertools
from typing import Any

import numpy as np


def prefilter(image: np.ndarray) -> np.ndarray:
    """Return the coefficients of an image's cubic B-spline, mirrored about its first and last voxels.

    Args:
        image: Shape (*space, C).

    Returns:
        Shape (C, *space), float32: a row of voxels of one channel lies together, as the kernel reads it.
    """
    from scipy.ndimage import spline_filter1d  # here: SciPy takes longer to import than the command line may take

    coefficients = np.array(np.moveaxis(image, -1, 0), np.float32, order="C")
    for channel, axis in itertools.product(coefficients, range(image.ndim - 1)):
        if channel.shape[axis] > 1:
            spline_filter1d(channel, 3, axis, output=channel, mode="mirror")
    return coefficients


def warp(
    coefficients: np.ndarray,
    label: np.ndarray,
    matrix: np.ndarray,
    shift: np.ndarray,
    field: np.ndarray | None,
    reflect: bool,
    fill: np.ndarray,
    outside: int,
    image_out: np.ndarray,
    label_out: np.ndarray,
) -> None:
    """Fill a patch from the places y = matrix (x + field(x)) + shift of an image; where numba is not installed.

    A place beyond the first or last voxel of any axis is outside, for image and label alike.

    Args:
        coefficients: What ``prefilter`` gave, (C, *space).
        label: Classes, (*space), uint8.
        matrix: Shape (dimensions, dimensions).
        shift: Shape (dimensions,).
        field: Displacements, (dimensions, *patch); None: none.
        reflect: Whether places outside are mirrored to the inside.
        fill: Intensity outside, (C,).
        outside: Label outside.
        image_out: Shape (*patch, C), float32.
        label_out: Shape (*patch), uint8.
    """
    from scipy.ndimage import map_coordinates  # here: see above

    places = np.indices(label_out.shape, np.float64)
    if field is not None:
        places += field
    places = np.tensordot(matrix, places, 1) + shift.reshape(-1, *[1] * label.ndim)
    mode: Any = "mirror" if reflect else "constant"
    for channel, (coefficient, value) in enumerate(zip(coefficients, fill, strict=True)):
        image_out[..., channel] = map_coordinates(coefficient, places, None, 3, mode, float(value), prefilter=False)
    map_coordinates(label, places, label_out, 0, mode, outside)
