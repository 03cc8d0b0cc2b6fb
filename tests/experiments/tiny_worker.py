"""A worker that sleeps instead of training: everything else of a run is real. Started as a worker is."""

import os
import signal
import sys
import time

from rareseg.datasets import whole
from rareseg.experiments import worker

STEPS = 5


class Tiny(worker.Worker):
    """Takes five steps, each a line of ``steps.txt``: whoever goes on with a run starts after the last."""

    def __init__(self, _, send, stop):
        self._send, self._stop = send, stop

    def _train_and_score(self, run, job):
        run.update(state="running", started=str(os.getpid()))
        if job["fate"] == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if job["fate"]:
            raise {"raises": ValueError("made to fail"), "starves": MemoryError("no room")}[job["fate"]]
        path = run.folder / "steps.txt"
        done = path.read_text().count("\n") if path.exists() else 0
        for step in range(done, STEPS):
            time.sleep(job["seconds"] / STEPS)
            with path.open("a") as file:
                file.write(f"{step}\n")
        whole.write(run.weights, job["id"])
        whole.write(run.evaluation(job["evaluation"]) / "cases.csv", job["id"])


if __name__ == "__main__":
    worker.Worker = Tiny
    sys.exit(worker.main())
