"""Every test process computes as a worker does: by oneDNN, with one thread, else the last bits depend on the load."""

import itertools
import os

import pytest

for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(scope="session")
def another_backend():
    """Return a function that gives the variables by which a process computes on another backend."""
    # Inputs are small and computed once: nearly all of XLA's time goes into compiling.
    quick = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    quick += " --xla_llvm_disable_expensive_passes=true"

    def variables(backend, flags="", **more):
        return {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{quick} {flags}", **more}

    return variables


@pytest.fixture(scope="session")
def child_environment(another_backend):
    """Return a function that gives the environment of a process which tests on another backend."""
    return lambda *arguments, **more: {**os.environ, **another_backend(*arguments, **more)}


@pytest.fixture(scope="module")
def graphs_as_they_are():
    """Let graphs be executed as they were traced, as a worker process without a GPU does."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(
    params=itertools.product(itertools.permutations(range(3)), itertools.product((0, 1), repeat=3)),
    ids=lambda found: "".join(map(str, found[0])) + "".join("+-"[flip] for flip in found[1]),
)
def orientation(request):
    """How a volume's file may lie: the order of its axes, and which of them are reversed; all 48."""
    return request.param
