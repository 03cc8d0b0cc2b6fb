"""Blocks and initial weights against formulas in NumPy."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from rareseg.models import Seeded
from rareseg.models.blocks import Blocks

SPACES = [pytest.param((4, 6), id="2D"), pytest.param((4, 2, 6), id="3D")]


def model_of(block, *shapes, **settings):
    """Return a model of one block with random weights of a trained network's size; one input for each shape."""
    given = [keras.Input(shape) for shape in shapes]
    model = keras.Model(given, block(Blocks(rank=len(shapes[0]) - 1, seed=0, **settings), *given))
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.2, 0.8, w.shape) for w in model.get_weights()])
    return model


def result(model, *given):
    return ops.convert_to_numpy(model(given, training=False))


def convolve(x, kernel, bias, stride=1):
    """Convolve (B, *space, in) with (*size, in, out), same padding as TensorFlow."""
    rank, size = x.ndim - 2, kernel.shape[0]
    total = [max((math.ceil(n / stride) - 1) * stride + size - n, 0) for n in x.shape[1:-1]]
    x = np.pad(x, [(0, 0), *[(t // 2, t - t // 2) for t in total], (0, 0)])
    space = tuple(range(1, rank + 1))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size,) * rank, axis=space)
    windows = windows[(slice(None), *[slice(None, None, stride)] * rank)]
    own = tuple(range(rank + 2, 2 * rank + 2))
    return np.tensordot(windows, kernel, axes=((*own, rank + 1), (*range(rank), rank))) + bias


def spread(x, kernel, bias, stride):
    """Enlarge (B, *space, in) by a transposed convolution with (*size, out, in), same padding as TensorFlow."""
    rank, size = x.ndim - 2, kernel.shape[0]
    full = np.zeros((len(x), *(n * stride + size for n in x.shape[1:-1]), kernel.shape[-2]))
    for position in np.ndindex(kernel.shape[:rank]):
        cells = [slice(k, k + n * stride, stride) for k, n in zip(position, x.shape[1:-1], strict=True)]
        full[(slice(None), *cells)] += x @ kernel[position].T
    before = max(size - stride, 0) // 2
    kept = [slice(before, before + n * stride) for n in x.shape[1:-1]]
    return full[(slice(None), *kept)] + bias


def repeat(x):
    """Double the size of (B, *space, C) by repetition."""
    for axis in range(1, x.ndim - 1):
        x = x.repeat(2, axis=axis)
    return x


def normalise(x, layer):
    gamma, beta, mean, variance = layer.get_weights()
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("filters", "down"), [(3, False), (5, False), (3, True), (5, True)])
def test_residual_equals_the_formula(images, space, filters, down):
    model = model_of(lambda blocks, x: blocks.residual(x, filters, down=down, name="block"), (*space, 3))
    layers = {layer.name.removeprefix("block_"): layer for layer in model.layers}
    weights = {name: layer.get_weights() for name, layer in layers.items()}
    x = images(2, *space, 3)
    y = np.maximum(normalise(x, layers["norm1"]), 0) if down else x
    y = convolve(y, *weights["conv1"], stride=2 if down else 1)
    y = convolve(np.maximum(normalise(y, layers["norm2"]), 0), *weights["conv2"])
    every_second = (slice(None), *[slice(None, None, 2)] * len(space))
    shortcut = x[every_second] if down else x
    if "skip" in weights:
        shortcut = convolve(shortcut, *weights["skip"])
    assert ("skip" in weights) == (down or filters != 3)
    np.testing.assert_allclose(result(model, x), shortcut + y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("space", SPACES)
def test_squeeze_excite_equals_the_formula(images, space):
    model = model_of(lambda blocks, x: blocks.squeeze_excite(x, name="se"), (*space, 3))
    reduce, expand = (np.asarray(w) for w in model.get_weights())
    assert reduce.shape == (3, 4)
    x = images(2, *space, 3)
    means = x.mean(axis=tuple(range(1, x.ndim - 1)))
    gate = 1 / (1 + np.exp(-np.maximum(means @ reduce, 0) @ expand))
    np.testing.assert_allclose(result(model, x), x * gate.reshape(2, *[1] * len(space), 3), atol=1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_instance_norm_equals_the_formula(images, space):
    model = model_of(lambda blocks, x: blocks.norm(x, name="norm"), (*space, 3), normalisation="instance")
    x = images(2, *space, 3) * np.array([0.1, 1, 5]) + np.array([-50, 0, 50])
    axes = tuple(range(1, x.ndim - 1))
    gamma, beta = model.get_weights()
    scaled = (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-3)
    np.testing.assert_allclose(result(model, x.astype("float32")), scaled * gamma + beta, atol=5e-4)


@pytest.mark.parametrize("space", SPACES)
def test_resize_conv_equals_the_formula(images, space):
    model = model_of(lambda blocks, x: blocks.resize_conv(x, 2, name="up"), (*space, 3))
    x = images(1, *space, 3)
    np.testing.assert_allclose(result(model, x), np.maximum(convolve(repeat(x), *model.get_weights()), 0), atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("space", SPACES)
def test_gate_equals_the_formula(images, space, stride):
    coarse = [n // 2 for n in space]
    shapes = [(*(n * 2 * stride for n in coarse), 3), (*coarse, 5)]
    model = model_of(lambda blocks, x, signal: blocks.gate(x, signal, 4, stride=stride, name="gate"), *shapes)
    model.set_weights([w / 5 for w in model.get_weights()])  # so that no sigmoid is flat
    layers = {layer.name.removeprefix("gate_"): layer for layer in model.layers}
    weights = {name: layer.get_weights() for name, layer in layers.items()}
    x, signal = (images(2, *shape) for shape in shapes)
    theta = convolve(x, *weights["theta"], stride=2)
    phi = spread(convolve(signal, *weights["phi"]), *weights["phi_up"], stride)
    gate = 1 / (1 + np.exp(-convolve(np.maximum(phi + theta, 0), *weights["psi"])))
    expected = normalise(convolve(x * repeat(gate), *weights["conv"]), layers["norm"])
    np.testing.assert_allclose(result(model, x, signal), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "normalisation", "expected"),
    [
        ("conv_norm_act", "batch", ["conv", "norm", "act"]),
        ("conv_act_norm", "instance", ["conv", "norm"]),
        ("conv_norm_act", "none", ["conv", "act"]),
    ],
)
def test_a_step_keeps_its_order(images, order, normalisation, expected):
    block = lambda blocks, x: blocks.step(x, 4, name="s")  # noqa: E731
    model = model_of(block, (4, 4, 1), order=order, normalisation=normalisation)
    assert [layer.name for layer in model.layers[1:]] == [f"s_{kind}" for kind in expected]
    model.set_weights([-w for w in model.get_weights()] if normalisation == "none" else model.get_weights())
    rectified_last = (result(model, images(8, 4, 4, 1)) >= 0).all()
    assert rectified_last == (order == "conv_norm_act")


def test_kinds_of_kernels_that_nobody_draws_are_refused():
    with pytest.raises(ValueError, match=r"^Seeded: kind must be one of glorot_uniform, .*, got 'he_uniform'\.$"):
        Seeded("he_uniform", 3)


@pytest.mark.parametrize(
    ("kind", "variance"), [("glorot_uniform", 2 / 540), ("glorot_normal", 2 / 540), ("he_normal", 2 / 180)]
)
def test_seeded_draws_with_the_stated_variance(kind, variance):
    values = ops.convert_to_numpy(Seeded(kind, 3)((3, 3, 20, 40))).astype("float64")
    assert values.var() == pytest.approx(variance, rel=0.05)
    limit = math.sqrt(3 * variance) if kind == "glorot_uniform" else 2 * math.sqrt(variance) / 0.87962566103423978
    assert 0.95 * limit < np.abs(values).max() <= limit * (1 + 1e-6)
    np.testing.assert_array_equal(values, ops.convert_to_numpy(Seeded(kind, 3)((3, 3, 20, 40))))
    assert (values != ops.convert_to_numpy(Seeded(kind, 4)((3, 3, 20, 40)))).all()
