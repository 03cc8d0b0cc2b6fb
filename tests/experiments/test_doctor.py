"""What the doctor finds, and what it says to do about it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rareseg import datasets
from rareseg.experiments import doctor, hardware
from rareseg.experiments.cli import main


def found(printed):
    """Return what was looked at -> (state, sentence), of the last look of each kind."""
    lines = [line for line in printed.splitlines() if not line.startswith(" ")]
    return {line[9:18].strip(): (line[:8].strip(), line[19:]) for line in lines}


@pytest.fixture
def answer(monkeypatch):
    """Return a function that lets the backend answer with devices, or die with a last line."""

    def set_answer(devices=None, last="", code=0):
        done = subprocess.CompletedProcess(
            [], code or int(devices is None), "" if devices is None else json.dumps(devices), last
        )
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    return set_answer


def test_every_data_set_is_looked_for(tmp_path, answer, capsys):
    answer([])
    datasets.make_phantoms("drive", tmp_path / "drive", 4, 64)
    (tmp_path / "dsb2018").mkdir()
    assert main("doctor", ["--data", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"drive: 4 cases in {tmp_path / 'drive'}" in printed
    assert "dsb2018: cannot be used" in printed
    for key in set(datasets.names()) - {"drive", "dsb2018"}:
        assert f"{key}: not in {tmp_path / key}\n{'':18} -> {datasets.source(key)}\n" in printed


@pytest.mark.parametrize(
    ("there", "seen", "state", "sentence"),
    [
        ([], [], "missing", "none; networks train on the processor"),
        (["0", "1"], [], "missing", "there are 2, of which jax sees none"),
        (["0"], ["Some GPU"], "ok", "Some GPU"),
    ],
)
def test_devices(there, seen, state, sentence, tmp_path, answer, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(hardware, "gpus", lambda: there)
    monkeypatch.setattr(doctor, "_free_gpu_memory", list)
    answer(seen)
    assert main("doctor", ["--data", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert found(printed)["GPU"][0] == state
    assert found(printed)["GPU"][1].startswith(sentence)
    assert ("-> uv sync --inexact --extra jax-gpu" in printed) == (len(there) > len(seen))


@pytest.mark.parametrize("devices", [None, ["GPU"]], ids=["silent", "after it has answered"])
@pytest.mark.parametrize(
    ("backend", "command"),
    [("jax", "uv sync --inexact --extra jax"), ("torhc", "set KERAS_BACKEND to one of tensorflow, jax, torch")],
)
def test_a_backend_that_does_not_compute_is_wrong(backend, command, devices, tmp_path, answer, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    answer(devices, "first\nNo module named it", code=1)
    assert main("doctor", ["--data", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert found(printed)["backend"] == ("wrong", f"{backend} does not compute: No module named it")
    assert printed.endswith(f"-> {command}\n")


def test_only_cores_that_the_process_may_use_are_told(tmp_path, answer, monkeypatch, capsys):
    answer([])
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert main("doctor", ["--data", str(tmp_path)]) == 0
    assert found(capsys.readouterr().out)["machine"][1].startswith("1 cores (")


def test_folders_that_cannot_be_written_and_little_space_are_told(tmp_path, answer, monkeypatch, capsys):
    answer([])
    monkeypatch.setattr(doctor, "LEAST_GIB", 10**9)
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))
    assert main("doctor", ["--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("-> make room\n") == 2
    monkeypatch.setattr("os.access", lambda place, _: place != tmp_path)
    assert main("doctor", ["--data", str(tmp_path)]) == 1
    assert "correct its permissions, or set RARESEG_CACHE" in capsys.readouterr().out


def test_the_installed_backend_computes():
    script = Path(__file__).parents[2] / "scripts" / "doctor.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found(done.stdout)["backend"][0] == "ok"
