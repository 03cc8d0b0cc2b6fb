"""The bridge. Compared are stock MIScnn and the native path; nothing of MIScnn itself is tested for its own sake."""

import importlib
import importlib.metadata
import random
import subprocess
import sys
import types
from pathlib import Path

import keras
import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rareseg.pipeline import Batches, Settings, draw_patches, prepare_all
from rareseg.pipeline.patches import Grid

bridge = pytest.importorskip("rareseg.pipeline.miscnn", reason="MIScnn is not installed", exc_type=ImportError)

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


@given(st.data())
def test_grids_lie_where_those_of_miscnn_do(data):
    shape, patch = (data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60))) for _ in range(2))
    overlap = tuple(data.draw(st.integers(0, length - 1)) for length in patch)
    places = np.moveaxis(np.indices(shape), 0, -1)
    slices = module("utils.patch_operations").slice_matrix(places, patch, overlap, three_dim=False)
    assert [tuple(piece[0, 0]) for piece in slices] == Grid.over(shape, patch, overlap).corners


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
        assert not bridge._is_known_version()


def test_a_missing_miscnn_is_one_line_of_instruction(monkeypatch):
    def fail(_):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", fail)
    with pytest.raises(ImportError, match=r"install it with: pip install --no-deps miscnn==1\.4\.0"):
        bridge._is_known_version()


def network(interface, folder, **settings):
    """Build a small network of MIScnn's the way its README does."""
    from miscnn import Data_IO, Neural_Network, Preprocessor
    from miscnn.neural_network.architecture.unet.standard import Architecture

    files = Data_IO(interface, str(folder), output_path=str(folder / "predictions"))
    preprocessor = Preprocessor(files, **{"batch_size": 2, "data_aug": None, "analysis": "fullimage", **settings})
    loss = keras.losses.CategoricalCrossentropy()
    return Neural_Network(preprocessor, Architecture(n_filters=4, depth=2), loss=loss, metrics=[], learning_rate=0.01)


def test_stock_training_and_prediction_run_on_our_cases(make_cases, tmp_path):
    cases = prepare_all(make_cases(4, (16, 8)), WHOLE)
    model = network(bridge.Interface(types.SimpleNamespace(cases=cases, classes=range(2))), tmp_path)
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
def test_stock_cross_validation_runs_on_png(make_cases, tmp_path, monkeypatch):
    from miscnn.data_loading.interfaces import Image_interface
    from miscnn.evaluation import cross_validation, split_validation
    from miscnn.processing.subfunctions import Normalization, Resize

    monkeypatch.chdir(tmp_path)
    cases = make_cases(6, (20, 12))
    write_png(tmp_path / "data", cases)
    model = network(
        Image_interface(classes=2, img_type="rgb"), tmp_path / "data", subfunctions=[Resize((16, 8)), Normalization()]
    )
    ids = [case.id for case in cases]
    cross_validation(ids, model, k_fold=2, epochs=1, evaluation_path="folds", run_detailed_evaluation=True)
    assert (tmp_path / "folds" / "fold_1" / "model.keras").is_file()
    split_validation(list(ids), model, percentage=0.3, epochs=1, evaluation_path="split")
    assert (tmp_path / "split").is_dir()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_stock_patches_of_volumes_run_on_nifti(make_cases, tmp_path):
    from miscnn import Data_Augmentation
    from miscnn.data_loading.interfaces import NIFTI_interface
    from miscnn.processing.subfunctions import Resampling

    cases = make_cases(3, (16, 20, 18), channels=1)
    write_nifti(tmp_path / "data", cases)
    everything = Data_Augmentation(elastic_deform=True, mirror=True)
    model = network(
        NIFTI_interface(channels=1, classes=2),
        tmp_path / "data",
        subfunctions=[Resampling((1.5, 1, 1))],
        data_aug=everything,
        analysis="patchwise-crop",
        patch_shape=(8, 8, 8),
    )
    model.evaluate(["0", "1"], ["2"], epochs=1)
    (label,) = model.predict(["2"], return_output=True)
    assert label.shape == (16, 20, 18)
    model.dump(str(tmp_path / "model.keras"))
    model.load(str(tmp_path / "model.keras"))
    model.train(["0"], epochs=1)


@pytest.mark.filterwarnings("ignore:Argument `alpha` is deprecated")
def test_the_plain_network_finds_its_normalisation():
    from miscnn.neural_network.architecture.unet.plain import Architecture

    model = Architecture().create_model_2D((None, None, 1), 2)
    assert any(isinstance(layer, keras.layers.GroupNormalization) for layer in model.layers)


@pytest.mark.slow
def test_the_example_runs_on_phantoms():
    script = Path(__file__).parents[2] / "scripts" / "miscnn_example.py"
    answer = subprocess.run(
        [sys.executable, str(script), "--epochs", "1"], capture_output=True, text=True, check=True, timeout=300
    )
    assert answer.stdout.count("of the pixels are foreground") == 2
