from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import keras
import numpy as np
import pytest

from rareseg.datasets import DataError
from rareseg.pipeline import Batches, Settings, draw_patches, prepare
from rareseg.pipeline.batches import NativeBatch

WHOLE = {"scaling": "none", "batch_size": 4}
PATCHES = {**WHOLE, "analysis": "patches", "patch": [4, 4], "patches": {"count": 23}}


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_batches_hold_the_samples_that_they_name(make_cases, cache):
    cases = {case.id: case for case in make_cases(6)}
    batches = Batches(list(cases.values()), {**WHOLE, "cache": cache}, seed=0)
    for index, (images, labels) in enumerate(batches):
        assert (images.dtype, labels.dtype) == (np.float32, np.uint8)
        np.testing.assert_array_equal(images, [cases[name].image for name in batches.ids(index)])
        np.testing.assert_array_equal(labels, [cases[name].label for name in batches.ids(index)])


def test_batches_of_patches_are_cut_from_their_sources(make_cases):
    patches = {patch.id: patch for patch in draw_patches(make_cases(3), PATCHES, seed=0)}
    batches = Batches(list(patches.values()), PATCHES, seed=0)
    images, labels = batches[1]
    assert (images.shape, labels.shape) == ((4, 4, 4, 3), (4, 4, 4))
    np.testing.assert_array_equal(images, [patches[name].read_image() for name in batches.ids(1)])
    np.testing.assert_array_equal(labels, [patches[name].read_label() for name in batches.ids(1)])
    assert [one.corner for one in batches.samples(1)] == [patches[name].corner for name in batches.ids(1)]


def test_image_and_label_stay_aligned(make_case):
    board = (np.indices((12, 10)).sum(axis=0) % 2).astype(np.uint8)
    case = make_case(image=board[..., None], label=board)
    for images, labels in Batches(draw_patches([case], PATCHES, seed=0), PATCHES, seed=0):
        np.testing.assert_array_equal(images[..., 0], labels)


def test_every_batch_is_full_and_every_sample_comes_once_before_any_comes_again(make_cases):
    batches = Batches(make_cases(10), WHOLE, seed=0)
    order = list(chain.from_iterable(batches.ids(index) for index in range(len(batches))))
    assert len(batches) == batches.steps == 3
    assert len(order) == 12
    assert Counter(order[:10]) == Counter(map(str, range(10)))


def test_steps_per_epoch_repeats_or_cuts_the_pass(make_cases):
    cases = make_cases(5)
    assert len(Batches(cases, {**WHOLE, "steps_per_epoch": 1}, seed=0)) == 1
    batches = Batches(cases, {**WHOLE, "steps_per_epoch": 5}, seed=0)
    counts = Counter(chain.from_iterable(batches.ids(index) for index in range(5)))
    assert set(counts.values()) == {4}


def test_without_shuffling_the_order_is_that_of_the_cases(make_cases):
    batches = Batches(make_cases(6), WHOLE, seed=0, shuffle=False)
    assert [batches.ids(0), batches.ids(1)] == [["0", "1", "2", "3"], ["4", "5", "0", "1"]]


def orders(cases, seed, epochs):
    batches = Batches(cases, WHOLE, seed=seed)
    for epoch in epochs:
        batches.epoch = epoch
        yield [batches.ids(index) for index in range(len(batches))]


def test_the_order_is_a_function_of_seed_and_epoch(make_cases):
    cases = make_cases(10)
    first, second = orders(cases, 0, (0, 1))
    assert first != second
    assert list(orders(cases, 0, (1, 0))) == [second, first]
    assert next(orders(cases, 1, (0,))) != first


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_and_resuming_change_nothing(make_cases, workers):
    patches = draw_patches(make_cases(3), PATCHES, seed=0)
    alone, shared = (Batches(patches, PATCHES, seed=3) for _ in range(2))
    alone.epoch = shared.epoch = 5
    with ThreadPoolExecutor(workers) as pool:
        together = list(pool.map(shared.__getitem__, range(len(shared))))
    assert all(equal(a, b) for a, b in zip(alone, together, strict=True))
    alone.on_epoch_end()
    assert alone.epoch == 6
    resumed = Batches(patches, PATCHES, seed=3)
    resumed.epoch = 6
    assert all(equal(a, b) for a, b in zip(alone, resumed, strict=True))


def weights_after(batches, start, end, weights=None):
    """Train a network, small but sensitive to the order, and return its weights."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, padding="same")])
    model.compile(keras.optimizers.SGD(1e-5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    if weights is not None:
        model.set_weights(weights)
    follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: setattr(batches, "epoch", epoch))
    model.fit(batches, initial_epoch=start, epochs=end, shuffle=False, callbacks=[follow], verbose=0)
    return model.get_weights()


def test_fit_sees_the_same_batches_with_any_number_of_workers_and_after_resuming(make_cases):
    patches = draw_patches(make_cases(3), PATCHES, seed=0)
    first, second, third = (weights_after(Batches(patches, PATCHES, seed=0, workers=n), 0, 3) for n in (1, 2, 4))
    assert equal(first, second)
    assert equal(first, third)
    half = weights_after(Batches(patches, PATCHES, seed=0), 0, 1)
    assert equal(first, weights_after(Batches(patches, PATCHES, seed=0, workers=2), 1, 3, half))
    assert not equal(first, weights_after(Batches(patches, PATCHES, seed=1), 0, 3))


def test_sets_too_large_for_memory_stay_on_disk(make_cases, monkeypatch):
    monkeypatch.setattr("rareseg.pipeline.batches.MEMORY_LIMIT", 1000)
    cases = make_cases(4)
    assert not NativeBatch([prepare(case, WHOLE) for case in cases], Settings.of(WHOLE))._held
    batches = Batches(cases, WHOLE, seed=0)
    assert batches[0][0].sum() == sum(case.image.sum(dtype=float) for case in cases)


REFUSED = [  # shapes, settings, sentence
    pytest.param([], WHOLE, "there are no cases", id="nothing"),
    pytest.param([(4, 4), (4, 5)], WHOLE, r"0 is \[4, 4, 3\], 1 is \[4, 5, 3\]; set `size`", id="two sizes"),
    pytest.param(
        [(8, 12)], {**WHOLE, "size_factor": 8}, r"0 is \[8, 12\], .* multiples of 8", id="against the network"
    ),
    pytest.param([(8, 8)], PATCHES, "samples from draw_patches, got whole cases", id="whole cases as patches"),
]


@pytest.mark.parametrize(("shapes", "config", "sentence"), REFUSED)
def test_what_cannot_be_stacked_is_refused_by_name(make_case, shapes, config, sentence):
    with pytest.raises(DataError, match=sentence):
        Batches([make_case(str(number), shape) for number, shape in enumerate(shapes)], config, seed=0)


def test_images_of_different_sizes_may_come_one_by_one(make_case):
    batches = Batches([make_case("a", (4, 4)), make_case("b", (4, 5))], {**WHOLE, "batch_size": 1}, seed=0)
    assert {images.shape for images, _ in batches} == {(1, 4, 4, 3), (1, 4, 5, 3)}


def test_batches_beyond_the_epoch_and_impossible_seeds_are_refused(make_cases):
    with pytest.raises(IndexError, match="has 1 batches, there is no batch 1"):
        Batches(make_cases(3), WHOLE, seed=0)[1]
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\^64 - 1, got -1"):
        Batches(make_cases(3), WHOLE, seed=-1)[0]
