"""Arrays on disk that appear whole or not at all, and are opened without being read."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

OPEN_AT_ONCE = 256  # maps kept open; each holds a file descriptor, and systems allow 1,024 of them to a process


def store(stem: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write ``<stem>.<name>.npy`` for each array and, last, ``<stem>.json``: where that stands, all stands.

    ``facts["arrays"]`` lists the names.

    A writer killed half-way leaves only temporary files, which nobody reads; two writers of one stem write the same.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        _write(array_path(stem, name), lambda file, array=array: np.save(file, array, allow_pickle=False))
    _write(stem.with_name(stem.name + ".json"), lambda file: file.write(json.dumps(facts).encode()))


def load(stem: Path) -> dict[str, Any] | None:
    """Return the facts stored under a stem, or None where nothing complete is stored."""
    try:
        facts = json.loads(stem.with_name(stem.name + ".json").read_bytes())
    except FileNotFoundError:
        return None
    return facts if all(array_path(stem, name).exists() for name in facts["arrays"]) else None


def array_path(stem: Path, name: str) -> Path:
    """Return the file of one array."""
    return stem.with_name(f"{stem.name}.{name}.npy")


@lru_cache(maxsize=OPEN_AT_ONCE)
def open_array(path: Path) -> np.ndarray:
    """Map a stored array into memory, read-only."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _write(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file under a temporary name, push it to the disk, give it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
