import dataclasses
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rareseg.datasets import DataError
from rareseg.pipeline import Settings, cache, draw_patches, prepare, prepare_all, preprocess
from rareseg.pipeline.memory import Budget
from rareseg.pipeline.preprocess import scale, to_original

PLAIN = {"scaling": "none"}


def test_prepared_cases_keep_what_the_case_says(make_case):
    mask = np.eye(12, 10, dtype=bool)
    case = make_case(mask=mask, part="training")
    prepared = prepare(case, {"scaling": "unit"})
    np.testing.assert_array_equal(prepared.image, case.image.astype(np.float32) / 255)
    np.testing.assert_array_equal(prepared.label, case.label)
    np.testing.assert_array_equal(prepared.mask, mask)
    dtypes = [np.asarray(array).dtype for array in (prepared.image, prepared.label, prepared.mask)]
    assert dtypes == [np.float32, np.uint8, bool]
    assert (prepared.id, prepared.group, prepared.part) == ("a", "group of a", "training")
    assert (prepared.shape, prepared.channels, prepared.original_shape) == ((12, 10), 3, (12, 10))
    assert prepare(prepared, {}) is prepared


@pytest.mark.parametrize("again", [False, True], ids=["computed", "from the cache"])
def test_facts_travel_with_the_case_and_its_patches(make_case, again):
    case = make_case(info={"objects": 3}, sort="grey")
    for _ in range(1 + again):
        prepared = prepare(case, PLAIN)
    assert prepared.info == {"objects": 3, "kind": "grey"}
    (patch,) = draw_patches([prepared], {"patch": [4, 4], "patches": {"count": 1}, "analysis": "patches"}, 0)
    assert patch.info == prepared.info
    assert prepare(make_case("b"), PLAIN).info == {}


def test_size_is_that_of_the_network_and_the_original_is_remembered(make_case):
    prepared = prepare(make_case(mask=np.ones((12, 10), bool)), {"size": [6, 20]})
    assert prepared.image.shape == (6, 20, 3)
    assert prepared.label.shape == np.asarray(prepared.mask).shape == prepared.shape == (6, 20)
    assert prepared.original_shape == (12, 10)


SCALINGS = [  # scaling, mean per channel, standard deviation per channel; of two channels: 0 and 2, 10 and 30
    pytest.param("unit", [1 / 255, 20 / 255], [1 / 255, 10 / 255], id="unit"),
    pytest.param("zscore", [-9.5 / 11.86381, 9.5 / 11.86381], [1 / 11.86381, 10 / 11.86381], id="zscore"),
    pytest.param("zscore_channel", [0, 0], [1, 1], id="zscore_channel"),
    pytest.param("zscore_then_unit", [1 / 30, 20 / 30], [1 / 30, 10 / 30], id="zscore_then_unit"),
    pytest.param("minmax", [1 / 30, 20 / 30], [1 / 30, 10 / 30], id="minmax"),
    pytest.param("none", [1, 20], [1, 10], id="none"),
]


@pytest.mark.parametrize(("scaling", "mean", "sd"), SCALINGS)
def test_scaling_equals_the_hand_calculation(scaling, mean, sd):
    image = scale(np.array([[[0, 10], [2, 30]]], np.float32), scaling, np.dtype(np.uint8))
    np.testing.assert_allclose(image.mean(axis=(0, 1)), mean, atol=1e-5)
    np.testing.assert_allclose(image.std(axis=(0, 1)), sd, atol=1e-5)
    assert image.dtype == np.float32


def test_the_mean_of_one_channel_leaves_the_others_alone():
    """Fault F9: two channels of means 100 and 0 became +1 and -1, with a deviation of 0.02 each."""
    image = np.random.default_rng(0).normal([100, 0], 1, (40, 30, 2)).astype(np.float32)
    scaled = scale(image, "zscore_channel", image.dtype)
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(0, 1)), 1, atol=1e-5)


@pytest.mark.parametrize("scaling", ["zscore", "zscore_channel"])
def test_large_images_are_scaled_in_blocks(monkeypatch, scaling):
    image = np.random.default_rng(0).normal(5, 3, (50, 7, 2)).astype(np.float32)
    axes = (0, 1, 2)[: 2 + (scaling == "zscore")]
    mean, sd = (f(image, axis=axes, dtype=np.float64, keepdims=True).astype(np.float32) for f in (np.mean, np.std))
    wanted = (image - mean + 1e-6) / (sd + 1e-6)
    np.testing.assert_array_equal(scale(image.copy(), scaling, image.dtype), wanted)
    monkeypatch.setattr(preprocess, "BLOCK", 60)
    np.testing.assert_allclose(scale(image.copy(), scaling, image.dtype), wanted, rtol=1e-6, atol=1e-7)


def test_preparing_leaves_the_case_as_it_is(make_case):
    image = np.random.default_rng(0).random((5, 6, 1)).astype(np.float32)
    case = make_case(image=image.copy(), label=np.zeros((5, 6), np.uint8))
    prepare(case, {"scaling": "zscore", "clip": [0.2, 0.8]})
    np.testing.assert_array_equal(case.image, image)


def test_the_statistics_of_each_channel_travel_with_the_case(make_case):
    case = make_case()
    for _ in range(2):  # computed, then from the cache
        found = prepare(case, PLAIN).statistics
        values = case.image.reshape(-1, 3).astype(float)
        wanted = [values.min(axis=0), values.max(axis=0), values.mean(axis=0)]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("kind", ["memory", "none"])
def test_foreground_is_known_by_class_and_no_more_of_it_than_is_needed(make_case, monkeypatch, kind):
    monkeypatch.setattr(preprocess, "FOREGROUND", 20)
    label = np.zeros((12, 10), np.uint8)
    label[2:9], label[3, 4], label[5], label[11] = 1, 3, 0, 255
    first, again = (prepare(make_case(label=label), {**PLAIN, "cache": kind}).foreground for _ in range(2))
    assert [len(places) for places in first] == [20, 1]
    for places, value in zip(first, (1, 3), strict=True):
        assert (label[tuple(places.T)] == value).all()
        assert len(np.unique(places, axis=0)) == len(places)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_killed_maker_of_coefficients_leaves_nothing_that_is_read(make_case, cache_folder, monkeypatch):
    prepared = prepare(make_case(), PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _ = prepared.coefficients
    assert not list(cache_folder.rglob("*coefficients*"))
    assert prepared.coefficients.shape == (3, 12, 10)


def test_unit_maps_the_range_of_signed_types():
    image = scale(np.array([-32768, 32767], np.float32), "unit", np.dtype(np.int16))
    np.testing.assert_allclose(image, [0, 1])


@pytest.mark.parametrize("scaling", ["zscore", "zscore_channel", "zscore_then_unit", "minmax"])
def test_constant_images_stay_finite(scaling):
    assert np.isfinite(scale(np.full((4, 4, 1), 7, np.float32), scaling, np.dtype(np.uint8))).all()


@pytest.mark.parametrize(("found", "asked"), [(1, 3), (1, 1), (3, 3)])
def test_a_single_channel_is_repeated(make_case, found, asked):
    case = make_case(channels=found)
    prepared = prepare(case, {**PLAIN, "channels": asked})
    np.testing.assert_array_equal(prepared.image[..., 0], case.image[..., 0])
    assert prepared.image.shape[-1] == prepared.channels == asked


REFUSED = [  # what is wrong with the case, settings, sentence
    pytest.param({"label": np.zeros((12, 9), np.uint8)}, {}, "a: the label is 12 x 9, the image 12 x 10", id="label"),
    pytest.param({"mask": np.ones((3, 3), bool)}, {}, "a: the mask is 3 x 3", id="mask"),
    pytest.param({}, {"channels": 1}, "a: the image has 3 channels.*asks for 1", id="colour as grey"),
    pytest.param({}, {"channels": 2}, "a: the image has 3 channels.*asks for 2", id="no channel is dropped"),
    pytest.param({"image": np.ones((12, 10, 1))}, {"scaling": "unit"}, "float64; take `minmax`", id="float as unit"),
    pytest.param({}, {"size": [4, 4, 4]}, r"size \[4, 4, 4\] does not suit an image of 12 x 10", id="3D size"),
]


@pytest.mark.parametrize(("changes", "config", "sentence"), REFUSED)
def test_cases_that_do_not_suit_are_refused_by_name(make_case, changes, config, sentence):
    with pytest.raises(DataError, match=sentence):
        prepare(make_case(**changes), config)


def test_probabilities_come_back_to_the_original_grid():
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], (7, 9)).astype(np.float32)
    assert to_original(probabilities, (7, 9)) is probabilities
    restored = to_original(probabilities, (20, 5))
    assert restored.shape == (20, 5, 3)
    np.testing.assert_allclose(restored.sum(axis=-1), 1, atol=1e-6)


def test_the_cache_is_used_instead_of_the_case(make_case, monkeypatch):
    case = make_case()
    first = prepare(case, PLAIN)
    monkeypatch.setattr(type(case), "read_image", lambda _: pytest.fail("the case was read again"))
    second = prepare(case, PLAIN)
    assert second.digest == first.digest
    assert isinstance(second.image, np.memmap)
    np.testing.assert_array_equal(second.image, case.image)


@pytest.mark.parametrize("change", ["length", "time", "id", "size", "clip", "scaling", "channels"])
def test_the_cache_is_rebuilt_when_a_source_or_an_argument_changes(make_case, cache_folder, change):
    case, config = make_case(), dict(PLAIN)
    prepare(case, config)
    if change == "length":
        time = case.files[0].stat().st_mtime_ns
        case.files[0].write_text("longer than before")
        os.utime(case.files[0], ns=(time, time))
    elif change == "time":
        os.utime(case.files[0], ns=(1, 1))
    elif change == "id":
        case = dataclasses.replace(case, id="b")
    else:
        config[change] = {"size": [6, 5], "clip": [0, 9], "scaling": "unit", "channels": 3}[change]
    prepare(case, config)
    assert len(list(cache_folder.rglob("*.json"))) == 2


def test_intensities_are_clipped_after_resizing_and_before_scaling(make_case):
    case = make_case(channels=1)
    settings = {"size": [6, 5], "scaling": "minmax", "clip": [100, 150]}
    resized = np.asarray(prepare(case, {"size": [6, 5], "scaling": "none"}).image)
    wanted = (resized.clip(100, 150) - 100) / 50
    np.testing.assert_allclose(prepare(case, settings).image, wanted, atol=1e-6)


def test_volumes_are_resampled_to_a_spacing(make_case):
    case = make_case(shape=(6, 8, 10), channels=1, spacing=(5.0, 0.8, 0.8))
    prepared = prepare(case, {"spacing": [3.0, 1.6, 0.4], "scaling": "none"})
    assert prepared.shape == (10, 4, 20)
    assert prepared.label.shape == (10, 4, 20)
    assert prepared.original_shape == (6, 8, 10)


SPACINGS = [  # settings, millimetres per axis of the network's grid; the case has 6 x 8 x 10 voxels of 5 x 0.7 x 0.8 mm
    pytest.param({}, (5.0, 0.7, 0.8), id="its own, to the last digit"),
    pytest.param({"spacing": [3, 1.4, 0.4]}, (3.0, 1.4, 0.4), id="spacing"),
    pytest.param({"size": [12, 8, 4]}, (2.5, 0.7, 2.0), id="size"),
]


@pytest.mark.parametrize(("config", "spacing"), SPACINGS)
def test_the_spacing_of_a_prepared_case_and_its_patches_is_that_of_their_grid(make_case, config, spacing):
    case = make_case(shape=(6, 8, 10), channels=1, spacing=(5.0, 0.7, 0.8))
    prepared = prepare(case, {"scaling": "none", **config})
    assert prepared.spacing == (spacing if not config else pytest.approx(spacing))
    drawing = {"patch": [2, 2, 2], "patches": {"count": 1}, "analysis": "patches"}
    assert draw_patches([prepared], drawing, 0)[0].spacing == prepared.spacing


@pytest.mark.parametrize("case", [{}, {"shape": (3, 4, 5), "spacing": (1.0, 1.0, 1.0)}], ids=["picture", "volume"])
def test_a_spacing_that_does_not_suit_is_refused(make_case, case):
    with pytest.raises(DataError, match=r"^a: spacing \[2, 2\] does not suit an image of .*; pictures take `size`"):
        prepare(make_case(**case), {"spacing": [2, 2]})


def test_threads_that_prepare_large_cases_take_turns(make_cases, monkeypatch):
    """Each case of 9,600 bytes needs half of what there is and more, so no two are ever under way."""
    monkeypatch.setattr(preprocess, "_MEMORY", Budget(15_000))
    real, under_way, most = preprocess._compute, [], []

    def watched(case, settings):
        under_way.append(case.id)
        most.append(len(under_way))
        time.sleep(0.01)
        under_way.remove(case.id)
        return real(case, settings)

    monkeypatch.setattr(preprocess, "_compute", watched)
    assert len(prepare_all(make_cases(8, (20, 20)), {**PLAIN, "channels": 3}, workers=8)) == 8
    assert max(most) == 1
    monkeypatch.setattr(preprocess, "_MEMORY", Budget(100_000_000))
    prepare_all(make_cases(8, (20, 20)), {**PLAIN, "channels": 3, "size": [20, 21]}, workers=8)
    assert max(most) > 1


def test_the_digest_follows_the_content(make_case):
    case = make_case()
    other = dataclasses.replace(case, id="b", label=1 - case.label)
    assert prepare(case, PLAIN).digest == prepare(dataclasses.replace(case, id="c"), PLAIN).digest
    assert prepare(case, PLAIN).digest != prepare(other, PLAIN).digest


def test_without_a_cache_nothing_is_written(make_case, cache_folder):
    case = make_case()
    prepared = prepare(case, {**PLAIN, "cache": "none"})
    np.testing.assert_array_equal(prepared.image, case.image)
    assert prepared.digest == prepare(case, PLAIN).digest
    assert len(list(cache_folder.rglob("*.json"))) == 1


@pytest.mark.parametrize("step", ["mkdir", "open", "fsync", "replace"])
def test_a_cache_that_cannot_be_written_is_one_sentence_and_leaves_no_half_file(
    make_case, cache_folder, monkeypatch, step
):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    case = make_case()
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(DataError, match=r"cannot keep prepared cases in .*cache \(No space left.*RARESEG_CACHE"):
        prepare(case, PLAIN)
    assert not [path for path in cache_folder.rglob("*") if path.is_file()]


def test_a_killed_writer_leaves_nothing_that_is_read(make_case, cache_folder):
    """The writer dies between the arrays and the line that says they are whole."""
    case = make_case()
    code = f"""
import os, numpy as np, pathlib
from rareseg.datasets import whole
from rareseg.pipeline import cache
real = whole.sync
def sync(path):
    if path.suffix == ".json":
        os.kill(os.getpid(), 9)
    real(path)
whole.sync = sync
cache.store(pathlib.Path({str(cache_folder / "prepared")!r}, "x"), {{"image": np.zeros(3)}}, {{"arrays": ["image"]}})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    found = [path.name for path in cache_folder.rglob("*") if path.is_file()]
    assert [name for name in found if not name.startswith(".")] == ["x.image.npy"]
    assert cache.load(cache_folder / "prepared" / "x") is None
    np.testing.assert_array_equal(prepare(case, PLAIN).image, case.image)


def test_many_cases_come_back_in_order_with_progress(make_cases):
    seen = []
    cases = make_cases(9)
    prepared = prepare_all(cases, PLAIN, workers=3, progress=lambda *counts: seen.append(counts))
    assert [one.id for one in prepared] == [case.id for case in cases]
    assert seen == [(done, 9) for done in range(1, 10)]


def test_the_first_bad_case_ends_it(make_cases):
    cases = make_cases(4)
    cases[2] = dataclasses.replace(cases[2], label=np.zeros((1, 1), np.uint8))
    with pytest.raises(DataError, match="2: the label is 1 x 1"):
        prepare_all(cases, Settings())


def test_more_cases_than_files_may_be_open(make_cases):
    """Each map holds a file descriptor, and a process has 1,024 of them."""
    prepared = [prepare(case, PLAIN) for case in make_cases(200, (2, 2))]
    cache.open_array.cache_clear()
    assert all(one.image.size == 12 and one.label.size == 4 for one in prepared)
    assert cache.open_array.cache_info().currsize == cache.OPEN_AT_ONCE < 400
