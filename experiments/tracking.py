"""Tells MLflow of every run: what was asked for, how it goes, how it ended.

The command does it, from the events of its workers and from the files of a run; those that train know nothing of it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rareseg import evaluation
from rareseg.evaluation.overlap import canonical
from rareseg.experiments.config import ConfigError
from rareseg.experiments.events import SCALARS
from rareseg.experiments.store import Run

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
FILES = ("run.json", "history.csv", "log.txt")
"""What is copied of a run; weights and predictions stay in the results folder."""
TAG = "rareseg.run"
AT_ONCE = 100
"""Parameters that MLflow takes in one call."""


class Tracker:
    """Copies runs into an experiment of MLflow; one that goes on after an interruption goes on there, too.

    Args:
        target: ``mlflow:URI``: a server, or ``mlflow:sqlite:///FILE``, beside which the copied files go.
        table: Name of the experiment.
        tell: Takes the sentence that says that tracking has failed; training goes on without it.

    Raises:
        ConfigError: If MLflow is not installed, or does not take the target.
    """

    def __init__(self, target: str, table: str, tell: Callable[[str], None]) -> None:
        self._target, self._tell, self.failed = target, tell, False
        self._jobs: dict[str, Mapping[str, Any]] = {}
        self._known: dict[str, str] = {}
        self._client, self._experiment = connect(target, table)
        self._entities = import_module("mlflow.entities")

    def expect(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Take the runs whose events will come."""
        self._jobs = {job["id"]: job for job in jobs}

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event of the pool."""
        if self.failed or event.get("run") not in self._jobs:
            return
        try:
            self._take(event)
        except Exception as error:
            self.failed = True
            self._tell(f"--track {self._target} failed, the runs go on without it: {_first_line(error)}")

    def _take(self, event: Mapping[str, Any]) -> None:
        name = event["run"]
        if event["kind"] in ("resumed", "epoch", "scoring", *STATUS) and name not in self._known:
            self._known[name] = self._begin(self._jobs[name])
        if event["kind"] == "epoch":
            values = {key: event[key] for key in SCALARS if event[key] is not None}
            self._log(self._known[name], values, event["step"])
        if event["kind"] in STATUS:
            self._end(self._known.pop(name), self._jobs[name], event["kind"])

    def _begin(self, job: Mapping[str, Any]) -> str:
        """Return MLflow's number of a run, a new one if it has none."""
        found = self._client.search_runs([self._experiment], f"tags.`{TAG}` = '{job['id']}'", max_results=1)
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        tags = {TAG: job["id"], "rareseg.folder": job["folder"]}
        number = self._client.create_run(self._experiment, run_name=job["id"], tags=tags).info.run_id
        named = {key: job[key] for key in ("dataset", "network", "loss", "arguments", "seed")}
        values = [self._entities.Param(key, str(value)) for key, value in _flat({**named, "settings": job["settings"]})]
        for first in range(0, len(values), AT_ONCE):
            self._client.log_batch(number, params=values[first : first + AT_ONCE])
        return number

    def _log(self, number: str, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(number, metrics=metrics)

    def _end(self, number: str, job: Mapping[str, Any], state: str) -> None:
        run = Run(Path(job["folder"]))
        self._client.set_tag(number, "rareseg.state", state)
        self._client.set_tag(number, "rareseg.data", str(run.record().get("data")))
        for name in FILES:
            if (run.folder / name).is_file():
                self._client.log_artifact(number, str(run.folder / name))
        if state == "finished":
            scored = run.evaluation(job["evaluation"])
            self._client.log_artifact(number, str(scored / "cases.csv"), scored.name)
            self._log(number, scores(scored, job["settings"]["evaluation"]), step=0)
        self._client.set_terminated(number, STATUS[state])


def connect(target: str, table: str) -> tuple[Any, str]:
    """Return a client of MLflow and the number of the table's experiment, which is made where it is missing."""
    kind, _, uri = target.partition(":")
    if kind != "mlflow" or not uri:
        raise ConfigError(f"--track {target}: expected mlflow:URI, as mlflow:sqlite:///runs.db")
    try:
        mlflow = import_module("mlflow")  # of an extra, which the checks of types do not have
    except ImportError as error:
        raise ConfigError("--track needs MLflow: uv sync --inexact --extra tracking") from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    beside = None
    try:
        if uri.startswith("sqlite:///"):
            file = Path(uri.removeprefix("sqlite:///")).absolute()
            file.parent.mkdir(parents=True, exist_ok=True)
            uri, beside = f"sqlite:///{file}", (file.parent / "mlflow-files").as_uri()
        client = mlflow.MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(table)
        return client, found.experiment_id if found else client.create_experiment(table, artifact_location=beside)
    except Exception as error:  # MLflow's own, SQLAlchemy's, the network's
        raise ConfigError(f"--track {target}: {_first_line(error)}") from error


def scores(folder: Path, settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of the test part, per class, as the table has them.

    Args:
        folder: Of the evaluation of a run.
        settings: Values of the section `evaluation`: which metrics, and how they are made one number.
    """
    import pandas as pd

    batches = folder / "batches.csv"  # there where the table is made of batches
    table = pd.read_csv(batches if batches.is_file() else folder / "cases.csv")
    found = {}
    for label, rows in table[table["part"] == "test"].groupby("class"):
        for name in settings["metrics"]:
            if (measured := canonical(name)) in rows:  # of each case or batch: AUC, distances, a batch's own metrics
                value = rows[measured].mean()
            else:
                counts = rows[list(evaluation.COUNTS)].to_numpy()[None, :, None]
                value, _ = evaluation.aggregate(counts, name, settings["aggregation"], settings["empty"])
            found[f"test.{name}.{label}"] = value
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values by their dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
