"""A process of its own for each measurement: its environment, how it is started, and how it answers."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

ONE_THREAD = {
    "KERAS_BACKEND": "tensorflow",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS"), "1"),
}
"""Environment of a process that computes as a worker does, with one thread."""


def measured(file: str, job: Any, environment: Mapping[str, str]) -> Any:
    """Return what a process of its own measures: ``file --child JOB``, whose last line is JSON.

    Args:
        file: The benchmark.
        job: What to measure.
        environment: Variables beside those of this process.
    """
    command = [sys.executable, file, "--child", json.dumps(job)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{job} failed with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def answered(options: argparse.Namespace, measure: Callable[[Any], Any]) -> bool:
    """Return whether this is a process that `measured` started, and answer it if so.

    Args:
        options: Of the command line.
        measure: Takes the job, returns plain data.
    """
    if options.child is None:
        return False
    print(json.dumps(measure(options.child)))
    return True
