"""Arrays on disk that appear whole or not at all, and are opened without being read."""

import json
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.datasets import whole

OPEN_AT_ONCE = 256  # maps kept open; each holds a file descriptor, and systems allow 1,024 of them to a process
_MAKING = threading.Lock()


def store(stem: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write ``<stem>.<name>.npy`` for each array and, last, ``<stem>.json``: where that stands, all stands.

    ``facts["arrays"]`` lists the names.

    A writer killed half-way leaves only temporary files, which nobody reads; two writers of one stem write the same.
    """
    for name, array in arrays.items():
        whole.write_with(array_path(stem, name), partial(_save, array))
    whole.write(stem.with_name(stem.name + ".json"), json.dumps(facts))


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


def beside(path: Path, name: str, make: Callable[[], np.ndarray]) -> Path:
    """Return the file of an array that is derived from a stored one, made and stored beside it when first asked for.

    Args:
        path: File of the stored array.
        name: Name of the derived one.
        make: Computes it, in one thread at a time, since it may be as large as a scan.
    """
    derived = array_path(path.with_name(path.name.split(".", 1)[0]), name)
    if not derived.exists():
        with _MAKING:
            if not derived.exists():
                whole.write_with(derived, partial(_save, make()))
    return derived


def _save(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
