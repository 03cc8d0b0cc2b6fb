import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from rareseg.datasets import DataError
from rareseg.pipeline import draw_patches, prepare

DISC = (np.indices((40, 50)) - np.array([20, 25])[:, None, None]).__pow__(2).sum(axis=0) < 15**2


def config(count, inside=0.95, patch=(8, 6), **more):
    return {"analysis": "patches", "patch": list(patch), "patches": {"count": count, "inside_fov": inside}, **more}


def test_patches_are_drawn_evenly_and_know_where_they_come_from(make_cases):
    cases = make_cases(3, (40, 50), mask=DISC, part="training")
    patches = draw_patches(cases, config(100), seed=0)
    assert Counter(patch.source.id for patch in patches) == {"0": 33, "1": 33, "2": 34}
    assert [patch.id for patch in patches[32:34]] == ["0-000032", "1-000000"]
    assert len({patch.id for patch in patches}) == 100
    one = patches[40]
    assert (one.group, one.part) == ("group of 1", "training")
    assert one.shape == one.original_shape == (8, 6)
    source = prepare(cases[1], config(100))
    (row, column), (rows, columns) = one.corner, one.shape
    for name in ("image", "label", "mask"):
        whole = getattr(source, name)
        np.testing.assert_array_equal(
            getattr(one, f"read_{name}")(), whole[row : row + rows, column : column + columns]
        )


@pytest.mark.parametrize(("inside", "low", "high"), [(1, 300, 300), (0.5, 150, 230), (0, 60, 140)])
def test_the_share_inside_the_field_of_view_is_kept(make_cases, inside, low, high):
    """Patches drawn anywhere fall inside by chance: the disc is 35% of the frame."""
    patches = draw_patches(make_cases(1, (40, 50), mask=DISC), config(300, inside), seed=0)
    centred = sum(DISC[patch.corner[0] + 4, patch.corner[1] + 3] for patch in patches)
    assert low <= centred <= high


def test_patches_reach_the_edge_but_not_beyond(make_cases):
    patches = draw_patches(make_cases(1, (40, 50)), config(2000), seed=0)
    corners = np.array([patch.corner for patch in patches])
    assert corners.min(axis=0).tolist() == [0, 0]
    assert corners.max(axis=0).tolist() == [40 - 8, 50 - 6]


def test_the_draw_depends_on_its_seed_alone(make_cases):
    cases = make_cases(3, (40, 50))
    first, again, other = ([patch.corner for patch in draw_patches(cases, config(60), seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[:20] != first[20:40]


def test_patches_live_on_the_grid_of_the_network(make_cases):
    patches = draw_patches(make_cases(2, (40, 50), mask=DISC), config(50, size=[20, 25]), seed=0)
    assert np.max([patch.corner for patch in patches], axis=0).tolist() <= [20 - 8, 25 - 6]


REFUSED = [
    pytest.param({"shape": (6, 50)}, r"0: patches of \[8, 6\] do not fit into an image of \[6, 50\]", id="too large"),
    pytest.param({"shape": (9, 9, 9)}, r"0: patches of \[8, 6\] do not fit", id="volume"),
    pytest.param({"shape": (9, 9), "mask": np.zeros((9, 9), bool)}, "0: the field of view is empty", id="empty field"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED)
def test_images_that_hold_no_patch_are_refused_by_name(make_cases, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        draw_patches(make_cases(1, **changes), config(5), seed=0)


def test_two_hundred_thousand_patches_are_light(make_cases):
    """The paper draws 200,000 patches of DRIVE; its images are larger, which costs no memory."""
    cases = [prepare(case, config(1)) for case in make_cases(40, (40, 50), mask=DISC)]
    assert len(draw_patches(cases, config(200_000), seed=0)) == 200_000
    tracemalloc.start()
    patches = draw_patches(cases, config(20_000), seed=0)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size * 10 < 60e6
    assert sys.getsizeof(patches[0]) < 100
