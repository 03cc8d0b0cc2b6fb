"""What the tests of the networks share: narrow versions of all presets, built once."""

import functools
from collections.abc import Callable

import keras
import numpy as np
import pytest

from rareseg import models


def configuration(name: str, **options) -> dict:
    width = {option: 2 for option in ("filters", "width", "depth") if option in models.presets()[name]}
    return {"name": name, **width, **options}


@functools.cache
def _build(name: str, shape: tuple, classes: int, options: tuple) -> keras.Model:
    return models.build(configuration(name, **dict(options)), shape, classes)


@pytest.fixture(scope="session")
def narrow() -> Callable[..., dict]:
    """Return a function that gives the configuration of a preset with few channels."""
    return configuration


@pytest.fixture(scope="session")
def narrow_model() -> Callable[..., keras.Model]:
    """Return a function that builds the narrow version of a preset, each once; nobody may change its weights."""

    def build(name, shape=(16, 32, 3), classes=2, **options):
        return _build(name, shape, classes, tuple(sorted(options.items())))

    return build


@pytest.fixture
def images() -> Callable[..., np.ndarray]:
    """Return a function that draws images of a shape (B, *space, C), float32."""
    return lambda *shape: np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture(params=["float32", "mixed_float16", "mixed_bfloat16"])
def policy(request):
    """Set each dtype policy for the time of a test."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)
