"""The contract that every preset keeps."""

import hashlib
import json
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

# Run on the other backend: prints a digest of the weights of every configuration it is given, and keeps the outputs.
CHILD = """
import hashlib, json, sys
import keras, numpy as np
from rareseg import models
configs, shape, path = json.load(sys.stdin)
x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
digests, outputs = {}, {}
for name, config in configs.items():
    model = models.build(config, shape, 2)
    digests[name] = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()
    outputs[name] = np.asarray(models.final(model).predict_on_batch(x))
np.savez(path, **outputs)
print(json.dumps(digests))
print(json.dumps("tensorflow" in sys.modules))
"""


def digest(model):
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


def run(model, x):
    """Return the outputs of a model, a list also where there is one."""
    return [ops.convert_to_numpy(result) for result in keras.tree.flatten(model(x, training=False))]


def assert_close(results, expected, atol=1e-6):
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=atol)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras saving TensorFlow's variables
@pytest.mark.parametrize("name", NARROWED)
def test_a_saved_model_comes_back_equal(narrow_model, images, tmp_path, name):
    model, x = narrow_model(name), images(2, *SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(run(loaded, x), run(model, x))
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


def test_another_backend_has_the_same_weights_and_outputs(narrow, narrow_model, images, tmp_path, child_environment):
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    pytest.importorskip(other)
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([{name: narrow(name) for name in NARROWED}, SHAPE, str(tmp_path / "outputs.npz")]),
        env=child_environment(other),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    digests, has_tensorflow = map(json.loads, child.stdout.splitlines()[-2:])
    assert digests == {name: digest(narrow_model(name)) for name in NARROWED}
    assert has_tensorflow == (other == "tensorflow")
    outputs = np.load(tmp_path / "outputs.npz")
    for name in NARROWED:
        assert_close([outputs[name]], run(narrow_model(name), images(2, *SHAPE))[-1:], atol=1e-4)


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
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    for result in run(model, images(2, *SHAPE)):
        assert result.dtype == np.float32
        assert (result >= 0).all()
        np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-6)


RARER = [pytest.param(classes, marks=pytest.mark.slow) for classes in (1, 4)]


@pytest.mark.parametrize("classes", [2, *RARER])
@pytest.mark.parametrize("name", PRESETS)
def test_the_prior_is_what_the_biases_of_the_output_predict(narrow_model, name, classes):
    logits = narrow_model(name, classes=classes, prior=0.1).get_layer("output_logits")
    probabilities = (keras.ops.sigmoid if classes == 1 else keras.ops.softmax)(logits.bias)
    expected = [0.1] if classes == 1 else [0.9] + [0.1 / (classes - 1)] * (classes - 1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6)
    assert not np.asarray(narrow_model(name, classes=classes).get_layer("output_logits").bias).any()


@pytest.mark.parametrize("name", ["unet_all", "attention_unet"])
def test_one_class_is_the_sigmoid_of_its_logit(narrow_model, images, name):
    x = images(2, *SHAPE)
    logits = run(narrow_model(name, classes=1, output="logits"), x)
    assert_close(run(narrow_model(name, classes=1), x), [1 / (1 + np.exp(-values)) for values in logits])


@pytest.mark.parametrize("name", NARROWED)
def test_logits_are_the_probabilities_before_the_softmax(narrow_model, images, name):
    model, linear, x = narrow_model(name), narrow_model(name, output="logits"), images(2, *SHAPE)
    assert [layer.name for layer in linear.layers] == [layer.name for layer in model.layers]
    logits = [values.astype("float64") for values in run(linear, x)]
    assert_close(run(model, x), [np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True) for values in logits])
    assert min(abs(values.sum(axis=-1) - 1).max() for values in logits) > 1e-3


@pytest.mark.parametrize("name", NARROWED)
def test_a_prediction_does_not_depend_on_its_batch(narrow_model, images, name):
    model, x = narrow_model(name), images(2, *SHAPE)
    other = np.stack([x[0], 10 * x[1]])  # another neighbour; alone, an image is computed in another order
    assert_close([values[:1] for values in run(model, x)], [values[:1] for values in run(model, other)])


@pytest.mark.parametrize("name", NARROWED)
def test_unknown_sizes_give_the_same_network(narrow_model, images, name):
    model, x = narrow_model(name, (None, None, 3)), images(2, *SHAPE)
    assert {output.shape for output in model.outputs} == {(None, None, None, 2)}
    assert_close(run(model, x), run(narrow_model(name), x))


@pytest.mark.parametrize("name", NARROWED)
def test_volumes_work_like_images(narrow_model, images, name):
    *coarse, output = run(narrow_model(name, (16, 16, 32, 3)), images(1, 16, 16, 32, 3))
    assert output.shape == (1, 16, 16, 32, 2)
    assert [values.shape for values in coarse] == [(1, n, n, 2 * n, 2) for n in (2, 4, 8)][: len(coarse)]


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
        ({"filters": 8}, (16, 16, 1), 2, "A network needs a name"),
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
        ("unet_all", (16, 16, 0), 2, "with C known"),
        ("unet_all", (16, 16, 1), 0, "classes must be an integer of at least 1, got 0"),
        ("unet_all", (16, 16, 1), 2.0, "classes must be an integer"),
    ],
)
def test_mistakes_are_named(config, shape, classes, message):
    with pytest.raises(ValueError, match=message):
        models.build(config, shape, classes)


def test_a_network_is_a_name_or_a_mapping():
    with pytest.raises(TypeError, match="A network is a name or a mapping, got None"):
        models.build(None, (16, 16, 1), 2)


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        ("unet_all", 16),
        ("unet_demo", 8),
        ({"name": "unet_ufl", "depth": 2}, 4),
        ("focusnet", 16),
        ("focusnet_demo", 16),
        ("attention_unet", 16),
    ],
)
def test_size_factor(config, factor):
    assert models.size_factor(config) == factor


def test_final_keeps_the_output_alone(narrow_model, images):
    model, x = narrow_model("attention_unet"), images(1, *SHAPE)
    final = models.final(model)
    assert_close(run(final, x), run(model, x)[-1:], atol=0)
    assert "pred3" not in [layer.name for layer in final.layers]
    assert models.final(final) is final
