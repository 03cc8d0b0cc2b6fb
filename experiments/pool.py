"""Runs jobs in worker processes, several at once, and survives whatever happens to them.

A worker keeps its compiled step, so a job goes first to a worker that has it. A dead worker costs its run, never the
others. Where several commands share a results folder, each takes the runs that no other holds; at the end it waits for
those that the others do, to take over the runs of a command that dies.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from rareseg.experiments import grid, hardware, store

Job = Mapping[str, Any]
WORKER = ("-m", "rareseg.experiments.worker")
ENDS = ("finished", "interrupted", "diverged", "failed")
ECHO_SECONDS = 2
"""How long a further signal is the first once more: uv passes on what its process group gets, and so both reach us."""


class Child:
    """One worker process and the job it has.

    Args:
        threads: Of the process.
        deterministic: Whether its operations are.
        devices: How many share its batches.
        log: Where it writes before it has a run.
        gpus: Numbers of the devices that it sees; None: no choice is made for it.
    """

    def __init__(
        self, threads: int, deterministic: bool, devices: int, log: Path, gpus: Sequence[str] | None = None
    ) -> None:
        self.gpus = gpus
        self.kind = (threads, deterministic, devices)
        self.job: Job | None = None
        self.step: Any = None
        self.events, write = os.pipe()
        self._rest = b""
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *WORKER, str(write)],
                stdin=subprocess.PIPE, stdout=output, stderr=output, pass_fds=(write,), env=environment(threads, gpus),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which asks its workers to save
            )  # fmt: skip
        os.close(write)

    def give(self, job: Job) -> None:
        """Hand over a job."""
        self.job, self.step = job, step_of(job)
        stream = self.process.stdin
        if stream is None:
            raise RuntimeError("a worker was started without standard input")
        with suppress(BrokenPipeError):  # it died idle: its events end, and say so
            stream.write((json.dumps(job) + "\n").encode())
            stream.flush()

    def read(self) -> list[dict[str, Any]] | None:
        """Return the events that have arrived, or None once the process is gone."""
        chunk = os.read(self.events, 2**16)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines] if chunk else None

    def close(self) -> int:
        """Let the process end, wait for it, and return the memory in MiB that it held at most, 0 if nobody knows."""
        if self.process.stdin:
            with suppress(BrokenPipeError):  # of what a dead worker did not read
                self.process.stdin.close()
        peak = 0
        with suppress(ChildProcessError):  # who asked it to end has seen its end
            _, status, usage = os.wait4(self.process.pid, 0)  # of it alone; `getrusage` knows the largest child
            self.process.returncode = os.waitstatus_to_exitcode(status)
            peak = hardware.mebibytes(usage)
        self.process.wait()
        os.close(self.events)
        return peak


class Stoppable:
    """Works until a signal asks it to save and end; one that comes `ECHO_SECONDS` later ends it at once.

    Attributes:
        signal: The first signal, None before it.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._asked = 0.0

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Take the signals of this process."""
        handlers = {one: signal.signal(one, self._stop) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
        try:
            yield
        finally:
            for one, handler in handlers.items():
                signal.signal(one, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._asked = number, time.monotonic()
            self._save()
        elif time.monotonic() - self._asked > ECHO_SECONDS:
            self._give_up()
            os._exit(exit_code(number))

    def _save(self) -> None:
        """Ask those who work to save and end."""

    def _give_up(self) -> None:
        """End those who work at once."""


def exit_code(number: int) -> int:
    """Return the exit code of a command that a signal has ended."""
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


class Pool(Stoppable):
    """Works through jobs.

    Args:
        jobs: What to run, in the order of the table.
        workers: Processes at once.
        log: Where a worker writes before it has a run.
        report: Takes the events of all workers, each a mapping with ``kind`` and ``run``.
    """

    def __init__(
        self, jobs: Sequence[Job], workers: int, log: Path, report: Callable[[Mapping[str, Any]], None]
    ) -> None:
        super().__init__()
        self._waiting, self._workers, self._log, self._report = list(jobs), workers, log, report
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Work until no job is left, or until a signal; then ``signal`` says which."""
        with self._heeding():
            try:
                self._work()
            finally:
                for child in list(self._children):
                    self._retire(child)

    def _work(self) -> None:
        self._fill()
        told = False
        while (working := any(child.job for child in self._children)) or (self._waiting and self.signal is None):
            if not working and not told:
                self._report({"kind": "waiting", "runs": len(self._waiting)})
            told = told or not working
            for key, _ in self._selector.select(timeout=1):
                self._listen(key.data)
            self._fill()

    def _save(self) -> None:
        for child in self._children:
            child.process.terminate()

    def _give_up(self) -> None:
        for child in self._children:
            child.process.kill()

    def _fill(self) -> None:
        """Give jobs to idle workers, and start workers where there may be more; a signal may come at any time."""
        for child in [child for child in self._children if child.job is None]:
            if self.signal is None:
                self._give_next(child)
        while self.signal is None and len(self._children) < self._workers and (job := self._next(None)) is not None:
            child = Child(*process_kind(job), self._log, self._free_gpus(job["training"]["devices"]))
            self._children.append(child)
            self._selector.register(child.events, selectors.EVENT_READ, child)
            self._start(child, job)

    def _free_gpus(self, count: int) -> list[str] | None:
        """Return the devices that the fewest workers use, None where there is none."""
        held = Counter(gpu for child in self._children for gpu in child.gpus or ())
        return sorted(hardware.gpus(), key=lambda gpu: held[gpu])[:count] or None

    def _give_next(self, child: Child) -> None:
        job = self._next(child)
        if job is None:
            self._retire(child)
        else:
            self._start(child, job)

    def _start(self, child: Child, job: Job) -> None:
        self._waiting.remove(job)
        self._report({"kind": "started", "run": job["id"]})
        child.give(job)
        if self.signal is not None:  # it came while the worker was started, and has not reached it
            child.process.terminate()

    def _next(self, child: Child | None) -> Any:
        """Choose a job: for a worker's compiled step, else for the step with most work for each worker that has it.

        Long jobs come first, so that at the end no worker is idle for long.
        """
        fitting = [job for job in self._waiting if child is None or child.kind == process_kind(job)]
        work = Counter(step_of(job) for job in fitting)
        held = Counter(other.step for other in self._children if other is not child)
        own = None if child is None else child.step

        def rank(job: Job) -> tuple[bool, float, int]:
            step = step_of(job)
            return step != own, -work[step] / (1 + held[step]), -job["operations"]

        return self._first_free(sorted(fitting, key=rank))

    def _first_free(self, jobs: Sequence[Job]) -> Job | None:
        """Return the first job that no other command holds; what another command has ended is not done again."""
        for job in jobs:
            run = store.Run(Path(job["folder"]))
            if run.held():
                continue
            end = ended_elsewhere(run, job)
            if end is None:
                return job
            self._waiting.remove(job)
            self._report({"run": job["id"], **end})
        return None

    def _listen(self, child: Child) -> None:
        """Take the events of a worker, or notice that it is dead."""
        events = child.read()
        if events is None:
            self._bury(child)
        for event in events or ():
            if event["kind"] == "held" and child.job is not None:
                self._waiting.append(child.job)
            if event["kind"] in (*ENDS, "held"):
                child.job = None
            self._report(event)

    def _bury(self, child: Child) -> None:
        """Say how a worker died, and of what run."""
        self._selector.unregister(child.events)
        self._children.remove(child)
        memory = child.close()
        if child.job is not None and self.signal is not None:  # before it could be asked to save
            reason = "its worker has ended; what was saved before stands"
            self._report({"kind": "interrupted", "run": child.job["id"], "reason": reason})
        elif child.job is not None:
            status = child.process.returncode
            cause = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            reason = f"the worker process died ({cause}; it held {memory} MiB at most); what it printed last is in "
            reason += f"log.txt, or in {self._log} if it had not begun"
            reason += ". Too little memory is the commonest cause" if status < 0 else ""
            self._report({"kind": "failed", "run": child.job["id"], "reason": reason, "dead": True})

    def _retire(self, child: Child) -> None:
        if child in self._children:
            self._selector.unregister(child.events)
            self._children.remove(child)
            child.close()


def ended_elsewhere(run: store.Run, job: Job) -> dict[str, Any] | None:
    """Return how another command ended a run since this one looked, None where it did not."""
    record = run.record()
    if run.complete(job["evaluation"]):
        return {"kind": "finished", "reason": "by another command"}
    tried_again = record.get("started") != job["tried"]
    if tried_again and record.get("state") in ("failed", "diverged"):
        return {"kind": record["state"], "reason": f"in another command: {record['reason']}"}
    return None


def process_kind(job: Job) -> tuple[int, bool, int]:
    """Return what is set once for a process: threads, determinism, devices."""
    training = job["training"]
    return training["threads"], training["deterministic"], training["devices"]


def step_of(job: Job) -> str:
    """Return what stands for the compiled step of a job."""
    return grid.compiled_step(job["settings"], job["seed"], job["losses"])


def environment(threads: int, gpus: Sequence[str] | None = None) -> dict[str, str]:
    """Return the environment of a worker: the configured threads, not the machine's; the backend that was checked."""
    seen = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    count = str(threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}".strip()
    )
    fixed = {
        "KERAS_BACKEND": hardware.backend(),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Unasked, TensorFlow uses it on newer processors only; on others steps in 3D become five times faster, too.
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "XLA_FLAGS": flags,
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **dict.fromkeys(names, count), **fixed, **seen}
