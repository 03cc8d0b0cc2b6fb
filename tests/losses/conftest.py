"""Shared by the tests of the losses: inputs, and value with gradient on whichever backend Keras runs."""

import keras
import numpy as np
import pytest

from rareseg import losses


def as_truth(loss, y_true, y_pred):
    """Return labels in the form that a loss takes: distance maps for `boundary`, behind the labels if it has a base."""
    if not hasattr(loss, "base") or "boundary" not in loss.name:
        return y_true
    classes = max(y_pred.shape[-1], 2)
    one_hot = y_true.ndim == y_pred.ndim and y_true.shape[-1] > 1
    label = y_true.argmax(-1) if one_hot else y_true.reshape(y_pred.shape[:-1])
    maps = losses.signed_distance(label, classes)
    return maps if loss.base is None else np.concatenate([label[..., None], maps], axis=-1).astype("float32")


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
    return lambda loss, y_true, y_pred, weight=None: way(loss, as_truth(loss, y_true, y_pred), y_pred, weight)


@pytest.fixture(scope="session")
def values():
    """Return f(loss or name, y_true, y_pred, pixel_weight=None, **arguments): one value per sample, (B,)."""

    def values(loss, y_true, y_pred, pixel_weight=None, /, **arguments):
        if not isinstance(loss, keras.losses.Loss):
            loss = losses.get(loss, **{"from_logits": True, "reduction": None, **arguments})
        return keras.ops.convert_to_numpy(loss(as_truth(loss, y_true, y_pred), y_pred, pixel_weight))

    return values


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
