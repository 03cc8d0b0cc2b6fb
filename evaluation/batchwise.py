"""Metrics as Keras computes them while a network trains: per batch, partly soft, with a smoothing term.

Only for comparison with numbers that were made in this way (aggregation ``keras_batch``); ``overlap`` has the metrics
that mean what they say.
"""

from __future__ import annotations

import numpy as np

SMOOTH = 1.0


def batch_metrics(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the metrics of one batch: DSC and Jaccard soft, the others of rounded scores, all with smooth 1.

    Source: the first author's FocusNet release (metrics of the ISIC script); the mean over batches is taken of them.

    Args:
        scores: Foreground probabilities, shape (B, *space).
        truth: Boolean or 0/1 map of the same shape.

    Raises:
        ValueError: Shapes differ.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if scores.shape != truth.shape:
        raise ValueError(f"scores have shape {scores.shape}, truth {truth.shape}; give the scores of one class")
    shared, either = float(np.sum(scores * truth)), float(np.sum(scores) + np.sum(truth))
    found = scores > 0.5  # rounds half to even, as Keras does: 0.5 becomes 0
    tp, fp = float(np.sum(truth[found])), float(np.sum(1 - truth[found]))
    fn, tn = float(np.sum(truth)) - tp, float(np.sum(1 - truth)) - fp
    return {
        "dsc": (2 * shared + SMOOTH) / (either + SMOOTH),
        "jaccard": (shared + SMOOTH) / (either - shared + SMOOTH),
        "recall": (tp + SMOOTH) / (tp + fn + SMOOTH),
        "precision": (tp + SMOOTH) / (tp + fp + SMOOTH),
        "specificity": (tn + SMOOTH) / (tn + fp + SMOOTH),
    }
