"""The same networks on JAX, in a process of its own: Keras chooses its backend once."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent
NOT_AGAIN = "not mixed and not another_backend"  # lower precision costs as much as all else; that one compares already


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="runs on JAX already")
def test_whole_files_on_jax(child_environment):
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", NOT_AGAIN]
    command += ["-m", "slow or not slow", "test_blocks.py", "test_build.py"]
    done = subprocess.run(command, env=child_environment("jax"), cwd=HERE, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
