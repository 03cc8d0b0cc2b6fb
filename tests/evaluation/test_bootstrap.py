"""Intervals and stability of ranks from drawing cases again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rareseg.evaluation import bootstrap, interval, resampled_means, resampled_totals, stability

X = np.array([0.80, 0.82, 0.78, 0.90, 0.71, 0.65, 0.88, 0.93])
Y = np.array([0.779, 0.832, 0.737, 0.862, 0.699, 0.598, 0.813, 0.900])
WITH_HOLE = np.array([0.5, np.nan, 0.7])


@pytest.mark.parametrize(
    ("values", "expected"), [(X, (0.74625, 0.8675)), (X - Y, (0.0150, 0.0465))], ids=["mean of x", "difference"]
)
def test_intervals_of_s5(values, expected):
    np.testing.assert_allclose(interval(values), expected, atol=1e-12)


def test_indices_are_those_of_the_protocol_in_whatever_chunks(monkeypatch):
    indices = np.random.default_rng(0).integers(0, 8, (10_000, 8))
    np.testing.assert_allclose(resampled_totals(X), X[indices].sum(axis=1), rtol=1e-14)
    whole = resampled_totals(X)
    monkeypatch.setattr(bootstrap, "_CHUNK", 1000)
    np.testing.assert_array_equal(resampled_totals(X), whole)


def test_losses_are_resampled_together():
    together = resampled_means(np.stack([X, Y], axis=1))
    np.testing.assert_allclose(together[:, 0] - together[:, 1], resampled_means((X - Y)[:, np.newaxis])[:, 0])


def test_a_case_without_value_is_drawn_but_not_counted():
    means = resampled_means(WITH_HOLE[:, np.newaxis])[:, 0]
    assert set(np.round(means[~np.isnan(means)], 6)) == {0.5, 0.566667, 0.6, 0.633333, 0.7}
    assert np.isnan(means).mean() == pytest.approx(1 / 27, abs=0.01)
    assert interval(WITH_HOLE) == (0.5, 0.7)


def test_whole_groups_are_drawn():
    groups = np.array(["b", "a", "b"])
    totals = resampled_totals(np.array([1.0, 10.0, 100.0]), groups)
    indices = np.random.default_rng(0).integers(0, 2, (10_000, 2))
    np.testing.assert_array_equal(totals, np.array([10.0, 101.0])[indices].sum(axis=1))
    assert interval(np.array([0.2, 0.8, 0.4]), groups) != interval(np.array([0.2, 0.8, 0.4]))


NOTHING_TO_DRAW = [
    pytest.param(np.array([np.nan, np.nan]), None, id="no values"),
    pytest.param(np.array([0.5]), None, id="one case"),
    pytest.param(np.array([0.5, 0.6]), ["a", "a"], id="one group"),
]


@pytest.mark.parametrize(("values", "groups"), NOTHING_TO_DRAW)
def test_no_interval_where_resampling_says_nothing(values, groups):
    assert np.isnan(interval(values, groups)).all()


def test_groups_must_fit_the_cases():
    with pytest.raises(ValueError, match="got 2 groups for 3 cases"):
        interval(np.array([0.1, 0.2, 0.3]), ["a", "b"])


def test_stability_of_a_clear_and_of_an_open_race():
    clear = stability(np.stack([X, X - 0.1, X - 0.2], axis=1))
    np.testing.assert_array_equal(clear, np.eye(3))
    tied = stability(np.stack([X, X], axis=1))
    np.testing.assert_array_equal(tied, [[1, 0], [1, 0]])
    close = stability(np.stack([Y, X], axis=1))
    means = resampled_means(np.stack([Y, X], axis=1))
    assert close[1, 0] == np.mean(means[:, 1] >= means[:, 0])
    np.testing.assert_allclose(close.sum(axis=1), 1)


@pytest.mark.parametrize(("values", "groups"), NOTHING_TO_DRAW)
def test_no_ranks_where_resampling_says_nothing(values, groups):
    assert np.isnan(stability(np.stack([values, values - 0.1], axis=1), groups)).all()


def test_resamples_without_a_mean_are_left_out():
    found = stability(np.stack([WITH_HOLE, WITH_HOLE - 0.1], axis=1))  # one resample in 27 has none
    np.testing.assert_array_equal(found, np.eye(2))


@given(arrays.arrays(np.float64, st.integers(2, 12), elements=st.floats(0, 1)))
def test_the_interval_lies_within_the_values(values):
    low, high = interval(values)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
