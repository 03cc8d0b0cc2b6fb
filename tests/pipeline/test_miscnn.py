"""The bridge. Compared are stock MIScnn and the native path; nothing of MIScnn itself is tested for its own sake."""

import importlib
import importlib.metadata
import math
import random
import subprocess
import sys
import types
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rareseg.datasets import DataError
from rareseg.pipeline import Batches, Settings, draw_patches, predict, prepare_all
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Augment
from rareseg.pipeline.stitching import Grid, stitch

cures = pytest.importorskip("rareseg.pipeline._miscnn_cures", reason="MIScnn needs TensorFlow", exc_type=ImportError)
bridge = pytest.importorskip("rareseg.pipeline.miscnn", reason="MIScnn is not installed", exc_type=ImportError)
miscnn = importlib.import_module("miscnn")

WHOLE = {"scaling": "zscore", "batch_size": 4}
PATCHES = {**WHOLE, "analysis": "patches", "patch": [8, 6], "patches": {"count": 30}}


def module(name):
    return importlib.import_module(f"miscnn.{name}")


def assert_same_batches(samples, config):
    native, stock = (Batches(samples, {**config, "backend": backend}, seed=7) for backend in ("native", "miscnn"))
    for epoch in (0, 3):
        native.epoch = stock.epoch = epoch
        for ours, theirs in zip(native, stock, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_both_backends_give_the_same_whole_images_bit_for_bit(make_cases):
    assert_same_batches(make_cases(10), WHOLE)


def test_both_backends_give_the_same_patches_bit_for_bit(make_cases):
    assert_same_batches(draw_patches(make_cases(3), PATCHES, seed=0), PATCHES)


def test_a_sample_may_stand_twice_in_a_batch(make_cases):
    """MIScnn takes the last id of a list for the end of the data wherever it stands (fault F27)."""
    assert_same_batches(make_cases(3), {**WHOLE, "batch_size": 5})


@pytest.mark.parametrize("small", ["0", "1"])
def test_a_window_that_reaches_beyond_its_case_is_refused(make_case, small):
    """A negative start would be counted from the end: of 4 x 10 pixels the window was 1 x 4."""
    cases = [make_case(name, (4, 10) if name == small else (12, 10)) for name in ("0", "1")]
    config = {**WHOLE, "analysis": "grid", "patch": [6, 4]}
    with pytest.raises(DataError, match=rf"{small}-000000: a window of 6 x 4 reaches beyond its case of 4 x 10"):
        Batches(cases, {**config, "backend": "miscnn"}, seed=0)
    window = next(one for one in Batches(cases, config, seed=0, shuffle=False)._samples if one.source.id == small)
    with pytest.raises(DataError, match="set a smaller patch, or that backend"):
        window.read_image()


def stock(cases):
    """Return the maker of stock batches of one sample, and its MIScnn preprocessor."""
    settings = Settings.of({**WHOLE, "batch_size": 1})
    maker = bridge.StockBatch(prepare_all(cases, settings), settings, seed=0)
    return maker, maker._stock


def test_runs_share_nothing(make_cases):
    """Stock queues are class attributes: what one run leaves there breaks the batches of the next (fault F4)."""
    (_, first), (_, second) = stock(make_cases(1)), stock(make_cases(1))
    first.img_queue.append("left over")
    first.cache["slicer_0"] = "left over"
    assert second.img_queue == module("processing.preprocessor").Preprocessor.img_queue == []
    assert second.cache == module("processing.preprocessor").Preprocessor.cache == {}


def test_pixels_without_a_class_are_unlabelled(make_cases, monkeypatch):
    maker, preprocessor = stock(make_cases(1))
    one_hot = np.array([[[[0, 1], [1, 0]], [[0, 0], [0, 1]]]], np.float32)
    monkeypatch.setattr(preprocessor, "run", lambda *_, **__: [(np.zeros((1, 2, 2, 3), np.float32), one_hot)])
    _, label = maker([], 0, 0)
    assert label.tolist() == [[[1, 0], [255, 1]]]


def test_what_miscnn_draws_depends_on_seed_epoch_and_index_alone(make_cases, monkeypatch):
    maker, preprocessor = stock(make_cases(1))

    def run(*_, **__):
        drawn = np.full((1, 1, 1, 1), np.random.random() + random.random())
        return [(drawn, np.ones((1, 1, 1, 2)))]

    monkeypatch.setattr(preprocessor, "run", run)
    first, again, epoch, index = (maker([], *place)[0].item() for place in ((1, 2), (1, 2), (0, 2), (1, 0)))
    assert first == again
    assert len({first, epoch, index}) == 3


PUBLISHED = {
    "backend": "miscnn",
    "scaling": "zscore",
    "batch_size": 4,
    "augment": {},
    "outside": "unlabelled",
    "fill": "zero",
    "crop_range": "miscnn",
    "foreground": 0,
}


@pytest.mark.parametrize("chosen", [{}, {"analysis": "crop", "patch": [9, 8]}], ids=["whole", "crop"])
def test_augmented_batches_are_those_of_a_stock_script(make_cases, chosen):
    """Settings of ours against a script with every switch given by hand, from one state of the global generators."""
    cases = make_cases(4, (30, 26))
    batches = Batches(cases, {**PUBLISHED, **chosen}, seed=7)
    batches.epoch = 2
    images, labels = batches[0]
    prepared = {case.id: case for case in prepare_all(cases, {"scaling": "zscore"})}
    dataset = types.SimpleNamespace(cases=list(prepared.values()), classes=range(2))
    augmentation = miscnn.Data_Augmentation(1, True, True, True, True, True, False, False, False)
    analysis = {"analysis": "patchwise-crop", "patch_shape": (9, 8)} if chosen else {"analysis": "fullimage"}
    by_hand = miscnn.Preprocessor(miscnn.Data_IO(bridge.Interface(dataset), ""), 4, data_aug=augmentation, **analysis)
    start = int(generator(7, "miscnn", 2, 0).integers(2**32))
    random.seed(start)
    np.random.seed(start)
    ((theirs, one_hot),) = by_hand.run(batches.ids(0), training=True)
    np.testing.assert_allclose(images, theirs, atol=1e-4)
    assert images.shape[1:3] == ((9, 8) if chosen else (30, 26))
    np.testing.assert_array_equal(labels == 255, one_hot.sum(axis=-1) == 0)
    assert chosen or (labels == 255).any()  # crops of this size lie inside
    np.testing.assert_array_equal(labels[labels < 255], one_hot.argmax(axis=-1)[labels < 255])
    np.testing.assert_array_equal(batches[0][0], images)


@pytest.mark.parametrize("chosen", [{}, {"analysis": "crop", "patch": [9, 8]}], ids=["whole", "crop"])
def test_threads_that_ask_at_once_get_the_same_batches(make_cases, chosen):
    """Its generators and its queue belong to the whole process (F26, F28); training makes batches ahead in threads."""
    batches = Batches(make_cases(24, (30, 26)), {**PUBLISHED, **chosen, "batch_size": 2}, seed=7)
    alone = list(batches)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(batches.__getitem__, range(len(batches))))
    for ours, theirs in zip(alone, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("crops", "moves"), [("fixed", False), ("per_epoch", True)])
def test_crops_of_validation_stay_or_move_as_asked(make_cases, crops, moves):
    """F3."""
    config = {**PUBLISHED, "analysis": "crop", "patch": [9, 8], "validation_crops": crops}
    batches = Batches(make_cases(4, (30, 26)), config, seed=7, training=False)
    first, _ = batches[0]
    batches.epoch = 1
    assert (first != batches[0][0]).any() == moves


@settings(deadline=None)
@given(st.data())
def test_grids_lie_where_those_of_miscnn_do(data):
    """Count and places, 100 random shapes in each run."""
    dimensions = data.draw(st.sampled_from([2, 3]))
    length = st.tuples(*[st.integers(1, 60 if dimensions == 2 else 14)] * dimensions)
    shape, patch = data.draw(length), data.draw(length)
    overlap = tuple(data.draw(st.integers(0, length - 1)) for length in patch)
    places = np.moveaxis(np.indices(shape), 0, -1)
    slices = module("utils.patch_operations").slice_matrix(places, patch, overlap, three_dim=dimensions == 3)
    assert [tuple(piece[(0,) * dimensions]) for piece in slices] == Grid.over(shape, patch, overlap).corners


@settings(deadline=None)
@given(st.data())
def test_blend_miscnn_equals_its_pairwise_means(data):
    """MIScnn halves what is there before each patch is added, along one axis after the other (F7)."""
    dimensions = data.draw(st.sampled_from([2, 3]))
    patch = data.draw(st.tuples(*[st.integers(1, 6)] * dimensions))
    shape = tuple(length + data.draw(st.integers(0, 7)) for length in patch)
    overlap = tuple(data.draw(st.integers(0, length - 1)) for length in patch)
    grid = Grid.over(shape, patch, overlap)
    patches = np.random.default_rng(0).random((len(grid.corners), *patch, 2)).astype(np.float32)
    ours = stitch(grid, (np.moveaxis(one, -1, 0) for one in patches), "miscnn")
    theirs = module("utils.patch_operations").concat_matrices(
        [one.copy() for one in patches], shape, patch, overlap, three_dim=dimensions == 3
    )
    np.testing.assert_allclose(np.moveaxis(ours, 0, -1), theirs, atol=1e-6)


def test_the_interface_serves_cases_in_their_order(make_cases):
    cases = make_cases(12)
    interface = bridge.Interface(types.SimpleNamespace(cases=cases, classes=("background", "lesion")))
    assert interface.initialize("anywhere") == [str(number) for number in range(12)]
    assert (interface.channels, interface.classes, interface.three_dim) == (3, 2, False)
    image, facts = interface.load_image("10")
    np.testing.assert_array_equal(image, cases[10].image)
    facts["original_shape"] = "what Resize writes here"
    assert interface.load_image("10")[1] == {}
    np.testing.assert_array_equal(interface.load_segmentation("10")[..., 0], cases[10].label)
    assert not interface.check_file_termination(".png")


def test_the_interface_hands_over_spacing_and_affine(make_case):
    case = make_case("scan", (3, 4, 5), 1, spacing=(3.0, 1.0, 1.0), affine=np.eye(4))
    interface = bridge.Interface(types.SimpleNamespace(cases=[case], classes=range(2)))
    assert interface.three_dim
    assert interface.load_image("scan")[1].keys() == {"spacing", "affine"}
    prepared = prepare_all([case], {"scaling": "none", "size": [6, 4, 5]})
    interface = bridge.Interface(types.SimpleNamespace(cases=prepared, classes=range(2)))
    assert interface.load_image("scan")[1] == {"spacing": (1.5, 1.0, 1.0)}


@pytest.mark.parametrize(
    ("prediction", "kept"),
    [(np.full((4, 4, 2), 0.25, np.float16), np.float16), (np.ones((4, 4, 1), np.int64), np.uint8)],
)
def test_predictions_are_kept_as_they_are(make_cases, tmp_path, prediction, kept):
    """Stock interfaces cast probabilities to integers (fault F13)."""
    interface = bridge.Interface(types.SimpleNamespace(cases=make_cases(1), classes=range(2)))
    for factor in (3, 1):
        interface.save_prediction(types.SimpleNamespace(index="0", pred_data=prediction * factor), str(tmp_path))
    loaded = interface.load_prediction("0", str(tmp_path))
    assert loaded.dtype == kept
    np.testing.assert_array_equal(loaded, prediction)


def test_importing_the_bridge_again_changes_nothing():
    network = module("neural_network.model").Neural_Network
    before = network.build_model, network.load, module("processing.subfunctions.resize").augment_resize
    importlib.reload(bridge)
    assert before == (network.build_model, network.load, module("processing.subfunctions.resize").augment_resize)


def test_another_version_is_left_alone(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.5.0")
    with pytest.warns(UserWarning, match=r"MIScnn 1\.5\.0 is not 1\.4\.0: it is used as it is, without our cures"):
        assert not cures.check_version()


def test_a_missing_miscnn_is_one_line_of_instruction(monkeypatch):
    def fail(_):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", fail)
    with pytest.raises(ImportError, match=r"install it with: pip install --no-deps miscnn==1\.4\.0"):
        cures.check_version()


def preprocessors():
    """Return MIScnn's own and ours, by name."""
    return {"stock": module("processing.preprocessor").Preprocessor, "ours": bridge.Preprocessor}


def network(interface, folder, whose="stock", **settings):
    """Build a small network of MIScnn's the way its README does."""
    from miscnn import Data_IO, Neural_Network
    from miscnn.neural_network.architecture.unet.standard import Architecture

    files = Data_IO(interface, str(folder), output_path=str(folder / "predictions"))
    chosen = {"batch_size": 2, "data_aug": None, "analysis": "fullimage", **settings}
    preprocessor = preprocessors()[whose](files, **chosen)
    loss = keras.losses.CategoricalCrossentropy()
    return Neural_Network(preprocessor, Architecture(n_filters=4, depth=2), loss=loss, metrics=[], learning_rate=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_stock_training_and_prediction_run_on_our_cases(make_cases, tmp_path, whose):
    cases = prepare_all(make_cases(4, (16, 8)), WHOLE)
    model = network(bridge.Interface(types.SimpleNamespace(cases=cases, classes=range(2))), tmp_path, whose)
    before = model.model.get_weights()
    model.train(["0", "1", "2"], epochs=1)
    assert any((a != b).any() for a, b in zip(before, model.model.get_weights(), strict=True))
    (label,) = model.predict(["3"], return_output=True)
    assert label.shape == (16, 8)
    model.predict(["3"])
    np.testing.assert_array_equal(bridge.Interface.load_prediction(model, "3", tmp_path / "predictions")[..., 0], label)


def write_png(folder, cases):
    for case in cases:
        (folder / case.id).mkdir(parents=True)
        Image.fromarray(case.image).save(folder / case.id / "imaging.png")
        Image.fromarray(case.label).save(folder / case.id / "segmentation.png")


def write_nifti(folder, cases):
    for case in cases:
        (folder / case.id).mkdir(parents=True)
        nibabel.Nifti1Image(case.image[..., 0], np.eye(4)).to_filename(folder / case.id / "imaging.nii.gz")
        nibabel.Nifti1Image(case.label, np.eye(4)).to_filename(folder / case.id / "segmentation.nii.gz")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_a_stock_script_cross_validates_on_png(make_cases, tmp_path, monkeypatch, whose):
    from miscnn.data_loading.interfaces import Image_interface
    from miscnn.evaluation import cross_validation, split_validation
    from miscnn.processing.subfunctions import Normalization, Resize

    monkeypatch.chdir(tmp_path)
    cases = make_cases(6, (20, 12))
    write_png(tmp_path / "data", cases)
    interface = Image_interface(classes=2, img_type="rgb")
    model = network(interface, tmp_path / "data", whose, subfunctions=[Resize((16, 8)), Normalization()])
    ids = [case.id for case in cases]
    cross_validation(ids, model, k_fold=2, epochs=1, evaluation_path="folds", run_detailed_evaluation=True)
    assert (tmp_path / "folds" / "fold_1" / "model.keras").is_file()
    split_validation(list(ids), model, percentage=0.3, epochs=1, evaluation_path="split")
    assert (tmp_path / "split").is_dir()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_a_stock_script_takes_patches_of_volumes_in_nifti(make_cases, tmp_path, whose):
    from miscnn import Data_Augmentation
    from miscnn.data_loading.interfaces import NIFTI_interface
    from miscnn.processing.subfunctions import Resampling

    cases = make_cases(3, (16, 20, 18), channels=1)
    write_nifti(tmp_path / "data", cases)
    everything = Data_Augmentation(elastic_deform=True, mirror=True)
    model = network(
        NIFTI_interface(channels=1, classes=2),
        tmp_path / "data",
        whose,
        subfunctions=[Resampling((1.5, 1, 1))],
        data_aug=everything,
        analysis="patchwise-crop",
        patch_shape=(8, 8, 8),
    )
    model.evaluate(["0", "1"], ["2"], epochs=1)
    (label,) = model.predict(["2"], return_output=True)
    assert label.shape == (16, 20, 18)
    assert len(model.predict_augmentated("2")) == 3
    model.dump(str(tmp_path / "model.keras"))
    model.load(str(tmp_path / "model.keras"))
    model.train(["0"], epochs=1)


def ours(cases, classes=2, subfunctions=(), **settings):
    """Return our Preprocessor over cases."""
    interface = bridge.Interface(types.SimpleNamespace(cases=cases, classes=range(classes)))
    files = miscnn.Data_IO(interface, "")
    chosen = {"batch_size": 2, "data_aug": None, "analysis": "fullimage", **settings}
    return bridge.Preprocessor(files, subfunctions=list(subfunctions), **chosen)


CROPS = {"analysis": "patchwise-crop", "patch_shape": (6, 5)}


@pytest.mark.parametrize("chosen", [{}, CROPS, {**CROPS, "analysis": "patchwise-grid"}], ids=["whole", "crop", "grid"])
def test_batches_of_our_preprocessor_are_those_of_batches(make_cases, chosen):
    cases = prepare_all(make_cases(5, (12, 10)), {"scaling": "zscore"})
    augmentation = miscnn.Data_Augmentation(elastic_deform=True, mirror=True)
    preprocessor = ours(cases, data_aug=augmentation, **chosen)
    preprocessor.seed = 3
    settings = preprocessor.native_settings()
    assert settings.augment == Augment(contrast=(0.3, 3.0), gamma=(0.7, 1.5), noise=(0, 0.05), mirror_axes=(0, 1, 2))
    expected = Batches(cases, settings, seed=3)
    feed = preprocessor.feed([case.id for case in cases], validation=False, shuffle=True, iterations=None)
    assert len(feed) == len(expected)
    for epoch in (0, 1):
        expected.epoch = epoch
        feed.clock.on_epoch_begin(epoch)
        for index in range(len(feed)):
            (images, one_hot), (theirs, labels) = feed[index], expected[index]
            np.testing.assert_array_equal(images, theirs)
            assert one_hot.dtype == np.float32
            np.testing.assert_array_equal(one_hot, labels[..., None] == np.arange(2))


NOT_HERE = [  # setting, what to use
    ("scaling", "a subfunction of MIScnn"),
    ("size", "a subfunction of MIScnn"),
    ("mirror_tta", "predict_augmentated of MIScnn's network"),
    ("steps_per_epoch", "the argument iterations of MIScnn's network"),
]


@pytest.mark.parametrize(("key", "instead"), NOT_HERE)
def test_settings_that_would_reach_training_alone_or_nothing_are_refused(make_cases, key, instead):
    preprocessor = ours(make_cases(1))
    preprocessor.settings = {key: None}
    with pytest.raises(ValueError, match=f"settings hold {key}, which is not offered here; use {instead}"):
        preprocessor.run(["0"])


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_cycles_make_as_many_batches_as_those_of_miscnn(make_cases, cycles):
    """Each case comes as often as there are cycles, and the last batch is filled up."""
    made = module("neural_network.model").DataGenerator
    interface = bridge.Interface(types.SimpleNamespace(cases=make_cases(3), classes=range(2)))
    lengths, ids = [], ["0", "1", "2"]
    for preprocessor in preprocessors().values():
        augmentation = miscnn.Data_Augmentation(cycles=cycles)
        one = preprocessor(miscnn.Data_IO(interface, ""), batch_size=2, data_aug=augmentation, analysis="fullimage")
        training = made(ids, one, training=True)
        lengths.append([len(training), len(made(ids, one, training=True, validation=True))])
    assert lengths == [[math.ceil(3 * cycles / 2), 2]] * 2
    drawn = Counter(name for index in range(len(training)) for name in training._batches.ids(index))
    assert sorted(drawn.values()) == [cycles, cycles, cycles + cycles % 2]


def test_a_wrapped_function_takes_what_the_stock_one_takes(make_cases):
    fit, feed = cures._with_own_order(lambda *args, **kwargs: (args, kwargs)), types.SimpleNamespace(clock="clock")
    assert fit(1, 2, epochs=3) == ((1, 2), {"epochs": 3})
    assert fit(x=1, y=2) == ((), {"x": 1, "y": 2})
    assert fit(x=feed, callbacks=None) == ((), {"x": feed, "callbacks": ["clock"], "shuffle": False})
    assert fit(feed, callbacks=["other"]) == ((feed,), {"callbacks": ["other", "clock"], "shuffle": False})
    made = module("neural_network.model").DataGenerator
    preprocessor = ours(make_cases(2))
    assert len(made(["0", "1"], preprocessor, True)) == len(made(["0", "1"], preprocessor, True, True)) == 1


def test_epochs_count_on_where_training_goes_on(make_cases):
    """Ten trainings of one epoch draw what one training of ten epochs draws."""
    cases = make_cases(4)
    preprocessor, expected = ours(cases), Batches(cases, {"scaling": "none", "batch_size": 2}, seed=0)
    for epoch in range(3):
        feed = preprocessor.feed(["0", "1", "2", "3"], validation=False, shuffle=True, iterations=None)
        feed.clock.on_epoch_begin(0)
        expected.epoch = epoch
        np.testing.assert_array_equal(feed[1][0], expected[1][0])


class Times:
    """A subfunction that multiplies intensities, and adds 100 to predictions."""

    def __init__(self, factor):
        self.factor, self.counted = np.float32(factor), []

    def preprocessing(self, sample, training=True):
        self.counted.append((sample.index, training))
        sample.img_data = sample.img_data * self.factor

    def postprocessing(self, sample, prediction, activation_output=False):  # noqa: ARG002
        return prediction + 100


def test_other_subfunctions_prepare_anew(make_cases):
    """An object made where another one lay has that one's id."""
    (case,) = make_cases(1)
    preprocessor = ours([case], batch_size=1)
    for factor in range(2, 12):
        preprocessor.subfunctions = [Times(factor)]
        ((images, _),) = preprocessor.run(["0"])
        np.testing.assert_array_equal(images[0], case.image * np.float32(factor))


def test_subfunctions_run_once_per_case_and_their_inverse_in_prediction(make_cases):
    cases, double = make_cases(3, (12, 10)), Times(2)
    preprocessor = ours(cases, subfunctions=[double])
    for _ in range(3):
        preprocessor.run(["0", "1", "2"])
    assert double.counted == [("0", True), ("1", True), ("2", True)]
    ((batch, none),) = preprocessor.run(["1"], training=False)
    assert none is None
    np.testing.assert_array_equal(batch[0], cases[1].image * np.float32(2))
    label = preprocessor.postprocessing(preprocessor.cache.pop("1"), np.stack([batch[..., 0], batch[..., 1]], -1))
    np.testing.assert_array_equal(label, (cases[1].image[..., 1] > cases[1].image[..., 0]) + 100)


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("shape", [(14, 11), (4, 17), (9, 8, 10)])
def test_predictions_of_our_preprocessor_are_those_of_predict(make_cases, shape, augmented):
    """MIScnn asks for batches, runs its network, and asks for the whole; under augmentation it flips there and back."""
    (case,) = make_cases(1, shape)
    patch = (6, 5, 4)[: len(shape)]
    augmentation = miscnn.Data_Augmentation()
    preprocessor = ours([case], analysis="patchwise-grid", patch_shape=patch, data_aug=augmentation)
    preprocessor.patchwise_overlap = (3, 2, 1)
    augmentation.infaug, augmentation.infaug_flip_current = augmented, 1
    batches = preprocessor.run(["0"], training=False)
    assert {len(batch) for batch, _ in batches[:-1]} == {2}
    answers = np.concatenate([np.asarray(batch, np.float32) for batch, _ in batches])
    sample = preprocessor.cache.pop("0")
    config = {"scaling": "none", "patch": patch, "overlap": (3, 2, 1)[: len(shape)]}
    expected = predict(lambda images: np.log(images + 1), case, config)
    np.testing.assert_array_equal(preprocessor.postprocessing(sample, answers), expected)
    found = preprocessor.postprocessing(sample, answers, activation_output=True)
    np.testing.assert_allclose(found, case.image, atol=1e-3)


def test_our_preprocessors_share_nothing_and_leave_the_augmentation_alone(make_cases):
    """Faults F4 and F5: class attributes, and a default argument that keeps the patch of an earlier run."""
    augmentation = miscnn.Data_Augmentation()
    first, second = (ours(make_cases(2), data_aug=augmentation, **chosen) for chosen in (CROPS, {}))
    before = dict(vars(augmentation))
    first.img_queue.append("left over")
    first.run(["0", "1"])
    assert dict(vars(augmentation)) == before
    assert not augmentation.cropping
    assert second.img_queue == []
    assert second.run(["0", "1"])[0][0].shape == (2, 12, 10, 3)


def test_what_would_break_a_batch_of_miscnn_is_one_sentence(make_cases):
    """Sizes that differ (F17), masks of 0 and 255 (F19); padding with -1 (F10) is background."""
    small, large = make_cases(1, (12, 10)), make_cases(2, (12, 12))
    with pytest.raises(DataError, match="cases of one batch must agree"):
        ours([small[0], large[1]]).run(["0", "1"])
    mask = np.full((12, 10), 255, np.uint8)
    with pytest.raises(DataError, match=r"0: labels hold 255, expected whole numbers below 2"):
        ours(make_cases(1, label=mask)).run(["0"])
    padded = np.full((12, 10), -1, np.int8)
    ((_, one_hot),) = ours(make_cases(1, label=padded), batch_size=1).run(["0"])
    assert one_hot[..., 0].all()


def test_last_batches_are_as_large_as_the_others(make_cases):
    """MIScnn's are smaller, and an id that stands twice flushes them early (F27)."""
    batches = ours(make_cases(3)).run(["0", "1", "0"])
    assert [len(images) for images, _ in batches] == [2, 2]


def test_blank_patches_are_skipped_where_a_case_has_others(make_cases):
    """MIScnn fails on a case without foreground, and takes patches of its grid in place of random ones (F18)."""
    label = np.zeros((30, 30), np.uint8)
    label[3, 4] = 1
    cases = make_cases(2, (30, 30), label=label)
    empty = make_cases(3, (30, 30), label=np.zeros_like(label))[2]
    preprocessor = ours([*cases, empty], batch_size=3, **CROPS)
    preprocessor.patchwise_skip_blanks = True
    for _ in range(5):
        ((images, one_hot),) = preprocessor.run(["0", "1", "2"])
        assert images.shape == (3, 6, 5, 3)
        assert one_hot[..., 1].any(axis=(1, 2)).tolist() == [True, True, False]


def test_augmentations_say_the_same_in_both_tongues():
    augment = Augment(
        0.3, (0, 2), 1.0, (0.9, 1.1), (-10.0, 20.0), (0, 1), None, (9.0, 13.0), None, (0.5, 2.0), None, (0, 1)
    )
    stock = bridge.stock_augmentation(augment, three_dim=True)
    assert (stock.scaling, stock.rotations, stock.mirror, stock.contrast, stock.gaussian_noise) == (True,) * 5
    assert (stock.elastic_deform, stock.brightness, stock.gamma) == (False,) * 3
    assert stock.config_rotations_angleX == pytest.approx(np.radians((-10, 20)))
    assert stock.config_rotations_angleZ == (0, 0)
    assert bridge.native_augmentation(stock, three_dim=True) == augment
    nothing = bridge.stock_augmentation(None, three_dim=True)
    switches = ("scaling", "rotations", "elastic_deform", "mirror", "brightness", "contrast", "gamma", "gaussian_noise")
    assert not any(getattr(nothing, switch) for switch in switches)
    assert bridge.native_augmentation(None, three_dim=True) is None


def test_pictures_are_turned_by_the_first_angle_alone(make_cases):
    """Batchgenerators turns them by angle_x, whatever the others say; ``rotate_axes`` concern volumes."""
    stock = miscnn.Data_Augmentation()
    stock.config_rotations_angleX, stock.config_rotations_angleY = (0.0, 0.0), (-0.1, 0.3)
    preprocessor = ours(make_cases(1), data_aug=stock)
    assert preprocessor.native_settings().augment.rotate is None
    stock.config_rotations_angleX = (0.0, np.pi / 2)
    augment = preprocessor.native_settings().augment
    assert (augment.rotate, augment.rotate_axes) == ((0, 90), None)
    settings = Settings.of({**PUBLISHED, "augment": {"rotate": [0, 90], "rotate_axes": [1, 2]}})
    maker = bridge.StockBatch(prepare_all(make_cases(1), settings), settings, seed=0)
    assert maker._stock.data_augmentation.config_rotations_angleX == pytest.approx((0, np.pi / 2))


def test_what_one_side_lacks_is_refused_by_name():
    stock = miscnn.Data_Augmentation()
    stock.coloraug_per_channel = False
    with pytest.raises(ValueError, match="coloraug_per_channel = False is not offered"):
        bridge.native_augmentation(stock, three_dim=False)
    with pytest.raises(ValueError, match=r"augment\.mirror_probability to 1"):
        bridge.stock_augmentation(Augment(mirror_probability=0.5), three_dim=False)
    crops = {"analysis": "crop", "patch": [4, 4], "backend": "miscnn"}
    with pytest.raises(ValueError, match="no other way than outside: unlabelled, fill: zero, crop_range: miscnn, fore"):
        bridge._refuse_what_miscnn_lacks(Settings.of(crops))


@pytest.mark.filterwarnings("ignore:Argument `alpha` is deprecated")
def test_the_plain_network_finds_its_normalisation():
    from miscnn.neural_network.architecture.unet.plain import Architecture

    model = Architecture().create_model_2D((None, None, 1), 2)
    assert any(isinstance(layer, keras.layers.GroupNormalization) for layer in model.layers)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runs"), [("miscnn_example", 2), ("pipeline_example", 1)])
def test_the_examples_run_on_phantoms_and_say_how_fast(name, runs):
    script = Path(__file__).parents[2] / "scripts" / f"{name}.py"
    command = [sys.executable, str(script), "--epochs", "1", "--size", "32"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    assert answer.stdout.count("ms of CPU per batch") == runs
    assert answer.stdout.count("of the pixels are foreground") == 2 * runs
