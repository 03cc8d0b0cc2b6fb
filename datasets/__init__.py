"""Files on disk -> cases: images, labels, official halves; splits; and phantoms to run without a download.

In: the name of a data set and the folder that holds its official files (layouts: docs/data.md). Out: a `Dataset`
with ``.cases``; each `Case` reads its arrays when asked. `split` divides cases (or patches) into train, validation
and test. `make_phantoms` draws files of the same layout. Bad files and folders raise `DataError`.

Next: ``case.py`` (what a reader gives), ``isic2018.py`` (a reader on one screen), ``splits.py``, ``phantoms.py``.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from rareseg.datasets import brats2020, bus2017, cvc_clinicdb, drive, dsb2018, folder, isic2018, kits19
from rareseg.datasets.case import About, Case, Dataset
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import locate, some
from rareseg.datasets.phantoms import make_phantoms
from rareseg.datasets.split_files import read_split, write_split
from rareseg.datasets.splits import split

__all__ = [
    "About",
    "Case",
    "DataError",
    "Dataset",
    "about",
    "make_phantoms",
    "names",
    "offered",
    "open",
    "read_split",
    "source",
    "split",
    "write_split",
]

_READERS: dict[str, ModuleType] = {
    "isic2018": isic2018,
    "dsb2018": dsb2018,
    "drive": drive,
    "cvc_clinicdb": cvc_clinicdb,
    "bus2017": bus2017,
    "brats2020": brats2020,
    "kits19": kits19,
}
"""Key -> module with ``ABOUT`` and ``find(root, exclude=..., **options)``. A new data set is one file and one entry."""

_OWN = {"folder": folder}
"""Readers that are no data set of their own."""


def names() -> tuple[str, ...]:
    """Return the keys of the known data sets."""
    return tuple(_READERS)


def about(key: str) -> About:
    """Return what is known of a data set without its files: title, origin, terms, layout, number of cases."""
    return _reader(key).ABOUT


def source(key: str) -> str:
    """Return one sentence: what the data set is, where to get it, its terms, and where its files go."""
    known = about(key)
    if key in _OWN:
        return f"Give the folder of your images and labels: {folder.EXPECTED}."
    return (
        f"{known.title} comes from {known.where}; terms: {known.terms}; "
        f"put it under <data>/{key}/ as {', '.join(known.layout)}."
    )


def offered(key: str) -> dict[str, Any]:
    """Return what the reader of a data set takes besides `exclude`: name of each option -> its type."""
    hints = get_type_hints(_reader(key).find)
    return {name: kind for name, kind in hints.items() if name not in ("root", "exclude", "return")}


def open(key: str, folder: Path | str, *, exclude: Sequence[str] = (), **options: Any) -> Dataset:
    """List the cases of a data set by the names of its files; what names cannot tell is read.

    That is which cases or classes there are, from the labels of ``brats2020`` and ``folder``, and how many channels
    the pictures of ``folder`` have, from the first.

    Args:
        key: One of `names`, or ``folder`` for images and labels of your own.
        folder: Folder with the official layout, or one of those in ``folder.py``.
        exclude: Ids of cases to leave out, whatever is wrong with their files.
        **options: What the reader offers besides, such as ``corrections`` of ``dsb2018`` or ``values`` of ``folder``.

    Raises:
        DataError: The folder is missing, is the wrong one, holds no case, or files have no partner.
        ValueError: There is no such key or option, or an option cannot have the value.
    """
    reader, known = _reader(key), offered(key)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"{key} has no option {unknown[0]}; it has {', '.join(['exclude', *known])}")
    try:
        root = locate(key, Path(folder), reader.ABOUT.markers, source(key))
        found = reader.find(root, exclude=exclude, **options)
    except OSError as fault:
        raise DataError(
            f"{key}: {fault.filename or folder} cannot be listed ({fault.strerror or fault}); expected a folder that "
            "may be read. Correct its permissions, or mount it again."
        ) from fault
    strangers = set(exclude) - set(found.left_out)
    if strangers:
        raise DataError(f"{key}: `exclude` names cases that are not in {root}: {some(sorted(strangers))}")
    if not found.cases:
        raise DataError(f"{key}: there is no case in {root}. {source(key)}")
    return Dataset(key, root, tuple(found.cases), found.about or reader.ABOUT, found.remarks, found.left_out)


def _reader(key: str) -> ModuleType:
    readers = {**_READERS, **_OWN}
    if key not in readers:
        raise ValueError(f"unknown data set {key!r}; known are {', '.join(readers)}")
    return readers[key]
