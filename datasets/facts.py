"""What was read from files once, kept in the cache folder so that opening a data set twice costs one reading."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from rareseg.datasets.files import DataError, write_whole


def cache_folder() -> Path:
    """Return the folder for what can be computed again: ``RARESEG_CACHE``, else the user's cache folder."""
    return Path(os.environ.get("RARESEG_CACHE") or platformdirs.user_cache_path("rareseg"))


def remembered(root: Path, paths: Sequence[Path], read: Callable[[Path], Any]) -> dict[Path, Any]:
    """Return file -> ``read(file)``, from the cache where the file still has the size and time it had.

    Files are read on all cores. One that cannot be read is left out: whoever needs its content will say why.

    Args:
        root: Folder of the data set, which names the cache.
        paths: Files of it.
        read: Returns what JSON can hold.
    """
    store = cache_folder() / "facts" / f"{hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]}.json"
    known = _load(store)
    states = {path: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}
    names = {path: os.path.relpath(path, root) for path in paths}
    due = [path for path in paths if known.get(names[path], [None])[0] != states[path]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(due, pool.map(lambda path: _readable(path, read), due), strict=True))
    known |= {names[path]: [states[path], fact] for path, fact in found.items() if fact is not None}
    if due:
        with suppress(OSError):  # a full disk costs the next opening some time, nothing else
            write_whole(store, json.dumps(known).encode())
    return {path: known[names[path]][1] for path in paths if found.get(path, True) is not None}


def _readable(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except DataError:
        return None


def _load(store: Path) -> dict[str, Any]:
    try:
        return json.loads(store.read_bytes())
    except (OSError, ValueError):
        return {}
