"""Batch-wise metrics with smoothing, by hand, and how they become a cell of a table."""

import numpy as np
import pytest

from rareseg.evaluation import batch_metrics

TRUTH = np.array([[[1, 1], [0, 0]], [[1, 0], [0, 0]]])

BATCHES = [  # scores, dsc, jaccard, recall, precision, specificity
    pytest.param(TRUTH, (1, 1, 1, 1, 1), id="perfect"),
    pytest.param(np.zeros((2, 2, 2)), (1 / 4, 1 / 4, 1 / 4, 1, 1), id="nothing found"),
    pytest.param(
        np.array([[[0.9, 0.5], [0.6, 0]], [[1, 0.25], [0, 0]]]),
        (5.8 / 7.25, 3.4 / 4.85, 3 / 4, 3 / 4, 5 / 6),
        id="soft where it is soft, rounded where it is rounded",
    ),
]


@pytest.mark.parametrize(("scores", "expected"), BATCHES)
def test_metrics_equal_the_hand_calculation(scores, expected):
    names = ("dsc", "jaccard", "recall", "precision", "specificity")
    assert batch_metrics(scores, TRUTH) == pytest.approx(dict(zip(names, expected, strict=True)))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="give the scores of one class"):
        batch_metrics(np.zeros((2, 2, 2, 1)), TRUTH)
