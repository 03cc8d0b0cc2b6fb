"""Initial weights that depend on the seed and the layer's name alone, not on the backend."""

import math
import zlib
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import ops

Kind = Literal["glorot_uniform", "glorot_normal", "he_normal"]

_STD_OF_CUT_NORMAL = 0.87962566103423978  # standard deviation of a unit normal cut at two standard deviations


def layer_seed(seed: int, layer_name: str) -> int:
    """Return the seed of one layer, so that layers of equal shape do not start with equal weights."""
    return zlib.crc32(f"{seed}/{layer_name}".encode()) & 0x7FFFFFFF


@keras.saving.register_keras_serializable(package="rareseg")
class Seeded(keras.initializers.Initializer):
    """Draw kernels with NumPy: the same seed gives the same bits on every backend.

    Keras' own initialisers draw other numbers on each backend, and on JAX they are compiled anew for each shape.

    Sources: Glorot and Bengio 2010 (variance 2 / (fan_in + fan_out)); He et al. 2015, arXiv 1502.01852, equation 10
    (variance 2 / fan_in).

    Args:
        kind: ``glorot_uniform``, ``glorot_normal`` or ``he_normal``; normal kinds are cut at two standard deviations.
        seed: Seed of ``numpy.random.default_rng``.

    Raises:
        ValueError: The kind is none of these.
    """

    def __init__(self, kind: Kind, seed: int) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"Seeded: kind must be one of {', '.join(get_args(Kind))}, got {kind!r}.")
        self.kind = kind
        self.seed = seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return a kernel of the given shape (*size, in, out), or (in, out) for a dense layer."""
        generator = np.random.default_rng(self.seed)
        *size, channels_in, channels_out = shape
        fan_in, fan_out = math.prod(size) * channels_in, math.prod(size) * channels_out
        if self.kind == "glorot_uniform":
            limit = math.sqrt(6 / (fan_in + fan_out))
            values = generator.uniform(-limit, limit, shape)
        else:
            variance = 2 / fan_in if self.kind == "he_normal" else 2 / (fan_in + fan_out)
            values = _cut_normal(generator, shape) * (math.sqrt(variance) / _STD_OF_CUT_NORMAL)
        return ops.convert_to_tensor(values.astype("float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what ``.keras`` files store."""
        return {"kind": self.kind, "seed": self.seed}


def _cut_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return unit normal numbers, float64, those beyond two standard deviations drawn again."""
    values = generator.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(np.count_nonzero(outside))
    return values
