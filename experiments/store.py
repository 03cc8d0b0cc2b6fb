"""Runs on disk: files that appear whole or not at all, one folder per run, and who may write when.

Several commands, on one machine or many, may share a results folder. What concerns all of its runs is done by one of
them at a time (`locked`), and each run belongs to the worker that holds it (`Run.claimed`). Both are locks of the
operating system, which lets go of them when a process dies, however it dies.
"""

import contextlib
import csv
import io
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from rareseg.datasets import whole
from rareseg.experiments import grid
from rareseg.experiments.config import ConfigError


def write_json(path: Path, content: Any) -> None:
    """Write plain data as indented JSON."""
    whole.write(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read plain data."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV file; floats with all their digits, None as an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    whole.write(path, text.getvalue())


def _acquire(lock: filelock.BaseFileLock, timeout: float = -1) -> None:
    """Take a lock of the operating system; without a timeout, wait for it.

    Raises:
        Timeout: Another process holds it.
        ConfigError: The file system has no such locks. What filelock does there outlives a process that dies.
    """
    lock.acquire(timeout=timeout)
    if isinstance(lock, filelock.SoftFileLock):
        lock.release()
        raise ConfigError(
            f"the file system of {Path(lock.lock_file).parent} has no locks (flock). Give a folder on another with "
            "--results, or have it mounted with locks"
        )


@contextlib.contextmanager
def locked(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold what all runs of a results folder share: phantoms, splits, tables. Waits for whoever holds it.

    What killed writers left there is removed first.

    Args:
        folder: The results folder; made where it is missing.
        tell: Takes a sentence that says for whom this waits.

    Raises:
        ConfigError: If the folder cannot be written, or its file system has no locks.
    """
    owner = folder / ".owner"
    lock = filelock.FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _acquire(lock, timeout=0)
        except filelock.Timeout:
            holder = "another process"
            with contextlib.suppress(FileNotFoundError):  # it may let go at this moment
                holder = owner.read_text(encoding="utf-8")
            tell(f"{folder} is in use by {holder}; this command waits for it")
            _acquire(lock)
        whole.write(owner, f"process {os.getpid()} on {socket.gethostname()}")
    except OSError as error:
        lock.release()
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror or error}. Give another folder with --results"
        ) from error
    try:
        for place in (folder, *folder.glob("*/"), *folder.glob("*/figures/"), *folder.glob("*/splits/")):
            whole.sweep(place, untouched=0)  # outside of runs nobody else may write now
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


@dataclass(frozen=True)
class Run:
    """The folder of one training."""

    folder: Path

    @property
    def id(self) -> str:
        """Name of the run."""
        return self.folder.name

    def record(self) -> dict[str, Any]:
        """Return ``run.json``, empty where the run never started."""
        path = self.folder / "run.json"
        return read_json(path) if path.is_file() else {}

    def state(self) -> str:
        """Return ``new``, ``running``, ``interrupted``, ``finished``, ``failed`` or ``diverged``."""
        return self.record().get("state", "new")

    def update(self, **content: Any) -> None:
        """Change some fields of ``run.json``."""
        write_json(self.folder / "run.json", self.record() | content)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[bool]:
        """Hold the run against every other process; yields whether it could be held."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            _acquire(lock, timeout=0)
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def sweep(self) -> None:
        """Remove what killed writers left; for whoever holds the run."""
        for folder in (self.folder, *self.folder.glob("evaluation-*"), *self.folder.glob("evaluation-*/predictions")):
            whole.sweep(folder, untouched=0)

    def held(self) -> bool:
        """Return whether another process holds the run."""
        if not (self.folder / ".lock").exists():
            return False
        with self.claimed() as mine:
            return not mine

    @property
    def weights(self) -> Path:
        """The selected weights."""
        return self.folder / "model.weights.h5"

    def evaluation(self, digest: str) -> Path:
        """Return the folder of one evaluation; it is complete when its ``cases.csv`` exists."""
        return self.folder / f"evaluation-{digest}"

    def complete(self, evaluation: str) -> bool:
        """Return whether the run is trained, and scored in this way."""
        return self.weights.is_file() and (self.evaluation(evaluation) / "cases.csv").is_file()


@dataclass(frozen=True)
class Due:
    """One run that a table needs: its point, and where it lies."""

    point: grid.Point
    run: Run
    selected: bool

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluation that the table needs."""
        return self.run.evaluation(grid.evaluation(self.point.settings))

    def finished(self) -> bool:
        """Return whether the run is trained and scored."""
        return self.run.complete(grid.evaluation(self.point.settings))
