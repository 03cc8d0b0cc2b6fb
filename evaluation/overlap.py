"""Overlap metrics from counts, and the ways to make one number of many cases.

What happens where truth or prediction is empty is a table, not an accident of division: docstring of ``metrics``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Empty = Literal["nan", "one", "zero"]
Aggregation = Literal["case", "pooled"]

METRICS = ("dsc", "jaccard", "recall", "precision", "specificity")
EMPTY_VALUES: dict[str, float] = {"nan": float("nan"), "one": 1.0, "zero": 0.0}
ALIASES = {"f1": "dsc", "iou": "jaccard", "tpr": "recall", "ppv": "precision", "tnr": "specificity"}


def _share(part: np.ndarray, whole: np.ndarray, otherwise: float | np.ndarray) -> np.ndarray:
    """Return ``part / whole``, and ``otherwise`` where ``whole`` is 0."""
    result = np.array(np.broadcast_to(otherwise, whole.shape), dtype=np.float64)
    return np.divide(part, whole, out=result, where=whole != 0)


def _quotients(
    tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, empty: float
) -> dict[str, tuple[np.ndarray, np.ndarray, float | np.ndarray]]:
    """Return each metric as numerator, denominator, and value where the denominator is 0."""
    return {
        "dsc": (2 * tp, 2 * tp + fp + fn, empty),
        "jaccard": (tp, tp + fp + fn, empty),
        "recall": (tp, tp + fn, np.where(fp > 0, np.nan, empty)),
        # Missing everything must cost, so an empty prediction of something is 0 and not undefined.
        "precision": (tp, tp + fp, np.where(fn > 0, 0, empty)),
        "specificity": (tn, tn + fp, np.nan),
    }


def canonical(name: str) -> str:
    """Return the name under which a metric is computed: ``f1`` is ``dsc``, unknown names stay as they are."""
    return ALIASES.get(name, name)


def metrics(counts: np.ndarray, names: Sequence[str] = METRICS, empty: Empty = "nan") -> dict[str, np.ndarray]:
    """Compute metrics from counts, never with a smoothing term.

    ======================================  =======  =======  =========  ===========
    case                                    DSC, J   recall   precision  specificity
    ======================================  =======  =======  =========  ===========
    both non-empty                          formula  formula  formula    formula
    truth non-empty, prediction empty       0        0        0          1
    truth empty, prediction not             0        NaN      0          formula
    both empty                              `empty`  `empty`  `empty`    1
    truth fills the image (TN + FP = 0)     formula  formula  formula    NaN
    ======================================  =======  =======  =========  ===========

    Args:
        counts: Pixels, shape (..., 4), last axis TP, FP, FN, TN.
        names: Any of dsc (f1), jaccard (iou), recall (tpr), precision (ppv), specificity (tnr).
        empty: Value where truth and prediction are both empty: ``nan``, ``one`` or ``zero``.

    Returns:
        For each name as it was given the values, float64, shape (...).

    Raises:
        ValueError: The last axis has not four entries, or a name or ``empty`` is unknown.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim == 0 or counts.shape[-1] != 4:
        raise ValueError(f"counts must end in an axis of 4 (TP, FP, FN, TN), got shape {counts.shape}")
    if empty not in EMPTY_VALUES:
        raise ValueError(f"empty must be one of {', '.join(EMPTY_VALUES)}, got {empty!r}")
    unknown = [name for name in names if canonical(name) not in METRICS]
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}; known are {', '.join([*METRICS, *ALIASES])}")
    tp, fp, fn, tn = np.moveaxis(counts, -1, 0)
    quotients = _quotients(tp, fp, fn, tn, EMPTY_VALUES[empty])
    return {name: _share(*quotients[canonical(name)]) for name in names}


def mean_of_defined(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Average along ``axis``, leaving NaN out; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return _share(np.sum(values, axis=axis, where=defined), np.sum(defined, axis=axis), np.nan)


def case_means(values: np.ndarray) -> np.ndarray:
    """Average the values of each case over classes, then over seeds: (seeds, cases, classes) -> (cases,)."""
    return mean_of_defined(mean_of_defined(values, axis=2), axis=0)


def case_terms(values: np.ndarray) -> np.ndarray:
    """Split per-case values (cases,) into what a mean sums up: (cases, 2), the value and whether it is defined."""
    defined = ~np.isnan(values)
    return np.stack([np.where(defined, values, 0), defined], axis=-1)


def case_estimate(totals: np.ndarray) -> np.ndarray:
    """Return the means that belong to sums of ``case_terms``: (..., 2) -> (...)."""
    return _share(totals[..., 0], totals[..., 1], np.nan)


def pooled_estimate(totals: np.ndarray, name: str, empty: Empty) -> np.ndarray:
    """Return the metric of summed counts, averaged over classes, then seeds: (..., seeds, classes, 4) -> (...)."""
    values = metrics(totals, (name,), empty)[name]
    return mean_of_defined(mean_of_defined(values, axis=-1), axis=-1)


def aggregate(counts: np.ndarray, name: str, how: Aggregation = "case", empty: Empty = "nan") -> tuple[float, int]:
    """Make one number of many cases.

    ``case`` is the mean of per-case values, NaN left out; ``pooled`` sums the counts over cases first. Several classes
    are averaged without weights within each case (``case``) or after pooling; give one class to have it alone. Several
    seeds are averaged per case first (``case``), or after pooling.

    Args:
        counts: Pixels, shape (seeds, cases, classes, 4).
        name: One metric.
        how: ``case`` or ``pooled``.
        empty: See ``metrics``.

    Returns:
        The number, and how many cases are behind it.

    Raises:
        ValueError: The counts have other axes, or ``how``, ``name`` or ``empty`` is unknown.
    """
    counts = np.asarray(counts)
    if counts.ndim != 4:
        raise ValueError(f"counts must have shape (seeds, cases, classes, 4), got {counts.shape}")
    if how == "pooled":
        return float(pooled_estimate(counts.sum(axis=1), name, empty)), counts.shape[1]
    if how != "case":
        raise ValueError(f"how must be case or pooled, got {how!r}")
    values = case_means(metrics(counts, (name,), empty)[name])
    return float(mean_of_defined(values)), int(np.count_nonzero(~np.isnan(values)))
