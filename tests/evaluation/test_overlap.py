"""Metrics of counts: the table of empty cases, worked numbers, properties, and an independent library."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rareseg.evaluation import METRICS, aggregate, counts, metrics

M1, M2, M7 = (3, 2, 1, 10), (8, 0, 0, 8), (0, 0, 0, 9)
M3 = counts(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0]), 3)

TABLE = [  # TP FP FN TN, dsc, jaccard, recall, precision, specificity; empty = one where it matters
    pytest.param(M1, (2 / 3, 1 / 2, 3 / 4, 3 / 5, 10 / 12), id="both non-empty"),
    pytest.param((0, 0, 4, 5), (0, 0, 0, 0, 1), id="prediction empty"),
    pytest.param((0, 1, 0, 8), (0, 0, np.nan, 0, 8 / 9), id="truth empty"),
    pytest.param(M7, (1, 1, 1, 1, 1), id="both empty"),
    pytest.param((6, 0, 3, 0), (12 / 15, 6 / 9, 6 / 9, 1, np.nan), id="truth fills the image"),
    pytest.param((0, 0, 9, 0), (0, 0, 0, 0, np.nan), id="truth fills the image, prediction empty"),
]


@pytest.mark.parametrize(("case", "expected"), TABLE)
def test_metrics_follow_the_table(case, expected):
    values = metrics(np.array(case), empty="one")
    np.testing.assert_allclose([values[name] for name in METRICS], expected)


@pytest.mark.parametrize(("empty", "value"), [("nan", np.nan), ("one", 1), ("zero", 0)])
def test_empty_decides_where_both_are_empty(empty, value):
    values = metrics(np.array(M7), empty=empty)
    np.testing.assert_equal([values[name] for name in METRICS], [*[np.float64(value)] * 4, 1.0])


@pytest.mark.parametrize(
    ("alias", "name"),
    [("f1", "dsc"), ("iou", "jaccard"), ("tpr", "recall"), ("ppv", "precision"), ("tnr", "specificity")],
)
def test_aliases_are_answered_under_the_name_asked_for(alias, name):
    assert metrics(np.array(M1), (alias,)) == {alias: metrics(np.array(M1))[name]}


def test_leading_axes_are_kept():
    table = np.array([[M1, M2, M7], [M2, M7, M1]])
    values = metrics(table, ("jaccard",), "zero")["jaccard"]
    np.testing.assert_array_equal(values, [[0.5, 1, 0], [1, 0, 0.5]])


def cases(*rows):
    """One seed, one class."""
    return np.array(rows).reshape(1, len(rows), 1, 4)


AGGREGATES = [  # counts, metric, how, empty, value, cases
    pytest.param(cases(M1, M2), "dsc", "case", "nan", 5 / 6, 2, id="M2 case dsc"),
    pytest.param(cases(M1, M2), "jaccard", "case", "nan", 3 / 4, 2, id="M2 case jaccard"),
    pytest.param(cases(M1, M2), "dsc", "pooled", "nan", 22 / 25, 2, id="M2 pooled dsc"),
    pytest.param(cases(M1, M2), "jaccard", "pooled", "nan", 11 / 14, 2, id="M2 pooled jaccard"),
    pytest.param(cases(M1, M7), "dsc", "case", "nan", 2 / 3, 1, id="M7 nan"),
    pytest.param(cases(M1, M7), "dsc", "case", "one", 5 / 6, 2, id="M7 one"),
    pytest.param(cases(M1, M7), "dsc", "case", "zero", 1 / 3, 2, id="M7 zero"),
    pytest.param(M3[np.newaxis, np.newaxis, 1:2], "dsc", "case", "nan", 4 / 5, 1, id="M3 class 1"),
    pytest.param(M3[np.newaxis, np.newaxis, 2:3], "dsc", "case", "nan", 2 / 3, 1, id="M3 class 2"),
    pytest.param(M3[np.newaxis, np.newaxis, 1:], "dsc", "case", "nan", 11 / 15, 1, id="M3 mean"),
    pytest.param(M3[np.newaxis, np.newaxis, :], "dsc", "pooled", "nan", 59 / 90, 1, id="M3 mean with background"),
    pytest.param(np.array([[[M1], [M2]], [[M2], [M2]]]), "jaccard", "case", "nan", 7 / 8, 2, id="two seeds"),
    pytest.param(np.array([[[M1], [M7]], [[M1], [M1]]]), "dsc", "case", "nan", 2 / 3, 2, id="one seed defined"),
    pytest.param(np.array([[[M1], [M2]], [[M2], [M2]]]), "dsc", "pooled", "nan", 0.94, 2, id="two seeds pooled"),
    pytest.param(cases(M7), "dsc", "case", "nan", np.nan, 0, id="nothing defined"),
]


@pytest.mark.parametrize(("table", "name", "how", "empty", "value", "number"), AGGREGATES)
def test_aggregates_equal_the_hand_calculation(table, name, how, empty, value, number):
    found, behind = aggregate(table, name, how, empty)
    np.testing.assert_allclose(found, value)
    assert behind == number


REFUSED = [
    pytest.param(lambda: metrics(np.ones((2, 3))), r"counts must end in an axis of 4 .* got shape \(2, 3\)", id="axis"),
    pytest.param(lambda: metrics(np.ones(4), ("dice",)), "unknown metric 'dice'; known are dsc", id="name"),
    pytest.param(lambda: metrics(np.ones(4), empty="half"), "empty must be one of nan, one, zero", id="empty"),
    pytest.param(lambda: aggregate(np.ones((1, 4)), "dsc"), r"counts must have shape \(seeds", id="aggregate axes"),
    pytest.param(lambda: aggregate(cases(M1), "dsc", "median"), "how must be case or pooled", id="how"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_wrong_settings_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


COUNT = st.integers(0, 10**9)
CASE = st.tuples(COUNT, COUNT, COUNT, COUNT)


@given(CASE)
def test_metrics_keep_their_bounds_and_relations(case):
    tp, fp, fn, tn = case
    assume(tp + fp and tp + fn)
    value = metrics(np.array(case))
    swapped = metrics(np.array((tp, fn, fp, tn)))
    assert value["jaccard"] == pytest.approx(value["dsc"] / (2 - value["dsc"]))
    assert 0 <= value["jaccard"] <= min(value["recall"], value["precision"])
    assert (swapped["recall"], swapped["precision"]) == (value["precision"], value["recall"])
    assert (swapped["dsc"], swapped["jaccard"]) == (value["dsc"], value["jaccard"])


@given(st.lists(CASE, min_size=1, max_size=6), st.sampled_from(METRICS))
def test_pooling_one_case_changes_nothing_and_means_keep_the_bound(table, name):
    for case in table:
        np.testing.assert_equal(aggregate(cases(case), name, "pooled")[0], aggregate(cases(case), name)[0])
    dsc, jaccard = (aggregate(cases(*table), metric)[0] for metric in ("dsc", "jaccard"))
    assert np.isnan(dsc) or jaccard >= dsc / (2 - dsc) - 1e-12


def test_metrics_equal_an_independent_library_on_a_thousand_masks():
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(3)
    share = generator.choice([0, 0.1, 0.5, 1], (2, 1, 1000))
    truth, prediction = generator.random((2, 40, 1000)) < share  # one mask per column
    table = np.stack([counts(t, p, 2)[1] for t, p in zip(truth.T, prediction.T, strict=True)])
    values = metrics(table, empty="one")
    both_empty = ~truth.any(axis=0) & ~prediction.any(axis=0)
    settings = {"average": None, "zero_division": 0}
    for name, score in (
        ("dsc", sklearn.f1_score),
        ("jaccard", sklearn.jaccard_score),
        ("recall", sklearn.recall_score),
        ("precision", sklearn.precision_score),
    ):
        expected = np.where(both_empty, 1, score(truth, prediction, **settings))
        if name == "recall":
            expected[~truth.any(axis=0) & ~both_empty] = np.nan
        np.testing.assert_allclose(values[name], expected, atol=1e-6, err_msg=name)
