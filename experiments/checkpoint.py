"""Checkpoints that survive a kill at any moment: a folder that appears whole, checked by its hash when it is read.

Keras' own backup writes over the last good file. Here each generation is a folder of its own, written under a
temporary name, flushed to the disk, renamed, and only then is the generation before the last removed.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rareseg.datasets import whole
from rareseg.experiments import store

GENERATIONS = 2
_STATE = "state.json"


def save(folder: Path, step: int, state: dict[str, Any], files: Mapping[str, Callable[[Path], Any]]) -> None:
    """Write one checkpoint and read it back.

    Args:
        folder: Holds all generations of one run.
        step: Steps done; names the generation.
        state: Plain data that goes with the files.
        files: Name -> writes this file to the path that it is given.

    Raises:
        OSError: If anything could not be written; what was there before is intact.
    """
    final = folder / f"step-{step:09d}"
    if _read(final) is not None:
        return  # a signal at the end of an epoch asks twice for the same state, which must not be put at risk
    for left in folder.glob(".step-*"):  # by a save that was killed
        shutil.rmtree(left)
    temporary = folder / f".step-{step:09d}"
    temporary.mkdir(parents=True)
    try:
        for name, fill in files.items():
            fill(temporary / name)
            whole.sync(temporary / name)
        hashes = {name: _hash(temporary / name) for name in files}
        content = {"step": step, "state": state, "sha256": hashes}
        store.write_json(temporary / _STATE, content)
        if final.exists():
            shutil.rmtree(final)  # it failed its check
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    whole.sync(folder)
    if _read(final) is None:
        raise OSError(f"{final} was written but does not read back")
    generations = _generations(folder)
    place = generations.index(final)  # what is newer was damaged: else training had gone on from there
    for other in generations[:place] + generations[place + GENERATIONS :]:
        shutil.rmtree(other)


def load(folder: Path, tell: Callable[[str], None] = print) -> tuple[dict[str, Any], Path] | None:
    """Return the state and the folder of the newest checkpoint whose hashes are right, or None.

    Args:
        folder: Holds all generations of one run.
        tell: Takes a sentence for each checkpoint that is passed over.

    Raises:
        OSError: If one cannot be read now: it may be right, and going on from an older one would remove it.
    """
    for generation in _generations(folder):
        content = _read(generation)
        if content is not None:
            return content["state"], generation
        tell(f"the checkpoint {generation.name} is damaged and passed over")
    return None


def _generations(folder: Path) -> list[Path]:
    """Return the checkpoints, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def _read(generation: Path) -> dict[str, Any] | None:
    """Return the content of a checkpoint, or None where it is damaged or not there."""
    try:
        content = store.read_json(generation / _STATE)
        right = all(_hash(generation / name) == value for name, value in content["sha256"].items())
        return content if right else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
