"""Files that appear whole or not at all, through SIGKILL, power loss and full disks: the one writer of the house."""

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\.\d+-\d+-")
_DEAD = 3600  # seconds


def write(path: Path, content: bytes | str) -> None:
    """Write a file so that it holds all of ``content`` or what it held before."""
    data = content.encode() if isinstance(content, str) else content
    write_with(path, lambda temporary: temporary.write_bytes(data))


def write_with(path: Path, fill: Callable[[Path], Any]) -> None:
    """Let ``fill`` write a hidden temporary file, flush it to the disk and give it its name at last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{owner}-{path.name}")  # keeps the suffix: NumPy and Keras look at it
    try:
        fill(temporary)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sweep(folder: Path, untouched: float = _DEAD) -> None:
    """Remove what killed writers left in a folder: temporary files that nobody has touched for so many seconds."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # a living writer has just given it its name
            if _TEMPORARY.match(path.name) and time.time() - path.stat().st_mtime >= untouched:
                path.unlink()


def sync(path: Path) -> None:
    """Force a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
