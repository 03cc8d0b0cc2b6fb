import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rareseg.pipeline.resize import by_parts, linear, nearest

SHAPES = [((31, 47), (7, 9)), ((31, 47), (64, 50)), ((20, 20), (20, 7)), ((5, 5), (1, 1)), ((1, 1), (3, 4))]


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_linear_equals_pillow_on_float_images(old, new):
    image = np.random.default_rng(0).random((*old, 2)).astype(np.float32)
    channels = (Image.fromarray(image[..., channel]) for channel in range(2))
    pillow = [np.asarray(one.resize(new[::-1], Image.Resampling.BILINEAR)) for one in channels]
    np.testing.assert_allclose(linear(image, new), np.stack(pillow, axis=-1), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_linear_gives_float32_of_the_same_range_in_3d(dtype):
    resized = linear(np.full((4, 6, 5, 1), 100, dtype), (3, 8, 5))
    assert resized.shape == (3, 8, 5, 1)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, 100, rtol=1e-6)


@given(st.integers(1, 40), st.integers(1, 40))
def test_nearest_takes_the_pixel_that_holds_the_centre(old, new):
    found = nearest(np.arange(old), (new,))
    centres = [(i + 0.5) * old / new for i in range(new)]
    assert all(abs(pixel + 0.5 - centre) <= 0.5 for pixel, centre in zip(found, centres, strict=True))


def test_image_and_label_stay_aligned():
    """A checkerboard, larger or smaller, is the same in image and label; moved by half a cell, half would differ."""
    board = np.kron(np.indices((8, 6)).sum(axis=0) % 2, np.ones((5, 5), int)).astype(np.uint8)
    for shape in ((8 * 15, 6 * 15), (8 * 3, 6 * 3)):
        label = nearest(board, shape)
        image = linear(board[..., None], shape)[..., 0]
        assert (label == (image > 0.5)).mean() == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("new", [(5, 9, 8), (9, 30, 12)])
def test_parts_give_what_the_whole_gives(axis, new):
    volume = np.random.default_rng(0).integers(-99, 99, (7, 20, 12, 1)).astype(np.int16)
    cuts = np.arange(0, volume.shape[axis], 3)
    places = [tuple(slice(cut, cut + 3) if k == axis else slice(None) for k in range(3)) for cut in cuts]
    found = by_parts(((place, volume[place]) for place in places), volume.shape[:3], new, linear)
    np.testing.assert_allclose(found, linear(volume, new), atol=1e-4)
    label = (volume[..., 0] > 0).astype(np.uint8)
    found = by_parts(((place, label[place]) for place in places), label.shape, new, nearest)
    np.testing.assert_array_equal(found, nearest(label, new))
