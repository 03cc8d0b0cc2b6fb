"""The contract that every preset keeps."""

import hashlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from rareseg import models

PRESETS = sorted(models.presets())
NARROWED = [name for name in PRESETS if not name.endswith("_demo")]  # a narrow demo network is its full one again
SHAPE = (16, 32, 3)

# Run on the other backend: prints a digest of the weights of every configuration it is given.
CHILD = """
import hashlib, json, sys
from rareseg import models
digest = lambda model: hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
print(json.dumps({name: digest(models.build(config, (16, 32, 3), 2)) for name, config in json.load(sys.stdin).items()}))
print(json.dumps("tensorflow" in sys.modules))
"""


def digest(model):
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


def run(model, x):
    return ops.convert_to_numpy(model(x, training=False))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras saving TensorFlow's variables
@pytest.mark.parametrize("name", NARROWED)
def test_a_saved_model_comes_back_equal(narrow_model, images, tmp_path, name):
    model, x = narrow_model(name), images(2, *SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(run(loaded, x), run(model, x), atol=1e-6)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    initialisers = [m.get_layer("output_logits").kernel_initializer for m in (loaded, model)]
    assert isinstance(initialisers[0], models.Seeded)
    assert initialisers[0].get_config() == initialisers[1].get_config()


@pytest.mark.parametrize("name", NARROWED)
def test_the_seed_fixes_weights_and_names(narrow, narrow_model, name):
    model = narrow_model(name)
    again, other = (models.build(narrow(name, seed=seed), SHAPE, 2) for seed in (0, 1))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert digest(again) == digest(model) != digest(other)


def test_the_seed_gives_the_same_bits_on_another_backend(narrow, narrow_model):
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    pytest.importorskip(other)
    configs = {name: narrow(name) for name in ("unet_all", "unet_ufl", "focusnet")}
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(configs),
        env={**os.environ, "KERAS_BACKEND": other},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    digests, has_tensorflow = map(json.loads, child.stdout.splitlines()[-2:])
    assert digests == {name: digest(narrow_model(name)) for name in configs}
    assert has_tensorflow == (other == "tensorflow")


@pytest.mark.parametrize("name", NARROWED)
def test_no_two_kernels_start_equal(narrow_model, name):
    kernels = [w.tobytes() for w in narrow_model(name).get_weights() if w.ndim > 1]
    assert len(set(kernels)) == len(kernels)


def test_dropout_layers_have_seeds_of_their_own():
    seeds = {
        models.build({"name": "unet_demo", "seed": seed}, (16, 16, 1), 2).get_layer(name).seed
        for seed in (0, 1)
        for name in ("enc3_drop", "mid_drop")
    }
    assert len(seeds) == 4


@pytest.mark.parametrize("name", NARROWED)
def test_probabilities_are_float32_and_sum_to_one(policy, narrow, images, name):
    model = models.build(narrow(name), SHAPE, 2)
    result = run(model, images(2, *SHAPE))
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    assert result.dtype == np.float32
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("name", sorted(models.presets()))
def test_the_prior_is_what_the_biases_of_the_output_predict(narrow_model, name, classes):
    logits = narrow_model(name, classes=classes, prior=0.1).get_layer("output_logits")
    probabilities = (keras.ops.sigmoid if classes == 1 else keras.ops.softmax)(logits.bias)
    expected = [0.1] if classes == 1 else [0.9] + [0.1 / (classes - 1)] * (classes - 1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6)
    assert not np.asarray(narrow_model(name, classes=classes).get_layer("output_logits").bias).any()


def test_one_class_is_the_sigmoid_of_its_logit(narrow_model, images):
    x = images(2, *SHAPE)
    logits = run(narrow_model("unet_all", classes=1, output="logits"), x)
    np.testing.assert_allclose(run(narrow_model("unet_all", classes=1), x), 1 / (1 + np.exp(-logits)), atol=1e-6)


@pytest.mark.parametrize("name", NARROWED)
def test_logits_are_the_probabilities_before_the_softmax(narrow_model, images, name):
    model, linear, x = narrow_model(name), narrow_model(name, output="logits"), images(2, *SHAPE)
    assert [layer.name for layer in linear.layers] == [layer.name for layer in model.layers]
    logits = run(linear, x).astype("float64")
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(run(model, x), softmax, atol=1e-6)
    assert abs(logits.sum(axis=-1) - 1).max() > 1e-3


@pytest.mark.parametrize("name", NARROWED)
def test_a_prediction_does_not_depend_on_its_batch(narrow_model, images, name):
    model, x = narrow_model(name), images(2, *SHAPE)
    x[1:] *= 10
    np.testing.assert_allclose(run(model, x)[:1], run(model, x[:1]), atol=1e-5)


@pytest.mark.parametrize("name", NARROWED)
def test_unknown_sizes_give_the_same_network(narrow_model, images, name):
    model, x = narrow_model(name, (None, None, 3)), images(2, *SHAPE)
    assert model.output_shape == (None, None, None, 2)
    np.testing.assert_allclose(run(model, x), run(narrow_model(name), x), atol=1e-6)


@pytest.mark.parametrize("name", NARROWED)
def test_volumes_work_like_images(narrow_model, images, name):
    assert run(narrow_model(name, (16, 16, 32, 3)), images(1, 16, 16, 32, 3)).shape == (1, 16, 16, 32, 2)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_configuration_in_plain_data(name):
    config = models.presets()[name]
    assert json.loads(json.dumps(config)) == config
    assert models.size_factor(config) == models.size_factor(name)
    signature = models.signatures()[name]
    assert json.loads(json.dumps(signature)) == signature
    assert {option: entry["default"] for option, entry in signature.items()} | {"name": name} == config


def outside(interval):
    """Return numbers on the wrong side of an interval's bounds."""
    low, high = map(float, interval[1:-1].split(","))
    return [low - 1 if interval[0] == "[" else low, high + 1 if interval[-1] == "]" else high, float("nan")]


@pytest.mark.parametrize("name", PRESETS)
def test_ranges_and_choices_are_enforced(name):
    for option, entry in models.signatures()[name].items():
        wrong = ["no such choice", {}] + (outside(entry["range"]) if entry["range"] else [])
        for value in wrong:
            with pytest.raises(ValueError, match=f"^{name}: {option} must be "):
                models.size_factor({"name": name, option: value})


@pytest.mark.parametrize(
    ("config", "shape", "classes", "message"),
    [
        (
            "unet_al",
            (16, 16, 1),
            2,
            "Unknown network 'unet_al': the nearest is 'unet_all', known are unet_all, unet_demo",
        ),
        ({"filters": 8}, (16, 16, 1), 2, "Unknown network None"),
        ({"name": ["unet_all"]}, (16, 16, 1), 2, "Unknown network"),
        (
            {"name": "unet_all", "filter": 8},
            (16, 16, 1),
            2,
            "option of unet_all 'filter': the nearest is 'filters', known",
        ),
        (
            {"name": "focusnet", "filters": 8},
            (16, 16, 1),
            2,
            "option of focusnet 'filters'.* known are width, stem_filters",
        ),
        ({"name": "unet_all", "depth": 2.0}, (16, 16, 1), 2, r"depth must be an integer in \[1, inf\), got 2.0"),
        ({"name": "unet_all", "depth": True}, (16, 16, 1), 2, "depth must be an integer"),
        ({"name": "focusnet", "width": 1}, (16, 16, 1), 2, r"width must be an integer in \[2, inf\), got 1"),
        ({"name": "unet_all", "dropout": 1}, (16, 16, 1), 2, r"dropout must be a number in \[0, 1\), got 1"),
        (
            {"name": "unet_all", "order": "act"},
            (16, 16, 1),
            2,
            "order must be one of conv_norm_act, conv_act_norm, got",
        ),
        ({"name": "focusnet", "side_outputs": 1}, (16, 16, 1), 2, "side_outputs must be one of False, True, got 1"),
        ("unet_all", (100, 96, 3), 2, "^unet_all: every spatial size must be a positive multiple of 16, got 100"),
        ("unet_demo", (16, 20, 3), 2, "^unet_demo: .* multiple of 8, got 20"),
        ("focusnet", (16, 16, 8, 1), 2, "^focusnet: .* multiple of 16, got 8"),
        ("unet_all", (0, 16, 1), 2, "positive multiple of 16, got 0"),
        ("unet_all", (16, 16), 2, r"input_shape must be \(H, W, C\) or \(D, H, W, C\) with C known, got \(16, 16\)"),
        ("unet_all", (16, 16, None), 2, "with C known"),
        ("unet_all", (16, 16, 1), 0, "classes must be an integer of at least 1, got 0"),
        ("unet_all", (16, 16, 1), 2.0, "classes must be an integer"),
    ],
)
def test_mistakes_are_named(config, shape, classes, message):
    with pytest.raises(ValueError, match=message):
        models.build(config, shape, classes)


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        ("unet_all", 16),
        ("unet_demo", 8),
        ({"name": "unet_ufl", "depth": 2}, 4),
        ("focusnet", 16),
        ("focusnet_demo", 16),
    ],
)
def test_size_factor(config, factor):
    assert models.size_factor(config) == factor


def test_final_keeps_the_output_alone(images):
    x = keras.Input((4, 4, 1), name="image")
    coarse = keras.layers.AveragePooling2D(2, name="coarse")(x)
    output = keras.layers.ReLU(name="output")(x)
    final = models.final(keras.Model(x, [coarse, output]))
    np.testing.assert_array_equal(run(final, images(1, 4, 4, 1)), np.maximum(images(1, 4, 4, 1), 0))
    assert models.final(final) is final
