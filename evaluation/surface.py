"""Distances between the surfaces of two objects, in the unit of the spacing.

A surface is what erosion by the nearest neighbours (4 in 2D, 6 in 3D) takes away; the border of the image counts as
outside. SciPy is imported when a distance is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DISTANCES = ("hd95", "assd")
"""Lower is better."""


def surface_distances(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float] | None = None
) -> dict[str, float]:
    """Return how far two surfaces are apart; NaN where truth or prediction is empty.

    Source: definitions of Metrics Reloaded (Maier-Hein et al. 2024, doi 10.1038/s41592-023-02151-z).

    Args:
        truth: Boolean map, 2D or 3D.
        prediction: Boolean map of the same shape.
        spacing: Size of a pixel along each axis, in mm; None for distances in pixels.

    Returns:
        ``hd95``: the larger of the two directed 95th percentiles; ``assd``: mean over all points of both surfaces.

    Raises:
        ValueError: Shapes differ, or ``spacing`` has not one number above 0 for each axis.
    """
    truth, prediction = np.asarray(truth, bool), np.asarray(prediction, bool)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}; bring both to one grid first")
    spacing = [1.0] * truth.ndim if spacing is None else [float(size) for size in spacing]
    if len(spacing) != truth.ndim or min(spacing) <= 0:
        raise ValueError(f"spacing must be {truth.ndim} numbers above 0, one per axis, got {spacing}")
    if not (truth.any() and prediction.any()):
        return dict.fromkeys(DISTANCES, np.nan)
    first, second = _surface(truth), _surface(prediction)
    there, back = _distance_to(second, spacing)[first], _distance_to(first, spacing)[second]
    farthest = max(np.percentile(there, 95), np.percentile(back, 95))
    return {"hd95": float(farthest), "assd": float(np.concatenate([there, back]).mean())}


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of an object that touch what is not part of it."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)


def _distance_to(surface: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~surface, sampling=spacing))
