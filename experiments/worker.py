"""A process that trains: takes runs and gives events, both as lines of JSON.

It is started as ``python -m rareseg.experiments.worker``; the parent imports no backend. Whatever a library prints
goes to ``runs/<id>/log.txt``. When the parent dies, the worker's standard input ends, and so does the worker.
"""

import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from rareseg.experiments.hardware import backend, fingerprint, forget_peak, gpus, peak_memory

INTERRUPTED = 75
"""Exit status of a worker that saved its state because it was told to stop."""
OUT_OF_MEMORY = ("ResourceExhausted", "RESOURCE_EXHAUSTED", "OutOfMemory")
"""Signs of too little memory in the errors of TensorFlow, JAX and PyTorch."""
OPTIONAL = ("sklearn", "matplotlib", "pandas", "jax")
"""What Keras and TensorFlow import where it is installed, and training needs not: half of the time of a start."""


class Stop:
    """Set by a signal; a second one changes nothing, as uv and a process group each pass on the same one."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # SLURM sends it to every process; the parent will ask

    def _ask(self, *_: object) -> None:
        self.asked = True

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.asked


def main() -> int:
    """Work through the runs that come in."""
    events = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    stop, jobs = Stop(), _incoming()
    worker: Worker | None = None
    while not stop():
        try:
            job = jobs.get(timeout=0.2)
        except queue.Empty:
            continue
        _redirect(Path(job["folder"]) / "log.txt")
        worker = worker or Worker(job["training"], lambda **event: _send(events, event), stop)
        worker.run(job)
    return INTERRUPTED


def _incoming() -> "queue.Queue[dict[str, Any]]":
    """Read jobs in the background, and end the process when there can be no more."""
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return jobs


def _send(events: TextIO, event: Mapping[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _redirect(log: Path) -> None:
    """Send everything that is printed from now on, by Python or by C++, to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


class Worker:
    """Holds what runs share: the backend, the compiled step, the open data set.

    Args:
        training: Values of the section `training` that hold for the whole process: threads, determinism.
        send: Takes the fields of an event.
        stop: Says whether to stop.
    """

    def __init__(self, training: Mapping[str, Any], send: Callable[..., None], stop: Callable[[], bool]) -> None:
        self._send, self._stop = send, stop
        self._session: tuple[Any, Any] = (None, None)
        self._cases: tuple[Any, Any] = (None, None)
        prepare_backend(training)

    def run(self, job: Mapping[str, Any]) -> None:
        """Train and score one run, and say how it ended."""
        from rareseg.experiments import store

        run = store.Run(Path(job["folder"]))
        with run.claimed() as mine:
            if not mine:
                self._send(kind="held", run=run.id)
            elif run.complete(job["evaluation"]):  # by another command, in the meantime
                self._send(kind="finished", run=run.id, reason=None)
            else:
                self._run(run, job)

    def _run(self, run: Any, job: Mapping[str, Any]) -> None:
        from rareseg.experiments.training import Diverged, Interrupted

        began = time.monotonic()
        with suppress(OSError):  # where the system cannot, the peak is that of all runs so far
            forget_peak()
        run.sweep()
        try:
            self._train_and_score(run, job)
            state, reason = "finished", None
        except Interrupted as error:
            state, reason = "interrupted", str(error)
        except Diverged as error:
            state, reason = "diverged", str(error)
        except Exception as error:
            traceback.print_exc()
            state, reason = "failed", failure(error, job["settings"])
        before = run.record()
        spent = (time.monotonic() - began) / 3600 + before.get("hours", 0)
        peak = max(peak_memory(), before.get("peak_memory_mib", 0))
        run.update(state=state, reason=reason, hours=round(spent, 5), peak_memory_mib=peak)
        self._send(kind=state, run=run.id, reason=reason)

    def _train_and_score(self, run: Any, job: Mapping[str, Any]) -> None:
        from rareseg.experiments import cases, scoring, store

        settings = job["settings"]
        drawing = cases.pipeline_settings(settings)
        data, parts = self._data(job, settings)
        session = self._compiled(job, settings, parts, len(data.classes))
        if run.weights.is_file():
            session.network.load_weights(run.weights)
        else:
            run.update(**_start_record(job, data.kind))
            self._train(session, run, job, parts, drawing)
        shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
        target = run.evaluation(job["evaluation"])
        if not (target / "cases.csv").is_file():
            self._send(kind="scoring", run=run.id)
            store.write_json(target / "scoring.json", _provenance(job))
            scoring.score(session.predict, data, parts, settings["evaluation"], drawing, target, self._go_on)

    def _train(self, session: Any, run: Any, job: Mapping[str, Any], parts: Mapping[str, Any], drawing: Any) -> None:
        from rareseg.experiments.training import Trainer
        from rareseg.experiments.validation import Validation
        from rareseg.pipeline import Batches

        settings = job["settings"]
        batches = Batches(parts["train"], drawing, seed=job["seed"], workers=settings["training"]["loaders"])
        validated = Validation(session, parts["validation"], drawing, job["seed"]) if parts["validation"] else None
        trainer = Trainer(session, run, batches, settings["loss"], settings["training"], validated)
        if step := trainer.resume(lambda text: self._send(kind="note", run=run.id, text=text)):
            self._send(kind="resumed", run=run.id, step=step, steps=trainer.steps)
        trainer.fit(lambda row: self._send(kind="epoch", run=run.id, **row), self._stop)

    def _go_on(self) -> None:
        """Raise Interrupted where a signal asked to stop."""
        from rareseg.experiments.training import Interrupted

        if self._stop():
            raise Interrupted("stopped while its cases were predicted")

    def _data(self, job: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Any, dict[str, list[Any]]]:
        """Open and divide the data, or take what the last run used."""
        from rareseg.experiments.cases import open_cases

        key = [job["dataset"], job["data"], settings["dataset"], settings["pipeline"]]
        if self._cases[0] != key:
            data = open_cases(job["dataset"], Path(job["data"]), settings)
            self._cases = (key, (data, data.parts(settings)))
        return self._cases[1]

    def _compiled(
        self, job: Mapping[str, Any], settings: Mapping[str, Any], parts: Mapping[str, Any], classes: int
    ) -> Any:
        """Compile a step, or take the last run's where it is the same."""
        from rareseg.experiments.grid import compiled_step
        from rareseg.experiments.session import Session

        first = parts["train"][0]
        windows = settings["pipeline"]["analysis"] in ("crop", "grid")
        shape = [*(settings["pipeline"]["patch"] if windows else first.shape), first.channels]
        key = [compiled_step(settings, job["seed"], job["losses"]), shape, classes]
        if self._session[0] != key:
            self._session = (None, None)  # let go of the old one first
            built = Session(settings["network"], job["seed"], shape, classes, settings["training"], job["losses"])
            self._session = (key, built)
        return self._session[1]


def prepare_backend(training: Mapping[str, Any]) -> None:
    """Import the backend, and set what must be set before the first operation."""
    with _without(set(OPTIONAL) - {backend()}):
        import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(training["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(1 if training["deterministic"] else 0)
        if training["deterministic"]:
            tf.config.experimental.enable_op_determinism()
        if not tf.config.list_physical_devices("GPU"):  # rewriting a graph costs 40 % of a first step and gains nothing
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    elif keras.backend.backend() == "torch" and training["deterministic"] and gpus():
        import torch  # pyright: ignore[reportMissingImports]

        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # PyTorch refuses to multiply without
        torch.use_deterministic_algorithms(True)


@contextmanager
def _without(packages: Iterable[str]) -> Iterator[None]:
    """Let packages that nobody has imported yet seem not to be installed."""
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


def _start_record(job: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what ``run.json`` says of a run from its start on."""
    fields = ("dataset", "network", "loss", "arguments", "seed", "settings")
    return {name: job[name] for name in fields} | {"state": "running", "reason": None, "data": kind} | _provenance(job)


def _provenance(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return when a training or a scoring begins, and on what."""
    return {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": fingerprint(job["settings"])}


def failure(error: Exception, settings: Mapping[str, Any]) -> str:
    """Return why a run failed; for too little memory what to lower, as nothing is lowered in silence."""
    cause = f"{type(error).__name__}: {error}"
    if not isinstance(error, MemoryError) and not any(sign in cause for sign in OUT_OF_MEMORY):
        return cause
    patch, size = settings["pipeline"]["patch"], settings["dataset"]["size"]
    shape = " x ".join(map(str, patch or size or ["whole images"]))
    what = f"{settings['training']['batch_size']} samples of {shape}"
    lower = "pipeline.patch" if patch else "the data set's size"
    return f"too little memory for batches of {what}: lower training.batch_size or {lower} ({cause.splitlines()[0]})"


if __name__ == "__main__":
    raise SystemExit(main())
