"""Rules without a network, on images small enough to see the answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rareseg.evaluation import best_otsu, best_threshold, otsu

TRUTH = np.array([[0, 0, 1], [0, 1, 1]])
NOISE = np.array([[3.0, 9.0, 1.0], [7.0, 2.0, 8.0]])


def image(*channels):
    return np.stack(channels, axis=-1).astype(float)


FOUND = [  # channels, channel, polarity, level
    pytest.param([np.where(TRUTH, 200, 50), NOISE], 0, "bright", 50.588235, id="bright, first channel"),
    pytest.param([NOISE, np.where(TRUTH, 50, 200)], 1, "dark", 50.588235, id="dark, second channel"),
]


@pytest.mark.parametrize(("channels", "channel", "polarity", "level"), FOUND)
def test_the_rule_that_solves_an_image_is_found(channels, channel, polarity, level):
    best = best_threshold([image(*channels)], [TRUTH])
    assert (best.value, best.channel, best.polarity) == (1, channel, polarity)
    assert best.level == pytest.approx(level)
    assert best_otsu([image(*channels)], [TRUTH])[:3] == (1, channel, polarity)


@pytest.mark.parametrize("shown", [np.where(TRUTH, 200, 50), np.where(TRUTH, 50, 200)], ids=["bright", "dark"])
def test_the_rule_can_be_applied_to_an_image(shown):
    found = best_threshold([image(NOISE, shown)], [TRUTH]).apply(image(NOISE, shown))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, TRUTH)
    with pytest.raises(ValueError, match="a level of its own for each image"):
        best_otsu([image(shown)], [TRUTH]).apply(image(shown))


def test_one_threshold_serves_all_images_while_otsu_has_one_for_each():
    images = [image(np.where(TRUTH, high, low)) for high, low in ((200, 100), (90, 10))]
    assert best_otsu(images, [TRUTH, TRUTH]).value == 1
    assert best_threshold(images, [TRUTH, TRUTH]).value == pytest.approx((1 + 3 / 6) / 2)


def test_masks_hide_what_would_mislead():
    shown = np.where(TRUTH, 200, 50)
    shown[0, 0] = 255
    mask = np.ones(TRUTH.shape, dtype=bool)
    mask[0, 0] = False
    assert best_threshold([image(shown)], [TRUTH]).value == pytest.approx(3 / 4)
    assert best_threshold([image(shown)], [TRUTH], [mask]).value == 1
    assert best_otsu([image(shown)], [TRUTH], [mask]).value == 1


def test_volumes_work_like_images():
    volume = np.stack([TRUTH, 1 - TRUTH])
    assert best_threshold([image(volume * 10)], [volume]).value == 1


REFUSED = [
    pytest.param([], [], "got 0 images and 0 truths", id="nothing"),
    pytest.param([np.zeros((2, 3))], [TRUTH], r"shape \(2, 3\), its truth \(2, 3\)", id="no channel axis"),
    pytest.param([image(NOISE), image(NOISE, NOISE)], [TRUTH, TRUTH], r"have \[1, 2\] channels", id="channels"),
]


@pytest.mark.parametrize(("images", "truths", "sentence"), REFUSED)
def test_images_that_do_not_fit_are_refused(images, truths, sentence):
    with pytest.raises(ValueError, match=sentence):
        best_threshold(images, truths)


@pytest.mark.parametrize("search", [best_threshold, best_otsu])
def test_empty_cases_count_as_told(search):
    images, truths = [image(np.where(TRUTH, 1, 9)), image(np.full(TRUTH.shape, 9))], [TRUTH, 0 * TRUTH]
    assert [search(images, truths, empty=empty).value for empty in ("nan", "one")] == [1, 1]
    assert search(images, truths, empty="zero").value == pytest.approx(0.5)


@pytest.mark.parametrize("search", [best_threshold, best_otsu])
def test_a_metric_that_no_case_defines_has_no_best_rule(search):
    with pytest.raises(ValueError, match=r"^recall is defined for no case, so no rule is best; take another metric,"):
        search([image(NOISE)], [0 * TRUTH], metric="recall")


@settings(max_examples=25)
@given(arrays.arrays(np.uint8, (2, 4, 5, 2)), arrays.arrays(bool, (2, 4, 5)))
def test_the_best_threshold_equals_trying_them_all(images, truths):
    images[0, 0, 0], images[0, 0, 1] = 0, 255  # so that the levels are the 256 grey values
    truths[:, 0, 0] = True
    best = best_threshold(list(images), list(truths), metric="dsc")
    bright = images[np.newaxis] >= np.arange(256).reshape(-1, 1, 1, 1, 1)
    truth = truths[np.newaxis, ..., np.newaxis]
    tried = []
    for found in (bright, ~bright):
        both = (found & truth).sum(axis=(2, 3))
        tried.append((2 * both / (found.sum(axis=(2, 3)) + truth.sum(axis=(2, 3)))).mean(axis=1).max())
    assert best.value == pytest.approx(max(tried))


@given(arrays.arrays(np.uint8, st.integers(2, 40)))
def test_otsu_has_the_least_variance_within(values):
    level = otsu(values)
    edges = np.histogram(values, bins=256)[1]
    centres = (edges[:-1] + edges[1:]) / 2
    binned = centres[np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 255)]

    def within(level):
        parts = binned[binned < level], binned[binned >= level]
        return sum(part.size * part.var() for part in parts if part.size)

    assert within(level) == pytest.approx(min(within(edge) for edge in edges), abs=1e-6)


def test_otsu_agrees_with_an_independent_library():
    filters = pytest.importorskip("skimage.filters")
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(0.3, 0.05, 4000), generator.normal(0.7, 0.1, 1000)])
    assert otsu(values) == pytest.approx(filters.threshold_otsu(values), abs=np.ptp(values) / 256)
