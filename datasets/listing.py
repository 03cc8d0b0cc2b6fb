"""Folders -> lists of files: which ones count, in which order, and who has no partner.

Nothing here opens a file. Order and case ids come from names alone, never from the file system.
"""

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from rareseg.datasets.files import DataError

_IGNORED = {"__MACOSX", "Thumbs.db"}
_DIGITS = re.compile(r"(\d+)")
_SHOWN = 5  # offenders named in a message; the rest are counted


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a sort key that puts 2 before 10."""
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in _DIGITS.split(name))


def visible(folder: Path, *suffixes: str) -> list[Path]:
    """Return the entries of ``folder`` that count, in natural order.

    Args:
        folder: Folder to list; one that is missing has no entries.
        suffixes: Endings that count, in small letters (``".png"``, ``".nii.gz"``); none: sub-folders alone.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # names alone: a Path for each of 100,000 files costs seconds
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and entry.name not in _IGNORED
            and (entry.name.lower().endswith(suffixes) if suffixes else entry.is_dir())
        ]
    return [folder / name for name in sorted(names, key=natural)]


def some(names: Iterable[str]) -> str:
    """Return how many there are and the first few: ``"7 (a, b, c, d, e, ...)"``."""
    names = list(names)
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"


def by(shape: Iterable[int]) -> str:
    """Return a shape as people write it: ``"584 x 565"``."""
    return " x ".join(map(str, shape))


class Faults(list[str]):
    """What is wrong with the list of files, collected so that a user learns of all of it at once.

    Args:
        exclude: Ids of cases that are passed over, whatever is wrong with them.

    Attributes:
        excluded: Those that were met, with the reason.
    """

    def __init__(self, exclude: Collection[str] = ()) -> None:
        super().__init__()
        self._exclude, self.excluded = frozenset(exclude), dict[str, str]()

    def counts(self, identity: str) -> bool:
        """Return whether a case is not among those to be passed over, and note one that is."""
        if identity in self._exclude:
            self.excluded[identity] = "listed under `exclude`"
        return identity not in self._exclude

    def by_case(self, paths: Iterable[Path], name: Callable[[Path], str]) -> dict[str, Path]:
        """Return case id -> path of the cases that count; two files of one case are a fault."""
        return self.by_name((path for path in paths if self.counts(name(path))), name)

    def by_name(self, paths: Iterable[Path], name: Callable[[Path], str]) -> dict[str, Path]:
        """Return name -> path; two files of one name are a fault."""
        found: dict[str, Path] = {}
        for path in paths:
            first = found.setdefault(name(path), path)
            if first is not path:
                files = " and ".join(f"{one.parent.name}/{one.name}" for one in (first, path))
                self.append(f"{files} both stand for {name(path)}")
        return found

    def partners(self, what: str, wanted: Iterable[str], found: Mapping[str, object]) -> None:
        """Note every id of ``wanted`` that ``found`` lacks, as "cases without <what>"."""
        lacking = [identity for identity in wanted if identity not in found]
        if lacking:
            self.append(f"cases without {what}: {some(lacking)}")

    def refuse(self, key: str, root: Path) -> None:
        """Raise them all in one `DataError`, if there are any."""
        if self:
            section = "own-folder" if key == "folder" else key
            raise DataError(f"{key} in {root}: {'; '.join(self)}. Correct the files. Layout: docs/data.md#{section}")


def locate(key: str, folder: Path, markers: tuple[str, ...], source: str) -> Path:
    """Return ``folder`` if it holds every marker, else say what it is instead.

    Args:
        key: Name of the data set, for the message.
        folder: What the user gave.
        markers: What the official layout has below the right folder, as patterns; ``a|b``: either.
        source: Sentence on where the data set comes from.
    """
    if folder.is_file():
        hint = f" with `csv: {folder.name}`" if key == "folder" and folder.suffix == ".csv" else ""
        raise DataError(f"{key}: {folder} is a file, expected a folder. Give {folder.absolute().parent}{hint} instead.")
    if not folder.is_dir():
        places = (folder.parent, *(child / folder.name for child in visible(folder.parent)))
        near = [place for place in places if markers and place.is_dir() and _holds(place, markers)]
        raise DataError(f"{key}: there is no folder {folder}. {_nearby(near[0], folder.name) if near else source}")
    missing = [marker.split("|")[0] for marker in markers if not _holds(folder, (marker,))]
    if not missing:
        return folder
    for child in visible(folder):
        if _holds(child, markers):
            raise DataError(f"{key}: {folder} is 1 level too high. Give {child} instead.")
    for level, parent in enumerate(list(folder.absolute().parents)[:2], start=1):
        if _holds(parent, markers):
            raise DataError(f"{key}: {folder} is {level} level{'s' * (level > 1)} too low. Give {parent} instead.")
    raise DataError(f"{key}: {folder} lacks {' and '.join(missing)}. {source}")


def _nearby(place: Path, name: str) -> str:
    """Say how to give a folder that has the layout and should have the name."""
    renaming = "" if place.name == name else f"rename it to {name}, or link to it by that name, and "
    return f"But {place} has its layout: give that, or {renaming}give --data {place.parent}."


def _holds(folder: Path, markers: tuple[str, ...]) -> bool:
    return all(any(next(folder.glob(name), None) for name in marker.split("|")) for marker in markers)
