"""Label maps in, integer counts out: the only place where pixels are looked at.

Every overlap metric is computed from these four numbers (see ``overlap``), so that a changed metric never needs the
images again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

COUNTS = ("TP", "FP", "FN", "TN")
"""Names of the last axis of every array of counts."""
FOREGROUND, MEAN, HEC = "foreground", "mean", "hec"
"""Names of classes in tables: the only one but the background, the mean of several, and several as one object where
that was counted (the hierarchical evaluation class of the KiTS challenges: kidney plus tumour)."""


def counts(
    truth: np.ndarray, prediction: np.ndarray, classes: int, mask: np.ndarray | None = None, ignore: int | None = None
) -> np.ndarray:
    """Count true and false positives and negatives of every class, each class against all others.

    Args:
        truth: Integer label map, any shape, values 0 to ``classes - 1`` (or ``ignore``).
        prediction: Integer label map of the same shape, values 0 to ``classes - 1``.
        classes: Number of classes with the background.
        mask: Boolean map of the same shape; pixels outside are counted nowhere.
        ignore: Label of ``truth`` whose pixels are counted nowhere, whatever is predicted there.

    Returns:
        Pixels, int64, shape (classes, 4), columns TP, FP, FN, TN.

    Raises:
        ValueError: Shapes differ, a map does not hold integers from 0 to ``classes - 1``, or the mask is not boolean.
    """
    truth, prediction = _selected(truth, prediction, mask, ignore)
    _check_labels("truth", truth, classes)
    _check_labels("prediction", prediction, classes)
    table = np.empty((classes, 4), dtype=np.int64)
    for label in range(classes):
        is_true, is_predicted = truth == label, prediction == label
        tp = np.count_nonzero(is_true & is_predicted)
        fp = np.count_nonzero(is_predicted) - tp
        fn = np.count_nonzero(is_true) - tp
        table[label] = tp, fp, fn, truth.size - tp - fp - fn
    return table


def inside(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return ``mask`` as a boolean array after checking its type and shape.

    Args:
        mask: Boolean map.
        shape: The shape that it has to have.

    Raises:
        ValueError: It is not boolean, or has another shape.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"mask must be boolean, got {mask.dtype}; write mask > 0 to turn an image into a mask")
    if mask.shape != shape:
        raise ValueError(f"mask has shape {mask.shape}, expected {shape}, the shape of the truth")
    return mask


def _selected(truth: Any, prediction: Any, mask: Any, ignore: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that count: whole arrays, or flat ones where a mask or an ignored label leaves pixels out."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(
            f"truth has shape {truth.shape}, prediction {prediction.shape}; bring both to one grid before counting"
        )
    if mask is not None:
        mask = inside(mask, truth.shape)
        truth, prediction = truth[mask], prediction[mask]
    if ignore is not None:
        kept = truth != ignore
        truth, prediction = truth[kept], prediction[kept]
    return truth, prediction


def _check_labels(name: str, labels: np.ndarray, classes: int) -> None:
    """Refuse probabilities and labels beyond the known classes."""
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
        raise ValueError(f"{name} must hold integer labels, got {labels.dtype}; take the argmax of probabilities first")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"{name} has labels {found}, expected 0 to {classes - 1}; correct the labels or `classes`")
