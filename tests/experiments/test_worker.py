"""Why a run failed, in the words of each backend."""

import keras
import pytest

from rareseg.experiments.worker import failure

WHOLE = {"analysis": "whole", "patch": None}
CROPS = {"analysis": "crop", "patch": [96, 96, 96]}


def exhausted():
    """Return what the backends raise, as far as they are installed."""
    jax = pytest.importorskip("jax")
    errors = [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.\nmore")]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        errors.append(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))
    return errors


@pytest.mark.parametrize(
    ("pipeline", "size", "shape", "key"),
    [
        (WHOLE, [192, 256], "192 x 256", "the data set's size"),
        (WHOLE, None, "whole images", "the data set's size"),
        (CROPS, None, "96 x 96 x 96", "pipeline.patch"),
    ],
)
def test_too_little_memory_names_the_shape_and_what_to_lower(pipeline, size, shape, key):
    settings = {"pipeline": pipeline, "dataset": {"size": size}, "training": {"batch_size": 16}}
    for error in exhausted():
        sentence = failure(error, settings)
        assert sentence.startswith(f"too little memory for batches of 16 samples of {shape}: ")
        assert f"lower training.batch_size or {key} ({type(error).__name__}: " in sentence
        assert "\n" not in sentence


def test_another_failure_is_told_as_it_is():
    assert failure(ValueError("no such axis"), {}) == "ValueError: no such axis"
