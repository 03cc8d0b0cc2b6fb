"""One step of training, in a process of its own: a corrupted heap kills the process, so its exit status tells."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CHILD = """
import json, sys
import keras, numpy as np
from rareseg import models
size = 32
generator = np.random.default_rng(0)
images = generator.normal(size=(8, size, size, 3)).astype("float32")
labels = generator.integers(0, 2, (8, size, size)).astype("uint8")
for config in json.loads(sys.argv[1]):
    print(config, file=sys.stderr, flush=True)
    model = models.build({**config, "output": "logits"}, (size, size, 3), 2)
    losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in model.outputs]
    model.compile("sgd", losses, run_eagerly=True)  # the kernels are those of a graph, which takes half a minute
    strides = [size // output.shape[1] for output in model.outputs]
    before = [w.copy() for w in model.get_weights()]
    results = model.train_on_batch(images, [labels[:, ::stride, ::stride] for stride in strides])
    assert np.isfinite(results).all() and np.isfinite(models.final(model)(images)).all()
    assert not np.array_equal(before[0], model.get_weights()[0])
"""
NARROW = {"focusnet": ("width", [2, 3, 4, 8]), "unet_all": ("filters", [1, 2, 4]), "attention_unet": ("width", [2])}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_networks_train(name):
    option, widths = NARROW[name]
    configs = json.dumps([{"name": name, option: width} for width in widths])
    child = subprocess.run([sys.executable, "-c", CHILD, configs], capture_output=True, text=True, check=False)
    assert child.returncode == 0, f"exit status {child.returncode}: {child.stderr[-2000:]}"
