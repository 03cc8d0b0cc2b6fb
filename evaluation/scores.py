"""Ranking of pixels by their foreground probability: AUC-ROC exactly, or from histograms that add up over cases.

A histogram is an int64 array (2, bins): row 0 counts background pixels, row 1 foreground pixels, by rising score.
Histograms of several cases are pooled with ``+``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rareseg.evaluation.confusion import inside

BINS = 2**16
"""Equal bins between 0 and 1; a power of two, so that float32 scores meet the edges without rounding."""

_ROUNDING = 1e-6  # sums of float32 probabilities leave [0, 1] by a few units of their last place


def auc(scores: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the probability that a random foreground pixel scores above a random background pixel, ties half.

    Equals ``(sum of midranks of positives - n1 (n1 + 1) / 2) / (n1 n0)``; no threshold grid is involved.

    Args:
        scores: Foreground scores, any shape and range.
        truth: Boolean or 0/1 map of the same shape.
        mask: Boolean map of the same shape; pixels outside are left out.

    Returns:
        A number in [0, 1], NaN where foreground or background is absent.

    Raises:
        ValueError: Shapes differ, the truth is not 0 and 1, the mask is not boolean, or a score is not finite.
    """
    scores, truth = _checked(scores, truth, mask)
    values, place = np.unique(scores, return_inverse=True)
    return pooled_auc(_by_class(place.ravel(), truth, values.size))


def score_histogram(scores: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Count background and foreground pixels in 2^16 equal bins of their foreground probability.

    Args:
        scores: Probabilities in [0, 1], any shape.
        truth: Boolean or 0/1 map of the same shape.
        mask: Boolean map of the same shape; pixels outside are left out.

    Returns:
        Pixels, int64, shape (2, 65536), rows background and foreground.

    Raises:
        ValueError: As for ``auc``; or a score lies outside [0, 1].
    """
    scores, truth = _checked(scores, truth, mask)
    if scores.size and not -_ROUNDING <= scores.min() <= scores.max() <= 1 + _ROUNDING:
        raise ValueError(f"scores must be probabilities in [0, 1], got {scores.min()} to {scores.max()}; apply softmax")
    places = np.clip(scores * np.float32(BINS), 0, BINS - 1)  # float16 ends at 65504
    return _by_class(places.astype(np.int64), truth, BINS)


def pooled_auc(histogram: np.ndarray) -> float:
    """Return the AUC of all pixels in a histogram, shape (2, bins); pixels that share a bin count as ties."""
    background, foreground = np.asarray(histogram, dtype=np.float64)
    below = np.cumsum(background) - background
    pairs = background.sum() * foreground.sum()
    return float(foreground @ (below + background / 2) / pairs) if pairs else float("nan")


def pooled_auc_error(histogram: np.ndarray) -> float:
    """Return how far ``pooled_auc`` can be from the exact value at most: half the share of pairs that share a bin.

    Below 1e-4 for scores that spread; a saturated network can crowd most of its pixels into the two outermost bins.
    """
    background, foreground = np.asarray(histogram, dtype=np.float64)
    pairs = background.sum() * foreground.sum()
    return float(foreground @ background / 2 / pairs) if pairs else float("nan")


def roc_points(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve of a histogram, shape (2, bins), from (0, 0) to (1, 1).

    Returns:
        False and true positive rates, each (points,), one point per bin that holds pixels; NaN where a class is absent.
    """
    occupied = np.asarray(histogram)[:, np.asarray(histogram).any(axis=0)]
    reached = np.cumsum(occupied[:, ::-1], axis=1, dtype=np.float64)
    reached = np.concatenate([np.zeros((2, 1)), reached], axis=1)
    total = reached[:, -1:]
    rates = np.divide(reached, total, out=np.full(reached.shape, np.nan), where=total > 0)
    return rates[0], rates[1]


def _by_class(place: np.ndarray, truth: np.ndarray, bins: int) -> np.ndarray:
    """Count the places of background and foreground pixels, shape (2, bins)."""
    return np.stack([np.bincount(place[truth == value], minlength=bins) for value in (False, True)])


def _checked(scores: Any, truth: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return flat scores and boolean truth inside the mask."""
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.shape != truth.shape:
        raise ValueError(f"scores have shape {scores.shape}, truth {truth.shape}; give the scores of one class")
    if truth.dtype != bool and truth.size and not 0 <= truth.min() <= truth.max() <= 1:
        raise ValueError(
            f"truth must be boolean or 0/1, got {truth.min()} to {truth.max()}; compare the label map with a class"
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores contain NaN or infinity; a network that diverged has no ROC curve")
    if mask is not None:
        mask = inside(mask, truth.shape)
        scores, truth = scores[mask], truth[mask]
    return scores.ravel(), truth.ravel().astype(bool)
