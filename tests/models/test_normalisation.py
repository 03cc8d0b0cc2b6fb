"""Our normalisation layers against the layers of Keras that they are."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from rareseg.models.normalisation import BatchNormalization, InstanceNormalization, _fusible

PAIRS = [
    pytest.param(lambda: BatchNormalization(momentum=0.9), lambda: layers.BatchNormalization(momentum=0.9), id="batch"),
    pytest.param(InstanceNormalization, lambda: layers.GroupNormalization(groups=-1), id="instance"),
]
SPACES = [pytest.param((6, 8), id="2D"), pytest.param((4, 6, 2), id="3D")]


def trainee(layer, space):
    """Return a compiled model whose first weights' gradients go through the layer."""
    image = keras.Input((*space, 2))
    conv = getattr(layers, f"Conv{len(space)}D")
    model = keras.Model(image, conv(1, 1, name="after")(layer(conv(3, 1, name="before")(image))))
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.2, 0.8, w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("ours", "kerass"), PAIRS)
def test_steps_change_all_weights_as_keras_layers_do(images, ours, kerass, space):
    models = [trainee(layer(), space) for layer in (ours, kerass)]
    x, y = images(4, *space, 2) * 3 + 10, images(4, *space, 1)
    before = models[0].get_weights()
    for _ in range(3):
        losses = [model.train_on_batch(x, y) for model in models]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for own, keras_own in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(own, keras_own, atol=2e-5)
    moved = [np.abs(own - first).max() for own, first in zip(models[0].get_weights(), before, strict=True)]
    assert sum(change > 1e-3 for change in moved) >= len(moved) - 1  # a bias before a normalisation has no gradient


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("ours", "kerass"), PAIRS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"])
def test_every_dtype_gives_what_keras_layers_give(images, ours, kerass, space, dtype):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless asked for")
    x = ops.cast(images(2, *space, 3) * 2 + 5, dtype.removeprefix("mixed_"))
    results = []
    for make in (ours, kerass):
        layer = make()
        layer.dtype_policy = keras.DTypePolicy(dtype)
        result = layer(x, training=True)
        assert keras.backend.standardize_dtype(result.dtype) == dtype.removeprefix("mixed_")
        results.append(ops.convert_to_numpy(ops.cast(result, "float32")))
    np.testing.assert_allclose(*results, atol=1e-5 if dtype == "float64" else 0.03)


BATCH = (BatchNormalization, layers.BatchNormalization, {})
INSTANCE = (InstanceNormalization, layers.GroupNormalization, {"groups": -1})
UNCOVERED = [  # layers, options, shape: TensorFlow's operation covers the first of them alone
    pytest.param(BATCH, {"axis": 3}, (2, 4, 5, 3), id="batch, last axis by its number"),
    pytest.param(BATCH, {"axis": 1}, (2, 3, 4, 5), id="batch, channels first"),
    pytest.param(BATCH, {"center": False}, (2, 4, 5, 3), id="batch, no offset"),
    pytest.param(BATCH, {"scale": False}, (2, 4, 5, 3), id="batch, no scale"),
    pytest.param(BATCH, {}, (6, 5, 3), id="batch, signals"),
    pytest.param(BATCH, {}, (6, 3), id="batch, vectors"),
    pytest.param(INSTANCE, {"axis": 1}, (2, 3, 4, 5), id="instance, channels first"),
    pytest.param(INSTANCE, {"center": False}, (2, 4, 5, 3), id="instance, no offset"),
    pytest.param(INSTANCE, {"scale": False}, (2, 4, 5, 3), id="instance, no scale"),
    pytest.param(INSTANCE, {}, (6, 5, 3), id="instance, signals"),
]


@pytest.mark.parametrize(("pair", "options", "shape"), UNCOVERED)
def test_every_option_gives_what_keras_layers_give(images, pair, options, shape):
    ours, kerass, always = pair
    x = images(*shape) * 2 + 5
    results = [
        ops.convert_to_numpy(layer(x, training=True)) for layer in (ours(**options), kerass(**always, **options))
    ]
    np.testing.assert_allclose(*results, atol=1e-5)


@pytest.mark.parametrize("option", ["synchronized", "renorm"])
def test_batch_normalisation_leaves_what_it_does_not_know_to_keras(images, option):
    layer, x = BatchNormalization(), images(2, 4, 4, 3)
    assert _fusible(layer, x) == (keras.backend.backend() == "tensorflow")
    setattr(layer, option, True)
    assert not _fusible(layer, x)


def test_other_groups_are_refused_where_each_channel_is_one():
    with pytest.raises(ValueError, match=r"^InstanceNormalization: groups must be -1, a channel a group, got 2; take"):
        InstanceNormalization(groups=2)


def test_frozen_batch_normalisation_uses_its_statistics_and_keeps_them(images):
    layer = BatchNormalization()
    x = images(2, 4, 4, 3) + 7
    layer.build(x.shape)
    layer.trainable = False
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), x / np.sqrt(1.001), rtol=1e-5)
    assert not ops.convert_to_numpy(layer.moving_mean).any()


@pytest.mark.parametrize("layer", [BatchNormalization, InstanceNormalization])
def test_a_saved_model_reloads(images, layer, tmp_path):
    model = trainee(layer(), (6, 8))
    model.save(tmp_path / "model.keras")
    x = images(3, 6, 8, 2)
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(reloaded.predict_on_batch(x), model.predict_on_batch(x))


@pytest.mark.parametrize("layer", [BatchNormalization, InstanceNormalization])
def test_sizes_of_earlier_batches_change_no_bit(images, layer):
    x, y = images(4, 6, 8, 2), images(4, 6, 8, 1)
    results = []
    for earlier in ((), (1, 3)):  # after two sizes TensorFlow traces a network for any
        model = trainee(layer(), (6, 8))
        first = model.get_weights()
        for size in earlier:
            model.predict_on_batch(x[:size])
            model.train_on_batch(x[:size], y[:size])
        model.set_weights(first)
        for _ in range(3):
            model.train_on_batch(x, y)
        results.append([model.predict_on_batch(x), *model.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
