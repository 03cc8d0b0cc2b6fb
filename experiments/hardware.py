"""What computed a number: processor, threads, versions. Equal fingerprints promise equal bits."""

import json
import os
import platform
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "rareseg",
    "keras",
    "tensorflow",
    "jax",
    "jaxlib",
    "torch",
    "numpy",
    "numba",
    "scipy",
    "pandas",
    "pillow",
    "miscnn",
    "batchgenerators",
)


def fingerprint(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return processor, devices, threads, backend and versions, for a process that has a backend."""
    import keras

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "devices": devices(keras.backend.backend()),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": keras.backend.backend(),
        "threads": settings["training"]["threads"],
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "python": platform.python_version(),
        "versions": versions(),
    }


def backend() -> str:
    """Return the backend that the workers will use: Keras' own switch, the variable before the file."""
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    file = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    with suppress(OSError, ValueError):  # Keras ignores a file that it cannot read
        return json.loads(file.read_text(encoding="utf-8")).get("backend", "tensorflow")
    return "tensorflow"


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that can change a number."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpus() -> list[str]:
    """Return the NVIDIA devices that this process may use, by their numbers, without a backend."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [one.strip() for one in allowed.split(",") if one.strip() not in ("", "-1")]
    # From 0 on, as CUDA counts those that are here; the numbers of the files are those of the whole machine.
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def devices(backend: str) -> list[str]:
    """Return the names of the accelerators that a backend sees."""
    if backend == "tensorflow":
        import tensorflow as tf

        return [
            str(tf.config.experimental.get_device_details(one).get("device_name", one.name))
            for one in tf.config.list_physical_devices("GPU")
        ]
    if backend == "jax":
        import jax

        return [one.device_kind for one in jax.devices() if one.platform != "cpu"]
    import torch  # pyright: ignore[reportMissingImports]

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def forget_peak() -> None:
    """Let `peak_memory` of this process count from now on.

    Raises:
        OSError: The system cannot forget; Linux can.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory(whose: int = resource.RUSAGE_SELF) -> int:
    """Return a high-water mark of memory in MiB: of this process, or with ``RUSAGE_CHILDREN`` of its largest child.

    That of this process counts from the last `forget_peak`; where the system cannot forget, from its start.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]  # in KiB
    if whose == resource.RUSAGE_SELF and marks:
        return marks[0] // 2**10
    return mebibytes(resource.getrusage(whose))


def mebibytes(usage: resource.struct_rusage) -> int:
    """Return the high-water mark of memory that the system gives with the usage of a process."""
    return usage.ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
