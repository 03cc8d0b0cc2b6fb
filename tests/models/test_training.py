"""One step of training, each in its own process: a corrupted heap kills the process, so its exit status tells."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CHILD = """
import json, sys
import keras, numpy as np
from rareseg import models
config, size = json.loads(sys.argv[1]), 32
generator = np.random.default_rng(0)
images = generator.normal(size=(8, size, size, 3)).astype("float32")
labels = generator.integers(0, 2, (8, size, size)).astype("uint8")
model = models.build({**config, "output": "logits"}, (size, size, 3), 2)
losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in model.outputs]
model.compile("sgd", losses, jit_compile=False)
strides = [size // output.shape[1] for output in model.outputs]
labels = [labels[:, ::stride, ::stride] for stride in strides]
before = [w.copy() for w in model.get_weights()]
results = model.train_on_batch(images, labels)
assert np.isfinite(results).all() and np.isfinite(models.final(model).predict_on_batch(images)).all()
assert not np.array_equal(before[0], model.get_weights()[0])
"""
NARROW = {"focusnet": ("width", [2, 3, 4, 8]), "unet_all": ("filters", [1, 2, 4]), "attention_unet": ("width", [2])}


@pytest.mark.parametrize(
    "config", [{"name": name, option: width} for name, (option, widths) in NARROW.items() for width in widths], ids=str
)
def test_narrow_networks_train(config):
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(config)], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, f"exit status {child.returncode}: {child.stderr[-2000:]}"
