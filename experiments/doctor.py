"""The command that says what this machine has, what is missing, and what mends it."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.console import Console

from rareseg import datasets
from rareseg.datasets.facts import cache_folder, cores
from rareseg.experiments import cost, hardware
from rareseg.experiments.options import add_data, guarded, root

LEAST_GIB = 4
"""Memory and disk space below which the demo may fail."""
SECONDS = 300
"""How long a backend may take to compute for the first time."""
SYNC = "uv sync --inexact"
"""Inexact: without it, uv removes every extra that the command does not name."""
MENDS = {"tensorflow": f"{SYNC} --reinstall", "jax": f"{SYNC} --extra jax", "torch": f"{SYNC} --extra torch"}
GPU_EXTRAS = {"tensorflow": "gpu", "jax": "jax-gpu", "torch": "torch"}
OPTIONAL = {
    "miscnn": SYNC,
    "jax": f"{SYNC} --extra jax",
    "mlflow": f"{SYNC} --extra tracking",
    "ray": f"{SYNC} --extra cluster",
}
COMPUTE = """
import json, keras
from rareseg.experiments import hardware
ones = keras.ops.ones((64, 64))
assert float(keras.ops.sum(keras.ops.matmul(ones, ones))) == 64**3
print(json.dumps(hardware.devices(keras.backend.backend())))
"""


@dataclass(frozen=True)
class Finding:
    """What one look showed.

    Attributes:
        state: ``missing`` is what one can do without, ``wrong`` is what nothing trains with.
        about: What was looked at.
        found: What is there.
        mend: A command or a sentence that mends it; empty where nothing is to be mended.
    """

    state: Literal["ok", "missing", "wrong"]
    about: str
    found: str
    mend: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Look at everything and print it; return 0, or 1 where nothing could be trained."""
    parser = argparse.ArgumentParser(
        prog="doctor.py",
        description="Say what this machine has, what is missing, and what mends it.",
        allow_abbrev=False,
    )
    add_data(parser, root() / "data")
    asked = parser.parse_args(arguments)
    return guarded(lambda: _tell(asked.data))


def _tell(data: Path) -> int:
    """Print what is found; return the exit code."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    worst = 0
    for finding in look(data):
        console.print(f"{finding.state:8} {finding.about:9} {finding.found}")
        if finding.mend:
            console.print(f"{'':18} -> {finding.mend}")
        worst = max(worst, finding.state == "wrong")
    return worst


def look(data: Path) -> Iterator[Finding]:
    """Yield what is found, the quick looks first.

    Args:
        data: Folder that holds one folder per data set.
    """
    yield Finding("ok", "Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    yield Finding("ok", "packages", ", ".join(f"{name} {number}" for name, number in hardware.versions().items()))
    yield from _optional()
    yield _memory()
    for about, folder in (("results", root() / "results"), ("cache", cache_folder())):
        yield _place(about, folder.absolute())
    yield from (_data(key, data / key) for key in datasets.names())
    yield from _devices(hardware.backend())


def _optional() -> Iterator[Finding]:
    for name, command in OPTIONAL.items():
        if find_spec(name) is None:
            yield Finding("missing", "packages", f"{name}, which is optional", command)


def _memory() -> Finding:
    free = cost.free_memory_gib()
    found = f"{cores()} cores ({hardware.processor()}), {free:.1f} GiB of memory free"
    mend = "close other programs, or train with --workers 1" if free < LEAST_GIB else ""
    return Finding("missing" if mend else "ok", "machine", found, mend)


def _place(about: str, folder: Path) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    if not os.access(there, os.W_OK):
        option = {"results": "give --results", "cache": "set RARESEG_CACHE"}[about]
        return Finding("wrong", about, f"{there} cannot be written", f"correct its permissions, or {option}")
    free = shutil.disk_usage(there).free / 2**30
    mend = "make room" if free < LEAST_GIB else ""
    return Finding("missing" if mend else "ok", about, f"{folder}, {free:.1f} GiB of disk free", mend)


def _data(key: str, folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("missing", "data", f"{key}: not in {folder}", datasets.source(key))
    try:
        opened = datasets.open(key, folder)
    except datasets.DataError as error:
        return Finding("missing", "data", f"{key}: cannot be used", str(error))
    return Finding("ok", "data", f"{key}: {len(opened.cases)} cases in {folder}")


def _devices(backend: str) -> Iterator[Finding]:
    """Compute with the backend in a process of its own, which a broken installation may kill."""
    command = [sys.executable, "-c", COMPUTE]
    quiet = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    try:
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=SECONDS, check=False)
        answer = "" if done.returncode else done.stdout.strip()
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        answer, reason = "", f"no answer within {SECONDS} s"
    if not answer:
        mend = MENDS.get(backend, f"set KERAS_BACKEND to one of {', '.join(MENDS)}")
        yield Finding("wrong", "backend", f"{backend} does not compute: {reason}", mend)
        return
    yield Finding("ok", "backend", f"{backend} computes")
    seen, there = json.loads(answer.splitlines()[-1]), hardware.gpus()
    if seen:
        yield Finding("ok", "GPU", ", ".join([*seen, *_free_gpu_memory()]))
    elif there:
        mend = f"{SYNC} --extra {GPU_EXTRAS[backend]}; if that is done, nvidia-smi says whether the driver works"
        yield Finding("missing", "GPU", f"there are {len(there)}, of which {backend} sees none", mend)
    else:
        yield Finding("missing", "GPU", "none; networks train on the processor, with --profile cpu or demo")


def _free_gpu_memory() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return [f"{line.strip()} free" for line in done.stdout.splitlines()]
