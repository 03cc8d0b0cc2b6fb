"""One step of training, each in its own process: a corrupted heap kills the process, so its exit status tells."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CHILD = """
import json, sys, time
import keras, numpy as np
from rareseg import models
config, size = json.loads(sys.argv[1])
generator = np.random.default_rng(0)
images = generator.normal(size=(8, size, size, 3)).astype("float32")
labels = generator.integers(0, 2, (8, size, size)).astype("uint8")
model = models.build({**config, "output": "logits"}, (size, size, 3), 2)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
before, start = [w.copy() for w in model.get_weights()], time.process_time()
loss = model.train_on_batch(images, labels)
seconds = time.process_time() - start
assert np.isfinite(loss) and np.isfinite(model.predict_on_batch(images)).all()
assert not np.array_equal(before[0], model.get_weights()[0])
print(json.dumps(seconds))
"""


def first_step(config, size):
    """Train one step and predict once in a child; return the step's CPU seconds."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([config, size])], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, f"exit status {child.returncode}: {child.stderr[-2000:]}"
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("width", [2, 3, 4, 8])
def test_narrow_focusnets_train(width):
    first_step({"name": "focusnet", "width": width}, 32)


@pytest.mark.parametrize("filters", [1, 2, 4])
def test_narrow_unets_train(filters):
    first_step({"name": "unet_all", "filters": filters}, 32)


@pytest.mark.parametrize(("name", "budget"), [("unet_demo", 20), ("focusnet_demo", 60)])
def test_the_first_step_of_the_demo_is_cheap(name, budget):
    assert first_step({"name": name}, 64) < budget
