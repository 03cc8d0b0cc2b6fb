"""Why a run failed, in the words of each backend, and what is recorded of a run."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import keras
import pytest

from rareseg.experiments import store, worker
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


def test_a_signal_that_comes_twice_asks_once(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "_exit", lambda _: pytest.fail("it ended at once"))
    stop = worker.Stop()
    assert not stop()
    for _ in range(2):
        stop._ask(15, None)
    assert stop()


STARTED = """
import sys
from rareseg.experiments import worker
worker.prepare_backend({"threads": 1, "deterministic": True})
import keras
imported = set(worker.OPTIONAL) & set(sys.modules)
assert imported <= {keras.backend.backend()}, imported
import pandas, sklearn
"""


def test_a_worker_starts_without_what_it_does_not_need():
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_is_dated_by_its_own_start(monkeypatch):
    monkeypatch.setattr(worker, "fingerprint", lambda _: {})
    job = dict.fromkeys(("dataset", "network", "loss", "arguments", "seed", "settings"))
    before = datetime.now(UTC).replace(microsecond=0)
    started = datetime.fromisoformat(worker._start_record(job, "phantom")["started"])
    assert before <= started <= datetime.now(UTC)


@pytest.fixture
def work(tmp_path):
    """Return f(name, act): the record of a run after a worker did this in place of training."""

    class Stub(worker.Worker):
        def __init__(self, act):
            self._send, self._stop, self._train_and_score = lambda **_: None, lambda: False, lambda *_: act()

    def work(name, act):
        run = store.Run(tmp_path / name)
        Stub(act).run({"folder": str(run.folder), "evaluation": "e", "settings": {}})
        return run.record()

    return work


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system cannot forget a peak")
def test_the_memory_of_a_run_is_not_that_of_the_one_before(work):
    large = work("large", lambda: len(b"x" * 2**28))["peak_memory_mib"]
    small = work("small", lambda: None)["peak_memory_mib"]
    assert small < large - 200
    assert work("large", lambda: None)["peak_memory_mib"] == large  # it went on, and was larger before


def test_what_a_killed_worker_left_is_removed_by_the_next(work, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".12-34-run.json").touch()
    work("run", lambda: None)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", ".lock"}
