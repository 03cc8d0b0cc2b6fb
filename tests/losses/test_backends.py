"""The same losses on JAX, in a process of its own: Keras chooses its backend once."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def run_on_jax(child_environment):
    """Return a function that runs tests of this folder on JAX and returns pytest's output; empty if all pass."""

    def run(*selection, **more):
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *selection]
        environment = child_environment("jax", **more)
        done = subprocess.run(command, env=environment, cwd=HERE, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr if done.returncode else ""

    return run


pytestmark = pytest.mark.skipif(keras.backend.backend() == "jax", reason="runs on JAX already")


def test_golden_values_and_gradients_on_jax(run_on_jax):
    assert not run_on_jax("test_golden.py", "-k", "compiled or needs_no_tensorflow")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "chosen"),
    [
        ("test_golden.py", "every_case_compiled or larger_inputs"),  # what JAX does one by one, it compiles, too
        ("test_numerics.py", ""),
        ("test_properties.py", ""),
    ],
)
def test_most_of_a_file_on_jax(run_on_jax, file, chosen):
    assert not run_on_jax(file, "-m", "slow or not slow", "-k", chosen)


@pytest.mark.slow
def test_double_precision_on_jax(run_on_jax):
    assert not run_on_jax("test_properties.py", "-k", "float64 or slopes", JAX_ENABLE_X64="1")
