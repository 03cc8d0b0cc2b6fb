"""The same runs on a Ray cluster: each is one task of it, and comes back by itself when its machine is lost.

Ray finds machines and repeats tasks; a task starts the worker process that a single machine would, which resumes from
the last checkpoint. All machines need this environment and the results folder under the same path.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rareseg.experiments import hardware
from rareseg.experiments.config import ConfigError
from rareseg.experiments.pool import Job, Pool, Stoppable

SECONDS = 10
"""How long a cluster may take to answer."""
PASSED_ON = ("RARESEG_CACHE", "TF_ENABLE_ONEDNN_OPTS")
"""What is said to the command and meant for its workers on other machines."""


class Cluster(Stoppable):
    """Works through jobs like a `Pool`, on the cluster that `connect` has joined.

    Args:
        jobs: What to run.
        log: Where a worker writes before it has a run.
        report: Takes the events, each a mapping with ``kind`` and ``run``.
    """

    def __init__(self, jobs: Sequence[Job], log: Path, report: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._ray = import_module("ray")  # of an extra, which the checks of types do not have
        self._jobs, self._log, self._report = list(jobs), log.absolute(), report
        self._tasks: dict[Any, Job] = {}

    def run(self) -> None:
        """Work until no job is left, or until a signal; then ``signal`` says which."""
        with self._heeding():
            try:
                self._work()
            finally:
                self._ray.shutdown()

    def _work(self) -> None:
        has_gpus = bool(self._ray.cluster_resources().get("GPU"))
        for job in self._jobs:
            if self.signal is None:
                self._submit(job, has_gpus)
        while self._tasks and self.signal is None:
            self._wait()
        for task in self._tasks:  # to save and end
            self._ray.cancel(task, force=False)
        while self._tasks:
            self._wait()

    def _submit(self, job: Job, has_gpus: bool) -> None:
        needs = {"num_cpus": job["training"]["threads"], "num_gpus": has_gpus * job["training"]["devices"]}
        task = self._ray.remote(**needs, max_retries=-1, scheduling_strategy="SPREAD")(work)
        self._tasks[task.remote(dict(job), str(self._log))] = job

    def _wait(self) -> None:
        done, _ = self._ray.wait(list(self._tasks), timeout=1)
        for one in done:
            self._collect(one)

    def _collect(self, done: Any) -> None:
        job = self._tasks.pop(done)
        try:
            events = self._ray.get(done)
        except self._ray.exceptions.TaskCancelledError:
            return  # before it had begun
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
            events = [{"kind": "failed", "run": job["id"], "reason": reason, "dead": True}]
        for event in events:
            self._report(event)


def work(job: Mapping[str, Any], log: str) -> list[dict[str, Any]]:
    """Do one job on the machine that Ray has chosen; return its events, which the command shows once it is done."""
    told: list[dict[str, Any]] = []
    Pool([job], 1, Path(log), lambda event: told.append(dict(event))).run()
    return [event for event in told if event["kind"] not in ("waiting", "held")]


def connect(address: str) -> None:
    """Join a cluster.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises:
        ConfigError: If Ray is not installed, or no cluster is found.
    """
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # or Ray would copy the project to make another environment
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise ConfigError("--ray needs Ray: uv sync --inexact --extra cluster") from error
    sentence = f"--ray {address}: no cluster answers. Start one with `ray start --head`, or correct the address"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    variables = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    variables["KERAS_BACKEND"] = hardware.backend()
    try:
        if host:  # Ray itself goes on trying for minutes
            socket.create_connection((host, int(port)), timeout=SECONDS).close()
        ray.init(
            address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": variables},
            configure_logging=False,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(sentence) from error
