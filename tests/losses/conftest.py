"""Shared by the tests of the losses: inputs, and value with gradient on whichever backend Keras runs."""

import keras
import numpy as np
import pytest


def differentiate_with_tensorflow(loss, y_true, y_pred, weight):
    import tensorflow as tf

    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        values = loss(y_true, y_pred, weight)
        mean = tf.reduce_mean(values)
    return values.numpy(), tape.gradient(mean, y_pred).numpy()


def differentiate_with_jax(loss, y_true, y_pred, weight):
    import jax

    def mean(y_pred):
        values = loss(y_true, y_pred, weight)
        return values.mean(), values

    (_, values), gradient = jax.jit(jax.value_and_grad(mean, has_aux=True))(jax.numpy.asarray(y_pred))
    return np.asarray(values), np.asarray(gradient)


@pytest.fixture(scope="session")
def differentiate():
    """Return f(loss, y_true, y_pred, weight=None): values (B,) and the gradient of their mean; reduction is None."""
    ways = {"tensorflow": differentiate_with_tensorflow, "jax": differentiate_with_jax}
    way = ways[keras.backend.backend()]
    return lambda loss, y_true, y_pred, weight=None: way(loss, y_true, y_pred, weight)


@pytest.fixture(scope="session")
def draw():
    """Return f(channels, shape, seed): labels uint8 (B, *space) and logits float32 (B, *space, channels)."""

    def draw(channels, shape=(2, 6, 5), seed=0):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, max(channels, 2), shape).astype("uint8")
        return label, rng.normal(0, 2, (*shape, channels)).astype("float32")

    return draw


@pytest.fixture(scope="session")
def logits_of():
    """Return f(label, channels, size): logits +-size that say exactly ``label``."""

    def logits_of(label, channels, size):
        classes = np.arange(channels) if channels > 1 else np.array([1])
        return np.where(label[..., None] == classes, size, -size).astype("float32")

    return logits_of
