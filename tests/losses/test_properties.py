"""What holds for every input: nothing is ever NaN or infinite, and gradients are slopes.

A batch of many samples is many drawn inputs, since each sample has a value of its own.
"""

import keras
import numpy as np
import pytest

from rareseg import losses

ALL = losses.names()
SAMPLES = 700  # for each of 1, 2 and 3 channels, in each type of number: at least 2,000 inputs per loss
SIZES = [0.0, 1.0, 12.0, 60.0, 1e4, 65504.0, 3e38]
SHARP = {  # what makes losses steep, where they take it; 0 below a fraction where nothing is smoothed
    **{"gamma": 0.1, "gamma_ce": 0.1, "tversky_gamma": 0.1, "smooth": 0, "absent": "skip", "volume_power": 3},
    **{"k": 1, "q": 0.1, "epsilon": 0.01, "include_background": False, "weighting": "volume", "beta": 0.9},
}


@pytest.fixture(params=ALL)
def name(request):
    return request.param


def draw_logits(rng, channels):
    """Return logits (SAMPLES, 4, 4, channels): in each sample all of one size, or any mixture of sizes and signs."""
    shape = SAMPLES, 4, 4, channels
    sizes = np.where(
        rng.random((SAMPLES, 1, 1, 1)) < 0.5, rng.choice(SIZES, (SAMPLES, 1, 1, 1)), rng.choice(SIZES, shape)
    )
    return sizes * rng.choice([-1, 0, 1, rng.normal()], shape)


def draw_labels(rng, classes):
    """Return labels (SAMPLES, 4, 4): any, of one class, all ignored (255), or belonging to no class (-1, 77)."""
    label = rng.integers(0, classes, (SAMPLES, 4, 4))
    label[:100] = rng.integers(0, classes, (100, 1, 1))
    label[100:150] = 255
    label[150:200] = -1
    label[200:300] = rng.choice([0, 1, 255, -1, 77], (100, 4, 4))
    return rng.permutation(label)


def draw_weights(rng):
    """Return weights of pixels (SAMPLES, 4, 4): all 0, all 1, tiny, or any mixture."""
    return rng.choice([0, 1, 1e-20, 3], (SAMPLES, 1, 1)) * rng.choice([0, 1, 0.5, 1], (SAMPLES, 4, 4))


def settings(name, sharp):
    own = {argument: SHARP[argument] for argument in losses.signatures()[name] if sharp and argument in SHARP}
    return {**own, "base": "dice"} if name == "boundary" else own  # labels to ignore stand beside a base


RARER = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("bfloat16", "float64")]


@pytest.mark.parametrize("dtype", ["float32", "float16", *RARER])
@pytest.mark.parametrize("sharp", [False, True], ids=["defaults", "sharp"])
def test_values_and_gradients_are_finite(name, sharp, dtype, differentiate, request):
    if dtype == "float64":
        request.getfixturevalue("double")
    loss = losses.get(name, from_logits=True, reduction=None, ignore_class=255, **settings(name, sharp))
    for channels in (1, 2, 3):
        rng = np.random.default_rng(channels)
        limit = 65504 if dtype == "float16" else 3e38
        logits = keras.ops.convert_to_tensor(np.clip(draw_logits(rng, channels), -limit, limit), dtype)
        label, weight = draw_labels(rng, max(channels, 2)), draw_weights(rng)
        soft = rng.dirichlet(np.full(max(channels, 2), 0.2), label.shape)
        for y_true in (label, soft if channels > 1 else soft[..., 1]):
            values, gradient = differentiate(
                loss, y_true.astype("float32"), logits, weight.astype("float32"), form="eager"
            )
            assert np.isfinite(values).all(), channels
            assert np.isfinite(gradient.astype("float32")).all(), channels


STEP = 1e-6


def slopes(values, loss, y_true, logits, weight):
    """Return the central differences of the loss of one sample, one for each logit: all in one batch."""
    steps = STEP * np.eye(logits.size).reshape(-1, *logits.shape[1:])
    moved = np.concatenate([logits + steps, logits - steps])
    repeated = [np.repeat(part, len(moved), axis=0) for part in (y_true, weight)]
    above, below = np.split(values(loss, repeated[0], moved, repeated[1]), 2)
    return ((above - below) / (2 * STEP)).reshape(logits.shape)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("sharp", [False, True], ids=["defaults", "sharp"])
@pytest.mark.parametrize("good", [0, 5], ids=["any prediction", "a good one"])
def test_gradients_are_slopes(name, sharp, good, draw, values, differentiate):
    loss = losses.get(name, from_logits=True, reduction=None, **settings(name, sharp))
    for channels in (1, 2, 3):
        label, logits = draw(channels, (1, 3, 4), seed=channels)
        one_hot = np.eye(max(channels, 2))[label]
        logits = logits + good * (one_hot if channels > 1 else one_hot[..., 1:] - 0.5)
        weight = np.random.default_rng(4).uniform(0.5, 2, label.shape)
        for y_true in (label, 0.8 * one_hot if channels > 1 else 0.1 + 0.8 * label):
            _, gradient = differentiate(loss, y_true, logits.astype("float64"), weight, form="eager")
            expected = slopes(values, loss, y_true, logits.astype("float64"), weight)
            limit = 1e-6 * max(1, np.abs(expected).max())
            np.testing.assert_allclose(gradient, expected, rtol=0, atol=limit, err_msg=str(channels))


@pytest.mark.usefixtures("double")
def test_gradients_of_pixel_weights_are_slopes(name, draw, truth, differentiate):
    loss = losses.get(name, from_logits=True, reduction=None)
    for channels in (1, 2, 3):
        label, logits = draw(channels, (1, 3, 4))
        label, logits = label.astype("int32"), logits.astype("float64")
        label[0, 1, 2] = -1  # of no class
        y_true, weight = truth(loss, label, logits), np.random.default_rng(4).uniform(0.5, 2, label.shape)

        def weighed(y_true, weight, _, logits=logits):
            return loss(*(np.repeat(part, len(weight), axis=0) for part in (y_true, logits)), weight)

        _, gradient = differentiate(weighed, y_true, weight)
        steps = STEP * np.eye(weight.size).reshape(-1, *weight.shape[1:])
        above, below = (keras.ops.convert_to_numpy(weighed(y_true, weight + step, None)) for step in (steps, -steps))
        expected = ((above - below) / (2 * STEP)).reshape(weight.shape)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6, err_msg=str(channels))
