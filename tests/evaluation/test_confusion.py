"""Counts of pixels, against worked images, an independent library, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rareseg.evaluation import counts


def grid(*rows):
    return np.array([[int(value) for value in row] for row in rows])


M1 = grid("1100", "1100", "0000", "0000"), grid("1110", "1010", "0000", "0000")
M2 = grid("1111", "1111", "0000", "0000"), grid("1111", "1111", "0000", "0000")
M3 = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])

WORKED = [  # truth, prediction, class, TP FP FN TN
    pytest.param(*M1, 1, (3, 2, 1, 10), id="M1"),
    pytest.param(*M1, 0, (10, 1, 2, 3), id="M1 background"),
    pytest.param(*M2, 1, (8, 0, 0, 8), id="M2"),
    pytest.param(*(part > 0 for part in M3), 1, (3, 1, 1, 1), id="M4"),
    pytest.param(np.zeros((3, 3), int), np.zeros((3, 3), int), 1, (0, 0, 0, 9), id="M7"),
    pytest.param(np.zeros((3, 3), int), np.eye(3, dtype=int) * grid("100", "000", "000"), 1, (0, 1, 0, 8), id="M8"),
]


@pytest.mark.parametrize(("truth", "prediction", "label", "expected"), WORKED)
def test_counts_equal_the_hand_calculation(truth, prediction, label, expected):
    table = counts(truth, prediction, 2)
    assert table.dtype == np.int64
    assert table.shape == (2, 4)
    assert tuple(table[label]) == expected


def test_three_classes_are_each_counted_against_the_rest():
    np.testing.assert_array_equal(counts(*M3, 3), [[1, 1, 1, 3], [2, 1, 0, 3], [1, 0, 1, 4]])


def test_mask_and_ignored_label_leave_pixels_out_of_all_four_counts():
    truth, prediction = np.array([0, 1, 1, 255, 255]), np.array([1, 1, 0, 1, 0])
    mask = np.array([True, True, False, True, True])
    np.testing.assert_array_equal(counts(truth, prediction, 2, mask=mask, ignore=255)[1], [1, 1, 0, 0])


REFUSED = [
    pytest.param({"prediction": np.zeros((2, 3), int)}, r"truth has shape \(2, 2\), prediction \(2, 3\)", id="shapes"),
    pytest.param({"prediction": np.full((2, 2), 0.5)}, "prediction must hold integer labels, got float64", id="floats"),
    pytest.param({"truth": np.full((2, 2), 255)}, "truth has labels 255 to 255, expected 0 to 1", id="label 255"),
    pytest.param({"prediction": np.full((2, 2), -1)}, "prediction has labels -1 to -1", id="negative label"),
    pytest.param({"mask": np.ones((2, 2))}, "mask must be boolean, got float64", id="float mask"),
    pytest.param({"mask": np.ones((1, 2), bool)}, r"mask has shape \(1, 2\), expected \(2, 2\)", id="mask shape"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED)
def test_wrong_input_is_refused_by_name(change, sentence):
    given_arrays = {"truth": np.zeros((2, 2), int), "prediction": np.zeros((2, 2), int), **change}
    with pytest.raises(ValueError, match=sentence):
        counts(**given_arrays, classes=2)


@given(
    arrays.arrays(np.uint8, (2, 4, 5), elements=st.integers(0, 2)),
    st.permutations(range(20)),
)
def test_moving_pixels_of_both_maps_alike_changes_nothing(maps, order):
    truth, prediction = maps
    table = counts(truth, prediction, 3)
    np.testing.assert_array_equal(table, counts(truth[::-1], prediction[::-1], 3))
    np.testing.assert_array_equal(table, counts(truth.T, prediction.T, 3))
    np.testing.assert_array_equal(table, counts(truth.ravel()[list(order)], prediction.ravel()[list(order)], 3))
    np.testing.assert_array_equal(counts(prediction, truth, 3), table[:, [0, 2, 1, 3]])
    assert (table.sum(axis=1) == truth.size).all()


def test_counts_equal_an_independent_library():
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    for _ in range(50):
        truth, prediction = generator.integers(0, 4, (2, 30))
        expected = sklearn.multilabel_confusion_matrix(truth, prediction, labels=range(4))
        np.testing.assert_array_equal(counts(truth, prediction, 4), expected[:, [1, 0, 1, 0], [1, 1, 0, 0]])
