"""Several devices that act as one: in processes of their own, since devices are counted when a backend starts."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from rareseg.experiments.cli import main

TWO = "--xla_force_host_platform_device_count=2"
TANDEM = """
import json
import keras
import numpy as np
from rareseg.experiments.sections import Training
from rareseg.experiments.session import Session

NETWORK = {"name": "unet_demo", "filters": 4, "depth": 2, "dropout": 0.1}
LOSS = {"name": "dice", "pool": "batch"}
TRAINING = {"optimiser": {"name": "sgd", "learning_rate": 0.05, "momentum": 0}}

def session(devices):
    training = Training.model_validate({**TRAINING, "devices": devices}).model_dump(mode="json")
    built = Session(NETWORK, 0, (32, 32, 3), 2, training, [LOSS])
    built.reset(LOSS)
    return built

def change(session, images, labels):
    before = session.weights()
    loss, _ = session.step(images, labels, 0.05)
    return loss, np.concatenate([(a - b).ravel() for a, b in zip(session.weights(), before)])

alone, rows, rng = session(1), [], np.random.default_rng(0)
images = rng.random((4, 32, 32, 3)).astype("float32")
labels = (images[..., 0] > 0.9).astype("uint8")
labels[:2] = 0  # one device sees no foreground
for step in range(20):  # each starts as one device does, since rounding errors grow by up to three times a step
    alone.save(f"{step}.npz")
    rows.append([change(alone, images, labels)])
together = session(2)  # from here on devices share
assert keras.distribution.distribution().device_mesh.shape == (2,)
for step in range(20):
    together.restore(f"{step}.npz")
    rows[step].append(change(together, images, labels))
print(json.dumps([
    {
        "loss": one[0], "off": abs(one[0] - two[0]),
        "change": float(np.linalg.norm(one[1])), "changed_off": float(np.linalg.norm(one[1] - two[1])),
    }
    for one, two in rows
]))
"""


@pytest.mark.slow
def test_each_step_on_two_devices_is_that_of_one(child_environment, tmp_path):
    environment = child_environment("jax", TWO)
    command = [sys.executable, "-c", TANDEM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout.splitlines()[-1])
    assert len(steps) == 20
    assert steps[0]["loss"] - steps[-1]["loss"] > 0.01
    for number, step in enumerate(steps):
        assert step["off"] <= 1e-5, (number, step)
        assert step["changed_off"] <= 1e-3 * step["change"], (number, step)


@pytest.mark.slow
def test_two_devices_train_as_one_does(call, tiny, tmp_path, another_backend):
    losses = {}
    for devices in (1, 2):
        results = tmp_path / str(devices) / "results"
        sgd = "{name: sgd, learning_rate: 0.01}"  # Adam turns gradients that are 0 but for rounding into whole steps
        training = f"training={{devices: {devices}, steps: 6, batch_size: 4, optimiser: {sgd}}}"
        changes = ["--set=" + training, "--set=seeds=[9]", "--only=loss=dice"]
        done = call(*tiny, *changes, results=results, env=another_backend("jax", TWO))
        assert done.returncode == 0, done.stdout + done.stderr
        with next(results.glob("runs/*/history.csv")).open() as file:
            losses[devices] = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[1][0] - losses[1][-1] > 0.01
    np.testing.assert_allclose(losses[2], losses[1], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_wants_more_devices_than_there_are_says_so(call, tiny, tmp_path, another_backend):
    changes = ["--set=training.devices=2", "--only=loss=dice"]
    done = call(*tiny, *changes, results=tmp_path / "results", env=another_backend("jax"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "training.devices: 2, but this process sees only 1: cpu:0" in done.stdout


@pytest.mark.parametrize(
    ("backend", "change", "sentence"),
    [
        ("tensorflow", "training.devices=2", "training.devices: only JAX lets several devices act as one"),
        ("jax", "training={devices: 2, batch_size: 3}", "3 samples cannot be shared evenly by 2 devices"),
    ],
)
def test_what_devices_cannot_do_is_refused(backend, change, sentence, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    only = ["--set=grid={dataset: [dsb2018], network: [unet], loss: [dice]}", "--set=overrides=[]"]
    assert main("table3", ["--profile=demo", f"--set={change}", *only, "--results", str(tmp_path / "results")]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.splitlines()) == 1
    assert not (tmp_path / "results").exists()
