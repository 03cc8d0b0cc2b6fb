"""Several devices that act as one."""

import csv

import numpy as np
import pytest

from rareseg.experiments.cli import main

TWO = "--xla_force_host_platform_device_count=2"


@pytest.mark.slow
def test_two_devices_train_as_one_does(call, tiny, tmp_path, another_backend):
    losses = {}
    for devices in (1, 2):
        results = tmp_path / str(devices) / "results"
        training = f"training={{devices: {devices}, steps: 20, batch_size: 4}}"  # 2: rounding errors grow too fast
        changes = ["--set=" + training, "--only=loss=dice"]
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
