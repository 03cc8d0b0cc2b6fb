"""Values and gradients computed in double precision by an independent program; see golden_losses.json."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from rareseg import losses

GOLDEN = json.loads((Path(__file__).parent / "golden_losses.json").read_text())


def listed(cases):
    """Return the cases of the losses that exist."""
    return [case for case in cases if case["loss"] in losses.names()]


def describe(case):
    arguments = {key: value for key, value in case["arguments"].items() if key != "from_logits"}
    return f"{case['loss']}-{case['input']}-{json.dumps(arguments) if arguments else 'defaults'}"


def read(case):
    """Return the loss, labels, predictions and weights of pixels of a case."""
    given = GOLDEN["inputs"][case["input"]]
    loss = losses.get(case["loss"], reduction=None, **case["arguments"])
    weight = np.asarray(given["pixel_weight"], "float32") if "pixel_weight" in given else None
    return loss, np.asarray(given["y_true"]), np.asarray(given["y_pred"], "float32"), weight


CASES = listed(GOLDEN["cases"])
SLOPED = [case for case in CASES if "gradient_of_mean" in case]
ONE_EACH = {case["loss"]: case for case in reversed(SLOPED)}.values()
BY_LOSS = {name: [case for case in CASES if case["loss"] == name] for name in losses.names()}


@pytest.mark.parametrize("case", [case for case in CASES if "gradient_of_mean" not in case], ids=describe)
def test_values(case, values):
    np.testing.assert_allclose(values(*read(case)), case["value"], rtol=case["rtol"], atol=case["atol"])


def compare(case, found, gradient):
    """Compare the values and, where the file has it, the gradient."""
    np.testing.assert_allclose(found, case["value"], rtol=case["rtol"], atol=case["atol"], err_msg=describe(case))
    if "gradient_of_mean" in case:
        expected = np.asarray(case["gradient_of_mean"])
        tolerance = case["gradient_rtol_of_max"] * np.abs(expected).max() + 1e-7
        np.testing.assert_allclose(gradient.ravel(), expected, rtol=0, atol=tolerance, err_msg=describe(case))


@pytest.mark.parametrize("case", SLOPED, ids=describe)
def test_values_and_gradients(case, differentiate):
    compare(case, *differentiate(*read(case)))


@pytest.mark.parametrize("case", ONE_EACH, ids=describe)
def test_values_and_gradients_compiled(case, compiled, differentiate):
    compare(case, *differentiate(*read(case), form=compiled))


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_LOSS)
def test_every_case_compiled(name, compiled, differentiate_all):
    """All cases of a loss, each with arguments of its own, in one program; in one each on PyTorch, for half an hour."""
    cases = BY_LOSS[name]
    found = differentiate_all(map(read, cases), compiled, sloped=["gradient_of_mean" in case for case in cases])
    for case, (values, gradient) in zip(cases, found, strict=True):
        compare(case, values, gradient)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX always compiles with XLA, PyTorch never")
@pytest.mark.parametrize("case", ONE_EACH, ids=describe)
def test_values_and_gradients_by_xla(case, differentiate):
    """One case per loss: XLA takes half a minute of one core for all of them."""
    compare(case, *differentiate(*read(case), form="xla"))


def pseudo_random(seed, count):
    """Return numbers in [0, 1) of the linear congruential generator that the file describes."""
    state, numbers = seed, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2**31
        numbers.append(state / 2**31)
    return np.array(numbers)


def follow(recipe):
    """Return the labels (B, *space) and logits (B, *space, C) of a recipe."""
    shape, channels = recipe["shape"], recipe["channels"]
    logits = 8 * pseudo_random(recipe["seed"], np.prod(shape) * channels).reshape(*shape, channels) - 4
    label = np.zeros(shape, int)
    for sample, index in enumerate(label):
        axes = zip(np.indices(index.shape), index.shape, strict=True)
        away = sum((axis - (size - 1) / 2 - sample) ** 2 for axis, size in axes)
        for c, radius in enumerate(recipe["ball"], start=1):
            index[away < radius**2] = c
    if channels == 1:
        logits[..., 0] += np.where(label > 0, 2, -2)
    else:
        logits += 2 * np.eye(channels)[label]
    return label, logits


@pytest.mark.parametrize("recipe", GOLDEN["big"], ids=lambda recipe: "x".join(map(str, recipe["shape"])))
def test_values_of_larger_inputs(recipe, values):
    label, logits = follow(recipe)
    assert np.bincount(label.ravel()).tolist() == recipe["label_count"]
    np.testing.assert_allclose(logits.sum(), recipe["logit_sum"], rtol=1e-9)
    np.testing.assert_allclose(logits.ravel()[:4], recipe["first_logits"], rtol=1e-9)
    for case in listed(recipe["cases"]):
        loss = losses.get(case["loss"], reduction=None, **case["arguments"])
        found = values(loss, label, logits.astype("float32"))
        np.testing.assert_allclose(found, case["value"], rtol=case["rtol"], atol=case["atol"], err_msg=case["loss"])


@pytest.mark.parametrize("given", GOLDEN["signed_distance"], ids=lambda given: f"spacing {given['spacing']}")
def test_signed_distances(given):
    maps = losses.signed_distance(np.asarray(given["labels"]), given["classes"], given["spacing"])
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, given["value"], rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow is the backend")
def test_jax_needs_no_tensorflow():
    assert "tensorflow" not in sys.modules
