"""Networks of other Keras libraries train with our losses; the extra `peers` installs them."""

import keras
import numpy as np
import pytest

from rareseg import losses

IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), dtype="float32")
LABELS = (IMAGES.mean(axis=-1) > 0.55).astype("uint8")


def of_medicai():
    models = pytest.importorskip("medicai.models", reason="not installed: uv run --extra peers pytest -m slow")
    return models.UNet(
        encoder_name="resnet18",
        input_shape=(32, 32, 3),
        encoder_depth=5,
        decoder_filters=(32, 16, 8, 8, 8),
        num_classes=2,
        classifier_activation=None,
    )


def of_keras_applications():
    backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    x = backbone.get_layer("expanded_conv_project_BN").output
    x = keras.layers.UpSampling2D(2)(x)
    return keras.Model(backbone.input, keras.layers.Conv2D(2, 1)(x))


@pytest.mark.slow
@pytest.mark.parametrize("network", [of_medicai, of_keras_applications])
@pytest.mark.parametrize("name", ["unified_focal", "adaptive_log"])
def test_a_network_of_another_library_trains(network, name):
    model = network()
    model.compile(keras.optimizers.Adam(0.003), loss=losses.get(name, from_logits=True), jit_compile=False)
    history = model.fit(IMAGES, LABELS, batch_size=4, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert min(history[-3:]) < history[0] - 0.03
