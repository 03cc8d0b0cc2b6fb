"""What was read from files once, kept in the cache folder so that reading a data set twice costs one reading.

A fact is a line of JSON, appended as soon as it is known: killed at any moment, the next reading goes on from there.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from rareseg.datasets.files import DataError, cause


def cache_folder() -> Path:
    """Return the folder for what can be computed again: ``RARESEG_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("RARESEG_CACHE") or platformdirs.user_cache_path("rareseg"))


class Notes:
    """Facts of one kind about the files of one data set.

    Args:
        root: Folder of the data set, which names the store.
        kind: What the facts are, a word.
    """

    def __init__(self, root: Path, kind: str) -> None:
        self._store = _store(root, kind)
        self._known = {name: (state, fact) for name, state, fact in _lines(self._store)}

    def find(self, name: str, state: Any) -> Any:
        """Return the fact noted under a name while its files were in this state; None where there is none."""
        noted, fact = self._known.get(name, (None, None))
        return fact if noted == state else None

    def add(self, name: str, state: Any, fact: Any) -> None:
        """Note a fact, of what JSON can hold.

        Each line begins with its line break: what a killed process left half written ends there, and is not read.
        """
        self._known[name] = (state, fact)
        with suppress(OSError):  # a full disk costs the next reading some time, nothing else
            self._store.parent.mkdir(parents=True, exist_ok=True)
            with self._store.open("ab", buffering=0) as file:
                file.write(f"\n{json.dumps([name, state, fact])}".encode())


def forget(root: Path) -> None:
    """Drop all that is noted about the files of a data set, so that they are read again."""
    every = _store(root, "*")
    for store in every.parent.glob(every.name):
        store.unlink(missing_ok=True)


def _store(root: Path, kind: str) -> Path:
    name = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    return cache_folder() / "facts" / f"{name}-{kind}.jsonl"


def _lines(store: Path) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is whole of a store."""
    try:
        content = store.read_bytes()
    except OSError:
        return
    for line in content.split(b"\n"):
        with suppress(ValueError):
            name, state, fact = json.loads(line)
            yield name, state, fact


def remembered(root: Path, paths: Sequence[Path], read: Callable[[Path], Any], kind: str = "values") -> dict[Path, Any]:
    """Return file -> ``read(file)``, as noted where the file still has the size and time it had.

    Files are read on all cores that this process may use. One that cannot be read is left out: whoever needs its
    content will say why.

    Args:
        root: Folder of the data set.
        paths: Files of it.
        read: Returns what JSON can hold.
        kind: What the facts are, a word.
    """
    notes = Notes(root, kind)
    named = {path: (os.path.relpath(path, root), file_state(path)) for path in paths}
    found = {path: notes.find(*name_and_state) for path, name_and_state in named.items()}

    def noted(path: Path) -> Any:
        with suppress(DataError):
            fact = read(path)
            notes.add(*named[path], fact)
            return fact

    due = [path for path, fact in found.items() if fact is None]
    with ThreadPoolExecutor(cores()) as pool:
        found |= dict(zip(due, pool.map(noted, due), strict=True))
    return {path: fact for path, fact in found.items() if fact is not None}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def file_state(path: Path) -> list[int]:
    """Return what changes when a file is written: its size and time.

    Raises:
        DataError: There is no such file, or it may not be looked at.
    """
    try:
        status = path.stat()
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({cause(fault)}). Get the file again.") from fault
    return [status.st_size, status.st_mtime_ns]
