"""Finite and precise: extreme logits, half and double precision, large volumes."""

import keras
import numpy as np
import pytest
from keras import ops

from rareseg import losses
from rareseg.losses._inputs import read_prediction

ALL = losses.names()
REGIONS_ONLY = [name for name in ALL if name.endswith(("dice", "jaccard", "tversky", "similarity"))]
BOUNDED = ["generalised_cross_entropy", "boundary", "adaptive_log"]  # the last is as its base
LIKE_CROSS_ENTROPY = [  # their gradient must not vanish where the network is surely wrong
    name for name in ALL if name not in REGIONS_ONLY + BOUNDED
]
EXTREMES = [60.0, 1e4, 3e38]


@pytest.fixture(params=ALL)
def name(request):
    return request.param


def mixture(channels, sizes, shape=(6, 6)):
    """Return logits out of {-size, 0, size} in any mixture; of each size two samples."""
    sizes = np.repeat(sizes, 2).reshape(-1, *[1] * len(shape), 1)
    return (np.random.default_rng(2).integers(-1, 2, (len(sizes), *shape, channels)) * sizes).astype("float32")


def test_extreme_logits_have_finite_values_and_gradients(name, differentiate):
    for channels in (1, 2, 3):
        logits = mixture(channels, EXTREMES)
        loss = losses.get(name, from_logits=True, reduction=None)
        label = np.random.default_rng(3).integers(0, max(channels, 2), logits.shape[:-1])
        for y_true in (label, np.eye(max(channels, 2), dtype="float32")[label] if channels > 1 else label * 0.75):
            values, gradient = differentiate(loss, y_true, logits)
            assert np.isfinite(values).all(), channels
            assert np.isfinite(gradient).all(), channels


@pytest.mark.parametrize("gamma_ce", [1.3, 2, 10])
def test_powers_of_extreme_cross_entropies_are_finite(gamma_ce, differentiate):
    logits = mixture(2, EXTREMES)
    loss = losses.get("exponential_log", gamma_ce=gamma_ce, from_logits=True, reduction=None)
    found = differentiate(loss, np.random.default_rng(3).integers(0, 2, logits.shape[:-1]), logits)
    assert all(np.isfinite(one).all() for one in found)


@pytest.mark.parametrize("name", ["focal_tversky", "hybrid_focal"])
def test_few_false_positives_are_never_fewer_than_none(name, differentiate):
    """Pixels of no class get what the true classes leave of a large sum, which may round below 0."""
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, (8, 128, 128))
    logits = np.where(label[..., None] == 1, [2.0, -2.0], [17.0, 0.0]) + generator.normal(size=(8, 128, 128, 1))
    label[:, 0, 0], logits[:, 0, 0] = 7, [17, 0]
    gamma = {"focal_tversky": "gamma", "hybrid_focal": "tversky_gamma"}[name]
    loss = losses.get(name, **{"delta": 0, gamma: 1.5}, from_logits=True, reduction=None)
    found = differentiate(loss, label, logits.astype("float32"))
    assert all(np.isfinite(one).all() for one in found)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_logits_that_are_no_number_are_not_hidden(name, channels, differentiate):
    logits = mixture(channels, [2.0])
    logits[1, 0, 0] = np.nan
    label = np.random.default_rng(3).integers(0, max(channels, 2), logits.shape[:-1])
    values, _ = differentiate(losses.get(name, from_logits=True, reduction=None), label, logits)
    assert np.isfinite(values).tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_counted_in_single(name, dtype, differentiate):
    for channels in (1, 2, 3):
        logits = keras.ops.convert_to_tensor(mixture(channels, [12, 60, 65504]), dtype)
        label = np.random.default_rng(3).integers(0, max(channels, 2), tuple(logits.shape[:-1]))
        values, gradient = differentiate(losses.get(name, from_logits=True, reduction=None), label, logits)
        assert values.dtype == "float32"
        assert np.isfinite(values).all(), channels
        assert np.isfinite(gradient.astype("float32")).all(), channels


@pytest.mark.usefixtures("double")
def test_double_precision_stays_double(name, draw, values):
    label, logits = draw(3)
    assert values(name, label, logits.astype("float64")).dtype == "float64"
    assert values(name, label, logits.astype("float64"), dtype="float32").dtype == "float32"


@pytest.mark.parametrize("wrong", LIKE_CROSS_ENTROPY)
@pytest.mark.parametrize("size", [60, 1e4])
def test_confident_errors_keep_their_gradient(wrong, size, draw, logits_of, differentiate):
    for channels in (1, 2, 3):
        label, _ = draw(channels)
        classes = max(channels, 2)
        logits = logits_of((label + 1) % classes, channels, size)
        _, gradient = differentiate(losses.get(wrong, from_logits=True, reduction=None), label, logits)
        assert (np.abs(gradient).max(axis=-1) > 1e-6).all(), channels  # of the mean over 60 pixels


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_perfect_prediction_has_finite_gradients(name, channels, draw, logits_of, differentiate):
    label, _ = draw(channels)
    logits = np.concatenate([logits_of(label, channels, size) for size in (5, 20, 60)])
    loss = losses.get(name, from_logits=True, reduction=None)
    _, gradient = differentiate(loss, np.tile(label, (3, 1, 1)), logits)
    assert np.isfinite(gradient).all()


def volume(edge, dtype="float32"):
    """Return labels and logits of a cube with a ball in it and a fair prediction; two classes."""
    axis = np.arange(edge) - edge / 2
    label = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2 < (edge / 5) ** 2).astype("uint8")
    logits = np.random.default_rng(4).normal(0, 1, (1, edge, edge, edge, 2))
    logits[..., 1] += 3.0 * label - 1.5
    return label[None], logits.astype(dtype)


@pytest.mark.usefixtures("double")
def test_a_volume_in_single_and_half_precision(name, values):
    label, logits = volume(64, "float64")
    double, single, half = (values(name, label, logits.astype(kind))[0] for kind in ("float64", "float32", "float16"))
    assert np.isfinite(double)
    np.testing.assert_allclose(single, double, rtol=1e-6)
    np.testing.assert_allclose(half, double, rtol=1e-3)


PRECISION = {  # how far a sum over 4 million pixels may be off; XLA sums in an order of its own
    "tensorflow": {"eager": 1e-6, "graph": 1e-6, "xla": 1e-4},
    "jax": {"jit": 1e-4},
    "torch": {"eager": 1e-6},
}[keras.backend.backend()]


@pytest.fixture(scope="module")
def large():
    return volume(160)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_a_large_volume_in_single_precision(name, large, values, differentiate):
    loss = losses.get(name, from_logits=True, reduction=None)
    label, logits = large
    double = values(loss, label, logits.astype("float64"))
    for form, tolerance in PRECISION.items():
        single, gradient = differentiate(loss, label, logits, form=form)
        np.testing.assert_allclose(single, double, rtol=tolerance, err_msg=form)
        assert np.isfinite(gradient).all(), form


def test_the_margin_of_two_logits_is_their_difference():
    logits = np.random.default_rng(0).normal(0, 30, (2, 4, 5, 2)).astype("float32")
    found = ops.convert_to_numpy(read_prediction(ops.convert_to_tensor(logits), from_logits=True).margin)
    np.testing.assert_array_equal(found, logits[..., 1] - logits[..., 0])
