"""Shared by the tests of the losses: inputs, and value with gradient on whichever backend Keras runs."""

import warnings

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


def differentiate_with_tensorflow(cases, inputs, sloped, form):
    import tensorflow as tf

    def differentiated(loss, has_slope, y_true, y_pred, weight):
        if not has_slope:
            return loss(y_true, y_pred, weight), None
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = loss(y_true, y_pred, weight)
            mean = tf.reduce_mean(values)
        return values, tape.gradient(mean, y_pred)

    def step(inputs):
        return [differentiated(*which, *given) for *which, given in zip(cases, sloped, inputs, strict=True)]

    if form != "eager":
        step = tf.function(step, autograph=False, jit_compile=form == "xla")
    return step([(tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred), w) for y_true, y_pred, w in inputs])


def differentiate_with_jax(cases, inputs, sloped, form):
    import jax

    def differentiated(loss, has_slope, y_true, y_pred, weight):
        if not has_slope:
            return loss(y_true, y_pred, weight), None

        def mean(y_pred):
            values = loss(y_true, y_pred, weight)
            return values.mean(), values

        (_, values), gradient = jax.value_and_grad(mean, has_aux=True)(y_pred)
        return values, gradient

    def step(inputs):
        return [differentiated(*which, *given) for *which, given in zip(cases, sloped, inputs, strict=True)]

    given = [(jax.numpy.asarray(y_true), jax.numpy.asarray(y_pred), weight) for y_true, y_pred, weight in inputs]
    return (step if form == "eager" else jax.jit(step))(given)


def differentiate_with_torch(cases, inputs, sloped, form):
    import torch  # pyright: ignore[reportMissingImports]

    found = []
    for loss, has_slope, (y_true, y_pred, weight) in zip(cases, sloped, inputs, strict=True):
        evaluate = loss
        if form != "eager":
            torch.compiler.reset()  # after eight losses it would compile no other, and say nothing
            evaluate = torch.compile(loss, backend="aot_eager", fullgraph=True)
        leaf = keras.ops.convert_to_tensor(y_pred).detach().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler warns of caches in Keras and of its own questions to tensors
            of_pixels = None if weight is None else keras.ops.convert_to_tensor(weight)
            values = evaluate(keras.ops.convert_to_tensor(y_true), leaf, of_pixels)
        if has_slope:
            values.mean().backward()
        found.append((values.detach(), leaf.grad))
    return found


@pytest.fixture(scope="session")
def has_double():
    """Return whether the backend computes in float64."""
    if keras.backend.backend() != "jax":
        return keras.backend.backend() == "tensorflow"
    import jax

    return jax.config.jax_enable_x64


@pytest.fixture
def double(has_double):
    """Skip a test where there is no float64."""
    if not has_double:
        pytest.skip("no float64: JAX needs JAX_ENABLE_X64=1, and on PyTorch Keras rounds in ops.maximum")


@pytest.fixture(scope="session")
def compiled():
    """Return the name of the compiled form that the backend trains with."""
    return {"tensorflow": "graph", "jax": "jit", "torch": "compiled"}[keras.backend.backend()]


@pytest.fixture(scope="session")
def differentiate_all():
    """Return f([(loss, y_true, y_pred, weight), ...], form): values (B,) and the gradient of their mean of each case.

    A compiled form compiles all cases into one program. The losses have no reduction. `sloped` says which cases have a
    gradient; the others' is None.
    """
    ways = {
        "tensorflow": differentiate_with_tensorflow,
        "jax": differentiate_with_jax,
        "torch": differentiate_with_torch,
    }
    way = ways[keras.backend.backend()]

    def differentiate_all(cases, form, sloped=None):
        cases = list(cases)
        inputs = [(as_truth(loss, y_true, y_pred), y_pred, weight) for loss, y_true, y_pred, weight in cases]
        found = way([loss for loss, *_ in cases], inputs, sloped or [True] * len(cases), form)
        return [[None if part is None else keras.ops.convert_to_numpy(part) for part in parts] for parts in found]

    return differentiate_all


@pytest.fixture(scope="session")
def differentiate(differentiate_all):
    """Return f(loss, y_true, y_pred, weight=None, form="eager"): the same for one loss."""

    def differentiate(loss, y_true, y_pred, weight=None, form="eager"):
        return differentiate_all([(loss, y_true, y_pred, weight)], form)[0]

    return differentiate


@pytest.fixture(scope="session")
def values():
    """Return f(loss or name, y_true, y_pred, pixel_weight=None, **arguments): one value per sample, (B,)."""

    def values(loss, y_true, y_pred, pixel_weight=None, /, **arguments):
        if not isinstance(loss, keras.losses.Loss):
            loss = losses.get(loss, **{"from_logits": True, "reduction": None, **arguments})
        return keras.ops.convert_to_numpy(loss(as_truth(loss, y_true, y_pred), y_pred, pixel_weight))

    return values


@pytest.fixture(scope="session")
def truth():
    """Return f(loss, y_true, y_pred): labels in the form that the loss takes."""
    return as_truth


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
