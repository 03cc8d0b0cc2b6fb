import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from rareseg.pipeline._field import displacement, factor
from rareseg.pipeline.randomness import generator


def covariance(length, sigma):
    """Return that of white noise after batchgenerators' filter, which takes the noise outside for zero."""
    dense = gaussian_filter1d(np.eye(length), sigma, axis=0, mode="constant")
    return dense @ dense.T


@pytest.mark.parametrize("sigma", [9, 11, 13])
@pytest.mark.parametrize("length", [17, 64, 96, 160, 384])
def test_the_covariance_is_that_of_the_dense_filter(length, sigma):
    wanted = covariance(length, sigma)
    found = factor(length, sigma).astype(float)
    assert found.shape[1] < length
    np.testing.assert_allclose(found @ found.T, wanted, atol=0.01 * wanted.max())


@pytest.mark.parametrize(
    ("shape", "place", "lag"), [((40, 30), (20, 15), (0, 6)), ((12, 20, 14), (0, 10, 7), (0, 5, 4))]
)
def test_fields_have_the_deviation_and_the_correlation_of_the_filter(shape, place, lag):
    """Also at the border, where both decay; within three standard errors of 2000 fields."""
    alpha, sigma, count = 450, 9.0, 2000
    fields = (displacement(shape, alpha, sigma, generator(seed, "field")) for seed in range(count))
    other = tuple(np.add(place, lag))
    pairs = np.array([(field[0][place], field[0][other], field[1][place]) for field in fields])
    axes = [covariance(length, sigma) for length in shape]
    products = [
        np.prod([axis[a, b] for axis, a, b in zip(axes, first, second, strict=True)])
        for first, second in ((place, place), (other, other), (place, other))
    ]
    deviation = alpha / np.sqrt(3) * np.sqrt(products[0])
    correlation = products[2] / np.sqrt(products[0] * products[1])
    assert abs(pairs[:, 0].std() - deviation) < 3 * deviation / np.sqrt(2 * count)
    found = np.corrcoef(pairs.T)
    assert abs(found[0, 1] - correlation) < 3 * (1 - correlation**2) / np.sqrt(count)
    assert abs(found[0, 2]) < 3 / np.sqrt(count)


def test_the_field_depends_on_its_generator_alone():
    first, again, other = (displacement((9, 7), 100, 3.0, generator(seed, "field")) for seed in (1, 1, 2))
    assert first.shape == (2, 9, 7)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
