import os

import pytest

from rareseg.experiments import cli, hardware, pool

VISIBLE = [("0,1", ["0", "1"]), ("2", ["2"]), ("", []), ("-1", []), ("GPU-8a5f", ["GPU-8a5f"])]


@pytest.mark.parametrize(("allowed", "expected"), VISIBLE)
def test_devices_are_those_that_the_environment_allows_and_each_has_a_worker(monkeypatch, allowed, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert hardware.gpus() == expected
    if expected:
        assert cli.default_workers([]) == len(expected)
        assert cli.default_workers([{"training": {"devices": 2}}]) == max(1, len(expected) // 2)


def test_devices_are_counted_from_0_whatever_their_numbers_on_the_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "Path", lambda _: tmp_path)
    for name in ("nvidia3", "nvidia7", "nvidiactl"):
        (tmp_path / name).touch()
    assert hardware.gpus() == ["0", "1"]


def test_a_worker_sees_the_device_that_the_fewest_others_use(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    one = pool.Pool([], 3, tmp_path / "log", lambda _: None)
    chosen = []
    for _ in range(4):
        child = pool.Child.__new__(pool.Child)
        child.gpus = one._free_gpus(1)
        one._children.append(child)
        chosen += child.gpus
    assert sorted(chosen) == ["0", "0", "1", "1"]
    assert sorted(one._free_gpus(2)) == ["0", "1"]
    assert pool.environment(1, ["1"])["CUDA_VISIBLE_DEVICES"] == "1"
    assert pool.environment(1)["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_worker_computes_by_onednn_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    assert pool.environment(1)["TF_ENABLE_ONEDNN_OPTS"] == "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert pool.environment(1)["TF_ENABLE_ONEDNN_OPTS"] == "0"


@pytest.mark.parametrize(
    ("variable", "file", "expected"),
    [
        ("torch", '{"backend": "jax"}', "torch"),
        ("", '{"backend": "jax"}', "jax"),
        ("", '{"floatx": "float32"}', "tensorflow"),
        ("", "{", "tensorflow"),
        ("", None, "tensorflow"),
    ],
)
def test_the_backend_is_the_one_that_keras_takes(monkeypatch, tmp_path, variable, file, expected):
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if file is not None:
        (tmp_path / "keras.json").write_text(file)
    assert hardware.backend() == expected


def test_what_can_change_the_last_bits_is_recorded(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    found = hardware.fingerprint({"training": {"threads": 1}})
    assert found["onednn"] == "0"
    assert {"numba", "jaxlib", "keras", "numpy"} <= set(found["versions"])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system cannot forget a peak")
def test_a_peak_of_memory_can_be_forgotten():
    held = b"x" * 2**28
    before = hardware.peak_memory()
    del held
    hardware.forget_peak()
    assert hardware.peak_memory() < before - 200
