"""Phantoms drawn once, and the real subsets of whoever has them."""

import os
from pathlib import Path

import pytest

from rareseg.datasets import make_phantoms, names


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Keep what is remembered of files out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("RARESEG_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def demo_folders(tmp_path_factory):
    """Key -> the phantoms that profile ``demo`` trains on."""
    root = tmp_path_factory.mktemp("phantoms")
    return {key: make_phantoms(key, root / key) for key in names()}


@pytest.fixture
def real_data():
    """Return a function from key to the folder of the real subset; skips where there is none."""

    def folder(key):
        if "RARESEG_DATA" not in os.environ:
            pytest.skip("RARESEG_DATA is not set")
        path = Path(os.environ["RARESEG_DATA"]) / key
        if not path.is_dir():
            pytest.skip(f"{path} is missing")
        return path

    return folder
