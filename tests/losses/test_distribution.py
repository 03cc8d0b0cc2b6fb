"""Two replicas train as one does: in processes of their own, since devices are counted when a backend starts.

One network has a head for each loss, so that one training tries them all.
"""

import importlib.util
import json
import subprocess
import sys

import pytest

from rareseg import losses

TRAINING = """
import json
import keras
import numpy as np
from rareseg import losses

rng = np.random.default_rng(0)
image = rng.random((12, 8, 8, 2)).astype("float32")
label = rng.integers(0, 3, image.shape[:-1])
label[[0, 1, 4, 5, 8, 9], :7] = 0  # one replica sees little foreground, the other much
start = rng.normal(0, 1, (1, 1, 2, 3))

def train():
    heads = {name: losses.get(name, from_logits=True) for name in losses.names()}
    heads["pooled"] = losses.get("dice", from_logits=True, pool="batch")
    seen = keras.Input((8, 8, 2))
    model = keras.Model(seen, {name: keras.layers.Conv2D(3, 1, name=name)(seen) for name in heads})
    for name in heads:
        model.get_layer(name).set_weights([start, np.zeros(3)])
    truth = {name: losses.signed_distance(label, 3) if name == "boundary" else label for name in heads}
    model.compile(keras.optimizers.SGD(0.1), loss=heads, jit_compile=False)
    model.fit(image, truth, batch_size=4, shuffle=False, verbose=0)
    return {name: model.get_layer(name).get_weights()[0] for name in heads}

def report(alone, together):
    print(json.dumps({
        name: {"learned": float(np.abs(alone[name] - start).max()), "off": float(np.abs(alone[name] - found).max())}
        for name, found in together.items()
    }))
"""
TENSORFLOW = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
alone = train()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    report(alone, train())
"""
JAX = """
alone = train()
keras.distribution.set_distribution(keras.distribution.DataParallel())
assert keras.distribution.distribution().device_mesh.shape == (2,)
report(alone, train())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "on_two", "exact_if_pooled"),
    [("tensorflow", TENSORFLOW, False), ("jax", JAX, True)],  # JAX computes as if both devices were one
)
def test_two_replicas_train_as_one_does(child_environment, backend, on_two, exact_if_pooled):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = child_environment(backend, flags="--xla_force_host_platform_device_count=2")
    command = [sys.executable, "-c", TRAINING + on_two]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report) == {*losses.names(), "pooled"}
    for name, found in report.items():
        assert found["learned"] > 1e-4, name
        assert (found["off"] <= 1e-6) == (name != "pooled" or exact_if_pooled), (name, found)
