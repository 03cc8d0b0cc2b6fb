"""One loss per output of a network, each at the resolution of its output."""

import keras
import numpy as np
import pytest

from rareseg import losses

pytestmark = pytest.mark.usefixtures("graphs_as_they_are")  # other tests compare what graphs compute


def test_weights_halve_from_the_finest_output_to_the_coarsest():
    built, weights = losses.deep_supervision(["focal", "dice", {"name": "tversky", "delta": 0.5}])
    assert [type(loss.base).__name__ for loss in built] == ["Focal", "Dice", "Tversky"]
    np.testing.assert_allclose(weights, [1 / 7, 2 / 7, 4 / 7])
    assert losses.deep_supervision("dice", weights=[1, 1, 2])[1] == [1.0, 1.0, 2.0]
    assert len(losses.deep_supervision("dice", weights=[1, 1, 2])[0]) == 3


REFUSED = [
    (("dice",), {}, ValueError, "deep_supervision: give one loss per output, or one loss and the weights of all"),
    ((["dice", "focal"],), {"weights": [1]}, ValueError, r"^deep_supervision: 2 losses, but 1 weights$"),
    ((["dice"],), {"offset": "corner"}, ValueError, r"^offset must be 'centre' or 'origin', got 'corner'$"),
    (([],), {}, ValueError, "^deep_supervision: give at least one loss, and one weight for each$"),
    (("dice",), {"weights": []}, ValueError, "^deep_supervision: give at least one loss, and one weight for each$"),
    (("dice",), {"weights": [-1, 1]}, ValueError, r"^deep_supervision: each weight must lie in \[0, inf\), got \[-1"),
    (("dice",), {"weights": [1, float("nan")]}, ValueError, r"must lie in \[0, inf\), got \[1.0, nan\]$"),
    ((["dise"],), {}, ValueError, "unknown loss 'dise'"),
]


@pytest.mark.parametrize(("given", "arguments", "error", "sentence"), REFUSED)
def test_refusals(given, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        losses.deep_supervision(*given, **arguments)


RESAMPLED = [  # offset, full size, size of the output, which of the full size is looked up
    ("origin", 8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
    ("origin", 8, 4, [0, 2, 4, 6]),
    ("origin", 8, 2, [0, 4]),
    ("origin", 9, 3, [0, 3, 6]),
    ("centre", 8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
    ("centre", 8, 4, [1, 3, 5, 7]),  # the centre of an even cell is a corner; the pixel behind it is taken
    ("centre", 8, 2, [2, 6]),
    ("centre", 9, 3, [1, 4, 7]),
    ("centre", 7, 2, [1, 5]),
    ("centre", 6, 2, [1, 4]),
]


@pytest.mark.parametrize(("offset", "full", "size", "looked_up"), RESAMPLED)
def test_labels_and_weights_are_looked_up_where_the_cells_are(offset, full, size, looked_up):
    rng = np.random.default_rng(full)
    for rank in (1, 2, 3):
        label = rng.integers(0, 3, (2,) + (full,) * rank)
        weight = rng.random(label.shape).astype("float32")
        logits = rng.normal(0, 2, (2,) + (size,) * rank + (3,)).astype("float32")
        there = np.ix_(range(2), *[looked_up] * rank)
        cross_entropy = losses.get("cross_entropy", from_logits=True, reduction=None)
        (loss,), _ = losses.deep_supervision([cross_entropy], offset=offset)
        for each, looked_up_weight in [(None, None), (weight, weight[there]), (weight[:, ..., None], weight[there])]:
            expected = cross_entropy(label[there], logits, looked_up_weight)
            for form in (label, label[..., None]):
                np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (loss(form, logits, each), expected)))
        per_sample = np.array([0, 2], "float32")
        expected = cross_entropy(label[there], logits, per_sample)
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (loss(label, logits, per_sample), expected)))
        called = keras.ops.convert_to_numpy(loss.call(label, logits))
        np.testing.assert_allclose(called, keras.ops.convert_to_numpy(cross_entropy(label[there], logits)))


@pytest.mark.parametrize(("full", "size"), [(100, 60), (4, 8)])
def test_the_origin_needs_a_whole_step(full, size):
    (loss,), _ = losses.deep_supervision(["dice"], offset="origin")
    with pytest.raises(ValueError, match=f"{full} labels along an axis are no multiple of {size} predictions; take"):
        loss(np.zeros((1, full, full), "uint8"), np.zeros((1, size, size, 2), "float32"))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only these graphs leave sizes open")
def test_sizes_that_a_graph_does_not_know_are_taken_as_they_come():
    import tensorflow as tf

    (loss,), _ = losses.deep_supervision([losses.get("dice", reduction=None)], offset="origin")
    shapes = [tf.TensorSpec([None] * 3, "int32"), tf.TensorSpec([None, None, None, 2], "float32")]
    label, p = np.eye(4, dtype="int32")[None], np.full((1, 2, 2, 2), 0.5, "float32")
    in_graph = tf.function(loss.call, input_signature=shapes, autograph=False)
    np.testing.assert_allclose(in_graph(label, p), loss.call(label, p), rtol=1e-6)


def network(rank):
    """Return a network with three outputs, at a quarter, half and full resolution."""
    conv = {2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[rank]
    pool = {2: keras.layers.AveragePooling2D, 3: keras.layers.AveragePooling3D}[rank]
    image = keras.Input((8,) * rank + (1,))
    scales = [pool(4)(image), pool(2)(image), image]
    return keras.Model(image, [conv(2, 1, name=f"out{i}")(scale) for i, scale in enumerate(scales)])


def blocks(rank):
    """Return images of blocks of 4 pixels, which all three outputs can see, and labels of them."""
    image = np.random.default_rng(0).random((4,) + (2,) * rank + (1,)).astype("float32")
    for axis in range(1, rank + 1):
        image = np.repeat(image, 4, axis=axis)
    return image, (image[..., 0] > 0.5).astype("uint8")


def supervised(offset="centre"):
    names = [{"name": name, "from_logits": True} for name in ("unified_focal", "focal", "dice")]
    return losses.deep_supervision(names, offset=offset)


@pytest.mark.parametrize(("rank", "offset"), [(2, "centre"), (2, "origin"), (3, "centre")])
def test_a_network_of_three_outputs_learns_from_labels_at_full_resolution(rank, offset):
    image, label = blocks(rank)
    built, weights = supervised(offset)
    model = network(rank)
    model.compile(keras.optimizers.Adam(0.2), loss=built, loss_weights=weights, jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # else the first step is traced twice
    coarse = [label[(slice(None), *(slice(0, None, step),) * rank)] for step in (4, 2, 1)]  # the same at both offsets
    values = [
        keras.ops.convert_to_numpy(loss.base(*pair)) for loss, *pair in zip(built, coarse, model(image), strict=True)
    ]
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True))
    history = model.fit(image, [label] * 3, epochs=30, verbose=0).history["loss"]
    assert history[0] == pytest.approx(expected, rel=1e-5)
    assert history[-1] < history[0] / 2


def test_a_saved_model_is_reloaded(tmp_path):
    image, label = blocks(2)
    built, weights = supervised("origin")
    model = network(2)
    model.compile("sgd", loss=built, loss_weights=weights, jit_compile=False)
    model.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras")
    assert [loss.get_config() for loss in back.loss] == [loss.get_config() for loss in built]
    found, expected = (each.evaluate(image, [label] * 3, verbose=0, return_dict=True)["loss"] for each in (back, model))
    assert found == pytest.approx(expected, rel=1e-6)
