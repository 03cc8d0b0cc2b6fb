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
CROP = {**WHOLE, "analysis": "crop", "patch": [6, 4]}
GRID = {**WHOLE, "analysis": "grid", "patch": [6, 4], "overlap": [2, 0]}
UFL = {"augment": {"p": 0.5}}  # of Yeung et al., more often


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


RUNS = [
    pytest.param(PATCHES, id="patches"),
    pytest.param({**PATCHES, **UFL}, id="patches, augmented"),
    pytest.param({**WHOLE, **UFL}, id="whole, augmented"),
    pytest.param({**CROP, **UFL, "steps_per_epoch": 5}, id="crop, augmented"),
    pytest.param({**GRID, **UFL}, id="grid, augmented"),
]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("config", RUNS)
def test_threads_and_resuming_change_nothing(make_cases, config, workers):
    cases = make_cases(3)
    patches = draw_patches(cases, config, seed=0) if config.get("patches") else cases
    alone, shared, other = (Batches(patches, config, seed=seed) for seed in (3, 3, 4))
    alone.epoch = shared.epoch = 5
    with ThreadPoolExecutor(workers) as pool:
        together = list(pool.map(shared.__getitem__, range(len(shared))))
    assert all(equal(a, b) for a, b in zip(alone, together, strict=True))
    other.epoch = 5
    assert not equal(alone[0], other[0])
    alone.on_epoch_end()
    assert alone.epoch == 6
    assert not equal(alone[0], shared[0])
    resumed = Batches(patches, config, seed=3)
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


def test_an_epoch_of_crops_is_one_of_each_case(make_cases):
    """Full batches, each case once before any comes again (faults F8, F27)."""
    batches = Batches(make_cases(6), CROP, seed=0)
    order = list(chain.from_iterable(batches.ids(index) for index in range(len(batches))))
    assert len(order) == 8
    assert len(set(order[:6])) == 6
    assert {images.shape for images, _ in batches} == {(4, 6, 4, 3)}


def test_crops_lie_where_they_say_and_move_from_epoch_to_epoch(make_case):
    """Each pixel of the case names itself, and so does its label."""
    names = np.arange(120, dtype=np.uint8).reshape(12, 10)
    batches = Batches([make_case(image=names[..., None], label=names)], {**CROP, "batch_size": 1}, seed=0)
    corners = set()
    for batches.epoch in range(200):
        image, label = (array[0] for array in batches[0])
        first = divmod(int(label[0, 0]), 10)
        np.testing.assert_array_equal(label, names[first[0] : first[0] + 6, first[1] : first[1] + 4])
        np.testing.assert_array_equal(image[..., 0], label)
        corners.add(first)
    assert np.max(list(corners), axis=0).tolist() == [6, 6]
    assert len(corners) > 40


def test_an_epoch_of_a_grid_is_every_window_of_every_case_shuffled(make_cases):
    """Fault F12: MIScnn's is as many batches as if each case had one window, in raster order."""
    batches = Batches(make_cases(3), GRID, seed=0)
    ids = list(chain.from_iterable(batches.ids(index) for index in range(len(batches))))
    assert len(batches) == 3 * 3 * 3 // 4 + 1
    assert len(set(ids[:27])) == 27
    assert {name.split("-")[0] for name in ids[:8]} == {"0", "1", "2"}
    seen = {one.corner for index in range(len(batches)) for one in batches.samples(index)}
    assert seen == {(row, column) for row in (0, 4, 6) for column in (0, 4, 6)}


@pytest.mark.parametrize("outside", ["unlabelled", "background", "reflect"])
@pytest.mark.parametrize("config", [{**CROP, **UFL}, {**GRID, **UFL}], ids=["crop", "grid"])
def test_cases_smaller_than_the_patch_and_without_foreground_never_break_a_batch(make_case, config, outside):
    """Faults F11 and F18; such are 42 of KiTS19's 204 cases."""
    cases = [make_case("a", (4, 10)), make_case("b", (1, 1)), make_case("c", label=np.zeros((12, 10), np.uint8))]
    batches = Batches(cases, {**config, "outside": outside, "foreground": 1}, seed=0)
    for batches.epoch in range(5):
        for images, labels in batches:
            assert images.shape == (4, 6, 4, 3)
            assert np.isfinite(images).all()
            assert set(np.unique(labels)) <= ({0, 1, 255} if outside == "unlabelled" else {0, 1})


def test_whole_images_of_different_sizes_are_augmented_one_by_one(make_case):
    """Fault F17."""
    cases = [make_case("a", (9, 12)), make_case("b", (14, 7))]
    batches = Batches(cases, {**WHOLE, **UFL, "batch_size": 1}, seed=0)
    assert {images.shape for images, _ in batches} == {(1, 9, 12, 3), (1, 14, 7, 3)}


def test_runs_of_one_process_share_nothing(make_case, make_cases):
    """Faults F4 and F5: stock objects keep what another run left there."""
    cases = make_cases(4)
    first = Batches(cases, {**CROP, **UFL}, seed=0)
    _ = first[0], Batches([make_case("x", (20, 8))], {**CROP, "patch": [5, 5]}, seed=1)[0]
    images, _ = Batches(cases, {**WHOLE, **UFL}, seed=0)[0]
    assert images.shape == (4, 12, 10, 3)
    assert equal(first[0], Batches(cases, {**CROP, **UFL}, seed=0)[0])


@pytest.mark.parametrize(("crops", "moves"), [("fixed", False), ("per_epoch", True)])
def test_validation_is_every_case_once_and_not_augmented(make_cases, crops, moves):
    """Fault F3: MIScnn's crops of validation are drawn anew each time, without a seed."""
    cases = {case.id: case for case in make_cases(6)}
    config = {**CROP, **UFL, "validation_crops": crops, "steps_per_epoch": 9}
    batches = Batches(list(cases.values()), config, seed=0, training=False)
    assert [batches.ids(index) for index in range(len(batches))] == [["0", "1", "2", "3"], ["4", "5"]]
    first = [batches[index] for index in range(2)]
    assert equal(first[1], batches[1])
    for images, name in zip(first[1][0], ("4", "5"), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(cases[name].image, (6, 4, 3))
        assert (windows == images).all(axis=(-1, -2, -3)).any()
    batches.epoch = 1
    assert equal(first[0], batches[0]) != moves
    assert not equal(first[0], Batches(list(cases.values()), config, seed=1, training=False)[0])


def test_validation_of_whole_images_is_the_images(make_cases):
    cases = make_cases(3)
    config = {**WHOLE, **UFL, "batch_size": 2, "mirror_tta": True}  # flips are for prediction
    batches = Batches(cases, config, seed=0, training=False)
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), [case.image for case in cases])
    with pytest.raises(ValueError, match="validation_crops `whole` predicts cases"):
        Batches(cases, {**CROP, "validation_crops": "whole"}, seed=0, training=False)


def test_augmentation_reads_what_it_derives_from_the_cache(make_cases, cache_folder):
    """Coefficients and places of foreground are made on first need, stored beside the image, and mapped."""
    cases, config = make_cases(3), {**CROP, "augment": {"p": 1}}
    batches = Batches(cases, {**config, "cache": "disk"}, seed=0)
    before = batches[0]
    stored = sorted(path.name.split(".")[1] for path in cache_folder.rglob("*.npy"))
    assert stored == sorted(["image", "label", "coefficients", "foreground"] * 3)
    times = {path: path.stat().st_mtime_ns for path in cache_folder.rglob("*.npy")}
    again = Batches(cases, {**config, "cache": "disk"}, seed=0)
    assert equal(before, again[0])
    assert isinstance(again.samples(0)[0].coefficients, np.memmap)
    assert {path: path.stat().st_mtime_ns for path in cache_folder.rglob("*.npy")} == times
    assert equal(before, Batches(cases, {**config, "cache": "none"}, seed=0)[0])


REFUSED = [  # shapes, settings, sentence
    pytest.param([], WHOLE, "there are no cases", id="nothing"),
    pytest.param([(4, 4), (4, 5)], WHOLE, r"0 is \[4, 4, 3\], 1 is \[4, 5, 3\]; set `size`", id="two sizes"),
    pytest.param(
        [(8, 12)], {**WHOLE, "size_factor": 8}, r"0 is \[8, 12\], .* multiples of 8", id="against the network"
    ),
    pytest.param([(8, 8)], PATCHES, "samples from draw_patches, got whole cases", id="whole cases as patches"),
    pytest.param([(8, 8, 8)], CROP, r"0 is \[8, 8, 8\], from which no windows of \(6, 4\)", id="volume as image"),
    pytest.param([(8, 8, 8)], GRID, r"0 is \[8, 8, 8\], from which no windows of \(6, 4\)", id="volume for a grid"),
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
