import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.pipeline.prediction import most_probable
from rareseg.pipeline.stitching import Grid, axis_weights, starts, stitch

BLENDS = ("gaussian", "uniform", "miscnn")


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 90), st.data())
def test_grids_begin_where_the_sliding_window_does_and_cover_the_axis(length, patch, data):
    overlap = data.draw(st.integers(0, patch - 1))
    places = starts(length, patch, overlap)
    steps = np.diff(places)
    assert places[0] == 0
    assert places[-1] == max(length - patch, 0)
    assert all(steps[:-1] == patch - overlap)
    assert all(0 < step <= patch - overlap for step in steps[-1:])


@pytest.mark.parametrize(
    ("shape", "patch", "overlap", "count"),
    [((155, 240, 240), [96] * 3, [48] * 3, 48), ((128, 248, 248), (80, 160, 160), (40, 80, 80), 27)],
)
def test_the_published_grids_have_their_counts(shape, patch, overlap, count):
    """Counted in MIScnn: BraTS and KiTS with the patches of Yeung et al."""
    assert len(Grid.over(shape, patch, overlap).corners) == count


def test_gaussian_weights_trust_the_centre_and_have_a_floor():
    """Where two windows meet, their weights are in the proportion of the bell, cut at a thousandth of its top."""
    patch, step = 64, 32
    (first, second) = axis_weights((0, step), patch, "gaussian")
    ratio = first[step:] / second[:-step]
    bell = np.maximum(np.exp(-0.5 * ((np.arange(patch) - 31.5) / 8) ** 2) / np.exp(-0.5 * (0.5 / 8) ** 2), 1e-3)
    np.testing.assert_allclose(ratio, bell[step:] / bell[:-step], rtol=1e-5)
    assert bell[0] == bell[1] == 1e-3  # the floor is reached, and the ratio shows it
    np.testing.assert_allclose(first[:step], 1)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from(BLENDS), st.data())
def test_weights_add_up_to_one_in_every_pixel(length, patch, blend, data):
    places = starts(length, patch, data.draw(st.integers(0, patch - 1)))
    total = np.zeros(max(length, patch))
    for start, weight in zip(places, axis_weights(places, patch, blend), strict=True):
        total[start : start + patch] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def windows(values, grid):
    """Cut class-first values (K, *space) into the windows of a grid."""
    for corner in grid.corners:
        yield values[:, *(slice(start, start + length) for start, length in zip(corner, grid.patch, strict=True))]


SPACES = [((17,), [4], [3]), ((9, 14), [4, 5], [3, 0]), ((5, 8, 7), [4, 4, 4], [3, 1, 3]), ((4, 4), [4, 4], [2, 2])]


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(("space", "patch", "overlap"), SPACES)
def test_windows_cut_out_of_a_space_are_the_space_again(space, patch, overlap, blend):
    grid = Grid.over(space, patch, overlap)
    values = np.random.default_rng(0).random((3, *space)).astype(np.float32)
    np.testing.assert_allclose(stitch(grid, windows(values, grid), blend), values, atol=1e-6)
    label = stitch(grid, windows(values, grid), blend, most_probable)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, values.argmax(axis=0))


@pytest.mark.parametrize("space", [(17,), (9, 14), (5, 8, 7)])
def test_uniform_weights_give_the_mean_and_leave_the_windows_as_they_are(space):
    """MIScnn averages pair by pair, where four windows meet 2.75 in place of 2.33, and in the caller's arrays (F7)."""
    grid = Grid.over(space, [4] * len(space), [3] * len(space))
    random = np.random.default_rng(1)
    patches = [random.random((2, *grid.patch)).astype(np.float32) for _ in grid.corners]
    before = [patch.copy() for patch in patches]
    total, count = np.zeros((2, *space)), np.zeros(space)
    for corner, patch in zip(grid.corners, patches, strict=True):
        where = tuple(slice(start, start + 4) for start in corner)
        total[:, *where] += patch
        count[where] += 1
    np.testing.assert_allclose(stitch(grid, iter(patches), "uniform"), total / count, atol=1e-6)
    np.testing.assert_array_equal(patches, before)


@pytest.mark.parametrize(("blend", "expected"), [("uniform", [7 / 3, 56 / 3]), ("miscnn", [2.75, 22])])
def test_where_three_windows_meet_miscnn_counts_the_last_one_half(blend, expected):
    """By hand, for windows of 1, 2, 4, ... : ((1 + 2) / 2 + 4) / 2 is 2.75, the mean 2.33 (F7)."""
    grid = Grid.over((8,), (3,), (2,))
    patches = (np.full((1, 3), 2.0**place, np.float32) for place in range(6))
    np.testing.assert_allclose(stitch(grid, patches, blend)[0, [2, 5]], expected, rtol=1e-6)


@settings(deadline=None)
@given(st.data())
def test_labels_are_those_of_the_whole_however_the_rows_come(data):
    shape, patch = (data.draw(st.tuples(st.integers(1, 12), st.integers(1, 9))) for _ in range(2))
    overlap = [data.draw(st.integers(0, length - 1)) for length in patch]
    grid = Grid.over(shape, patch, overlap)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    patches = [random.random((3, *patch)).astype(np.float32) for _ in grid.corners]
    whole = stitch(grid, iter(patches), "gaussian")
    np.testing.assert_array_equal(stitch(grid, iter(patches), "gaussian", most_probable), most_probable(whole))


def test_of_equal_classes_the_lower_one_is_most_probable():
    values = np.array([*itertools.product([0.0, 1.0], repeat=3)], np.float32).T.reshape(3, 2, 4)
    np.testing.assert_array_equal(most_probable(values), values.argmax(axis=0))
