"""The whole way, from files of a data set to batches and label maps on its own grid."""

import numpy as np
import pytest

from rareseg import datasets
from rareseg.pipeline import Batches, draw_patches, predict_many, prepare_all

FAULTS = ["truncated_file", "size_mismatch"]


def side(key):
    """Pixels of a phantom's side: volumes are small."""
    return 32 if key in ("brats2020", "kits19") else 64


@pytest.fixture(scope="module", params=datasets.names())
def phantoms(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    size = side(request.param)
    return datasets.open(request.param, datasets.make_phantoms(request.param, folder, cases=4, size=size, seed=0))


def brightness(images):
    """Stand for a network: foreground where the image is bright, and a third class that never wins."""
    bright = images.mean(axis=-1, keepdims=True) - 0.5
    return np.concatenate([-bright, bright, np.full_like(bright, -9)], axis=-1)


def test_whole_images_go_in_and_label_maps_of_their_own_size_come_out(phantoms):
    size = (20, 24, 28)[-len(phantoms.cases[0].shape) :]
    config = {"size": size, "scaling": "unit", "channels": phantoms.channels, "batch_size": 2}
    prepared = prepare_all(phantoms.cases, config)
    for images, labels in Batches(prepared, config, seed=0):
        assert (images.shape, labels.shape) == ((2, *size, phantoms.channels), (2, *size))
        assert 0 <= images.min() < images.max() <= 1 + 1e-6
        assert set(np.unique(labels)) <= set(range(len(phantoms.classes)))
    for case, label in zip(phantoms.cases, predict_many(brightness, prepared, config), strict=True):
        assert label.shape == case.read_label().shape
        assert set(np.unique(label)) <= {0, 1}


def test_patches_go_in_and_whole_images_are_predicted_by_overlap(phantoms):
    patch = (16, 32, 16)[-len(phantoms.cases[0].shape) :]
    config = {"scaling": "unit", "analysis": "patches", "patch": patch, "patches": {"count": 20}, "batch_size": 16}
    patches = draw_patches(phantoms.cases, config, seed=0)
    images, labels = Batches(patches, config, seed=0)[0]
    assert images.shape[:-1] == labels.shape == (16, *patch)
    for case, label in zip(phantoms.cases, predict_many(brightness, phantoms.cases, config), strict=True):
        assert label.shape == case.read_label().shape


@pytest.mark.parametrize("trap", FAULTS)
@pytest.mark.parametrize("key", datasets.names())
def test_bad_files_are_one_sentence_that_names_them(key, trap, tmp_path):
    folder = datasets.make_phantoms(key, tmp_path, cases=4, size=side(key), seed=0, traps=(trap,))
    with pytest.raises(datasets.DataError, match=str(tmp_path)):
        prepare_all(datasets.open(key, folder).cases, {})
