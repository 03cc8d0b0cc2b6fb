"""Our U-Net against MIScnn's own, with its weights."""

import importlib
import sys
import types
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from rareseg import models


@pytest.fixture(scope="module")
def architecture():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("MIScnn needs TensorFlow")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        addons = types.ModuleType("tensorflow_addons")
        addons.layers = types.SimpleNamespace(
            InstanceNormalization=lambda **options: keras.layers.GroupNormalization(groups=-1, **options)
        )
        patch.setitem(sys.modules, "tensorflow_addons", addons)
        pytest.importorskip("miscnn", reason="MIScnn is not installed")
        yield importlib.import_module("miscnn.neural_network.architecture.unet.standard").Architecture


@pytest.mark.parametrize(("shape", "classes"), [((32, 48, 3), 2), ((16, 32, 16, 1), 3)], ids=["2D", "3D"])
def test_counts_order_and_outputs_are_miscnns(architecture, images, shape, classes):
    create = {3: "create_model_2D", 4: "create_model_3D"}[len(shape)]
    theirs = getattr(architecture(n_filters=4), create)(shape, n_labels=classes)
    ours = models.build({"name": "unet_miscnn", "filters": 4}, shape, classes)
    assert ours.count_params() == theirs.count_params()
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    generator = np.random.default_rng(0)
    theirs.set_weights([w + generator.uniform(0, 0.1, w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    x = images(2, *shape)
    for training, tolerance in ((False, 0), (True, 1e-5)):  # in training ours normalises in one fused operation
        expected = ops.convert_to_numpy(theirs([x], training=training))
        np.testing.assert_allclose(ops.convert_to_numpy(ours(x, training=training)), expected, rtol=0, atol=tolerance)
