"""The same table on a Ray cluster of two machines, one of which is lost."""

import contextlib
import io
import json
import os
import signal
import time
from types import SimpleNamespace

import pytest

from rareseg.experiments import cluster, pool

TABLE = "table3/table_long.csv"


def anywhere(arguments):
    """Leave out what a cluster decides itself."""
    return [one for one in arguments if not one.startswith("--workers")]


@pytest.fixture(scope="module")
def cluster_of_two():
    """A cluster of two machines with one core each, and the one that may be lost."""
    utils = pytest.importorskip("ray.cluster_utils", reason="needs uv sync --inexact --extra cluster")
    with contextlib.redirect_stdout(io.StringIO()):
        cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
    yield cluster, second
    cluster.shutdown()


def begun(process, results):
    """Wait until both runs have saved something."""
    while len([run for run in results.glob("runs/*") if any([*run.glob("checkpoint/step-*"), *run.glob("*.csv")])]) < 2:
        time.sleep(0.2)
        assert process.poll() is None


@pytest.mark.slow
def test_an_interrupt_saves_what_the_machines_do(cluster_of_two, call, tiny, tmp_path):
    results = tmp_path / "results"
    endless = [*anywhere(tiny), "--set=training.steps=100000", f"--ray={cluster_of_two[0].address}"]
    with call(*endless, results=results, background=True) as process:
        begun(process, results)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130, printed
    assert "Interrupted; everything is saved. Go on with: " in printed
    states = [json.loads(file.read_text())["state"] for file in results.glob("runs/*/run.json")]
    assert states == ["interrupted"] * 2
    assert all(list(run.glob("checkpoint/*/state.json")) for run in results.glob("runs/*"))


@pytest.mark.slow
def test_the_loss_of_a_machine_changes_nothing(cluster_of_two, finished, call, tiny, tmp_path):
    results, (cluster, second) = tmp_path / "results", cluster_of_two
    with call(*anywhere(tiny), f"--ray={cluster.address}", results=results, background=True) as process:
        begun(process, results)
        cluster.remove_node(second, allow_graceful=False)
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert "2 of 2 runs are finished, 2 were due now" in printed
    assert (results / TABLE).read_bytes() == (finished[0] / TABLE).read_bytes()


def test_a_cluster_that_does_not_answer_is_one_sentence(call, tiny, tmp_path):
    pytest.importorskip("ray", reason="needs uv sync --inexact --extra cluster")
    refused = call(*anywhere(tiny), "--ray=127.0.0.1:1", results=tmp_path / "results")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "--ray 127.0.0.1:1: no cluster answers" in refused.stderr
    assert not (tmp_path / "results").exists()


def test_the_other_machines_compute_as_this_one_was_told_to(monkeypatch):
    told = {"KERAS_BACKEND": "jax", "RARESEG_CACHE": "/shared/cache", "TF_ENABLE_ONEDNN_OPTS": "0"}
    for name, value in {**told, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "1"}.items():
        monkeypatch.setenv(name, value)
    asked = {}
    ray = SimpleNamespace(init=lambda _, **how: asked.update(how))
    monkeypatch.setattr(cluster, "import_module", lambda _: ray)
    cluster.connect("auto")
    assert asked["runtime_env"]["env_vars"] == told
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    cluster.connect("auto")
    assert "TF_ENABLE_ONEDNN_OPTS" not in asked["runtime_env"]["env_vars"]


class Ray:
    """Takes tasks; those that are cancelled end."""

    exceptions = SimpleNamespace(TaskCancelledError=KeyError, RayError=RuntimeError)

    def __init__(self, submitted):
        self.tasks, self.cancelled, self.submitted = [], [], submitted

    def cluster_resources(self):
        return {}

    def remote(self, **_):
        return lambda _: SimpleNamespace(remote=self._submit)

    def _submit(self, job, _):
        self.tasks.append(job["id"])
        self.submitted(self)
        return job["id"]

    def wait(self, tasks, **_):
        return [task for task in tasks if task in self.cancelled], []

    def cancel(self, task, **_):
        self.cancelled.append(task)

    def get(self, task):
        return [{"kind": "interrupted", "run": task}]

    def shutdown(self):
        pass


def test_a_signal_stops_what_is_submitted_once_and_submits_no_more(monkeypatch, tmp_path):
    ray = Ray(lambda ray: os.kill(os.getpid(), signal.SIGTERM) if len(ray.tasks) == 2 else None)
    monkeypatch.setattr(cluster, "import_module", lambda _: ray)
    jobs = [{"id": name, "training": {"threads": 1, "devices": 1}} for name in "abc"]
    told = []
    one = cluster.Cluster(jobs, tmp_path / "log", told.append)
    one.run()
    assert one.signal == signal.SIGTERM
    assert ray.tasks == ray.cancelled == ["a", "b"]
    assert [event["run"] for event in told] == ["a", "b"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
@pytest.mark.parametrize("kind", ["one machine", "cluster"])
def test_a_second_signal_ends_at_once_and_an_echo_of_the_first_does_not(kind, number, code, monkeypatch, tmp_path):
    ended, now = [], [100.0]
    monkeypatch.setattr(cluster, "import_module", lambda _: None)
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one = cluster.Cluster([], tmp_path, print) if kind == "cluster" else pool.Pool([], 1, tmp_path, print)
    one._stop(number, None)
    one._stop(number, None)
    assert not ended
    now[0] += pool.ECHO_SECONDS + 0.1
    one._stop(number, None)
    assert ended == [code]
