"""AUC and ROC, exact and from histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.evaluation import auc, pooled_auc, pooled_auc_error, roc_points, score_histogram

WORKED = [  # truth, scores, AUC
    pytest.param([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 3 / 4, id="M5 plain"),
    pytest.param([0, 0, 1, 1], [0.2, 0.6, 0.6, 0.9], 7 / 8, id="M5 one tie"),
    pytest.param([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], 1 / 2, id="M5 all equal"),
    pytest.param([0, 1], [0.6, 0.7], 1, id="M6 second case"),
    pytest.param([0, 0, 1, 1, 0, 1], [0.1, 0.4, 0.35, 0.8, 0.6, 0.7], 7 / 9, id="M6 pooled"),
    pytest.param([0, 0], [0.1, 0.9], np.nan, id="no foreground"),
    pytest.param([1, 1], [0.1, 0.9], np.nan, id="no background"),
]


@pytest.mark.parametrize(("truth", "scores", "expected"), WORKED)
def test_auc_equals_the_hand_calculation(truth, scores, expected):
    np.testing.assert_equal(auc(np.array(scores), np.array(truth)), expected)


def test_histograms_pool_by_addition():
    first = score_histogram(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    second = score_histogram(np.array([0.6, 0.7]), np.array([0, 1]))
    assert first.dtype == np.int64
    assert pooled_auc(first + second) == pytest.approx(7 / 9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_a_score_falls_into_the_same_bin_in_any_type(dtype):
    """BINS is infinite as float16, which networks in mixed precision give, and more than uint8 holds."""
    histogram = score_histogram(np.array([0, 1, 1], dtype), np.array([0, 0, 1]))
    assert histogram[:, [0, -1]].tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("shape", [(2, 5), (0.5, 0.5), (5, 1)], ids=["low", "edges", "high"])
def test_binned_auc_is_off_by_less_than_a_ten_thousandth(shape):
    generator = np.random.default_rng(1)
    truth = generator.random(100_000) < 0.1
    scores = np.where(truth, generator.beta(shape[1], 2, truth.size), generator.beta(*shape, truth.size))
    histogram = score_histogram(scores.astype("float32"), truth)
    error = abs(pooled_auc(histogram) - auc(scores.astype("float32"), truth))
    assert error < 1e-4
    assert error <= pooled_auc_error(histogram) + 1e-12


def test_error_bound_tells_when_scores_crowd_in_one_bin():
    scores, truth = np.array([1e-7, 2e-7, 3e-7, 0.9]), np.array([0, 1, 0, 1])
    histogram = score_histogram(scores, truth)
    assert auc(scores, truth) == 3 / 4
    assert pooled_auc(histogram) == 3 / 4
    assert pooled_auc_error(histogram) == 1 / 4
    assert np.isnan(pooled_auc_error(histogram * [[1], [0]]))


def test_roc_passes_through_its_thresholds_and_encloses_the_auc():
    histogram = score_histogram(np.array([0.2, 0.6, 0.6, 0.9]), np.array([0, 0, 1, 1]))
    fpr, tpr = roc_points(histogram)
    np.testing.assert_allclose(fpr, [0, 0, 0.5, 1])
    np.testing.assert_allclose(tpr, [0, 0.5, 1, 1])
    assert np.trapezoid(tpr, fpr) == pytest.approx(pooled_auc(histogram))


def test_roc_of_one_class_is_undefined_on_the_other_axis():
    fpr, tpr = roc_points(score_histogram(np.array([0.2, 0.4]), np.array([0, 0])))
    np.testing.assert_allclose(fpr, [0, 0.5, 1])
    assert np.isnan(tpr).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pixels):
    truth = np.array([label for label, _ in pixels])
    scores = np.array([score for _, score in pixels])
    difference = scores[truth][:, np.newaxis] - scores[~truth]
    expected = np.mean((difference > 0) + 0.5 * (difference == 0)) if difference.size else np.nan
    np.testing.assert_allclose(auc(scores, truth), expected)


REFUSED = [
    pytest.param([0.1, 0.2], [0, 1, 1], None, r"scores have shape \(2,\), truth \(3,\)", id="shapes"),
    pytest.param([0.1, np.nan], [0, 1], None, "scores contain NaN", id="NaN"),
    pytest.param([0.1, 0.2], [0, 2], None, "truth must be boolean or 0/1, got 0 to 2", id="label map"),
    pytest.param([0.1, 0.2], [-1, 1], None, "truth must be boolean or 0/1, got -1 to 1", id="signs"),
    pytest.param([0.1, 3.0], [0, 1], None, "scores must be probabilities", id="logits"),
    pytest.param([0.1, 0.2], [0, 1], [1, 1], "mask must be boolean", id="integer mask"),
]


@pytest.mark.parametrize(("scores", "truth", "mask", "sentence"), REFUSED)
def test_wrong_scores_are_refused(scores, truth, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        score_histogram(np.array(scores), np.array(truth), mask)


def test_mask_leaves_pixels_out():
    mask = np.array([True, True, True, False])
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), mask) == 1 / 2


def test_auc_equals_an_independent_library():
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(2)
    for _ in range(50):
        truth, scores = generator.random(60) < 0.3, generator.integers(0, 20, 60) / 20
        truth[:2] = True, False
        assert auc(scores, truth) == pytest.approx(sklearn.roc_auc_score(truth, scores), abs=1e-12)
