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
losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in model.outputs]
model.compile("adam", losses, jit_compile=False)
strides = [size // output.shape[1] for output in model.outputs]
labels = [labels[:, ::stride, ::stride] for stride in strides]
before, start = [w.copy() for w in model.get_weights()], time.process_time()
results = model.train_on_batch(images, labels)
seconds = time.process_time() - start
assert np.isfinite(results).all() and np.isfinite(models.final(model).predict_on_batch(images)).all()
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


NARROW = {"focusnet": ("width", [2, 3, 4, 8]), "unet_all": ("filters", [1, 2, 4]), "attention_unet": ("width", [2])}


@pytest.mark.parametrize(
    "config", [{"name": name, option: width} for name, (option, widths) in NARROW.items() for width in widths], ids=str
)
def test_narrow_networks_train(config):
    first_step(config, 32)


@pytest.mark.parametrize(("name", "budget"), [("unet_demo", 20), ("focusnet_demo", 60)])
def test_the_first_step_of_the_demo_is_cheap(name, budget):
    assert first_step({"name": name}, 64) < budget
