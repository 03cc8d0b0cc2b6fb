"""BraTS 2020, training set: enhancing brain tumour in contrast-enhanced T1 (T1ce) magnetic resonance scans.

::

    MICCAI_BraTS2020_TrainingData/BraTS20_Training_001/BraTS20_Training_001_t1ce.nii.gz
    MICCAI_BraTS2020_TrainingData/BraTS20_Training_001/BraTS20_Training_001_seg.nii.gz
    ... and _flair, _t1, _t2, which are not read; copies end in .nii

Labels: 1 necrotic core, 2 oedema, 4 enhancing tumour; here 4 is the foreground. Files hold (x, y, z); arrays are
(z, y, x).
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from rareseg.datasets import volumes
from rareseg.datasets.case import About, Listing
from rareseg.datasets.facts import remembered
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import Faults, some, visible
from rareseg.datasets.scan import Scan

FOLDER = "MICCAI_BraTS2020_TrainingData"
MODALITIES = ("flair", "t1", "t1ce", "t2")
CASES, WITHOUT_ENHANCING = 369, 27

ABOUT = About(
    title="BraTS 2020, training set (enhancing brain tumour, MRI T1ce)",
    cases=342,
    classes=("background", "enhancing tumour"),
    channels=1,
    where="University of Pennsylvania, CBICA, after registration: https://www.med.upenn.edu/cbica/brats2020",
    terms="research only, after registration",
    markers=(FOLDER,),
    layout=(
        f"{FOLDER}/BraTS20_Training_001/BraTS20_Training_001_t1ce.nii.gz",
        f"{FOLDER}/BraTS20_Training_001/BraTS20_Training_001_seg.nii.gz",
    ),
)

_NEWER = "Label 3 stands for the enhancing tumour in releases from 2023 on; if that is meant, set `enhancing_label: 3`."


def find(
    root: Path,
    *,
    exclude: Collection[str] = (),
    corrections: Literal["drop_empty"] | None = "drop_empty",
    enhancing_label: Literal[3, 4] = 4,
) -> Listing:
    """List the labelled scans below ``root``; of files that are there packed and unpacked both are read, once.

    Args:
        root: Folder that holds ``MICCAI_BraTS2020_TrainingData``.
        exclude: Ids of cases that are passed over.
        corrections: ``"drop_empty"`` leaves out scans without enhancing tumour, as Yeung et al. do; None keeps them.
            They are found by reading every label, once: the result is kept in the cache folder.
        enhancing_label: 4, or 3 for releases from 2023 on.
    """
    if corrections not in (None, "drop_empty"):
        raise ValueError(f"corrections must be drop_empty or absent, got {corrections!r}")
    if enhancing_label not in (3, 4):
        raise ValueError(f"enhancing_label must be 4 or 3, got {enhancing_label!r}")
    faults, remarks = Faults(exclude), list[str]()
    cases = [
        _scan(folder.name, files, enhancing_label)
        for folder, files in _folders(root, faults, remarks).items()
        if {"t1ce", "seg"} <= files.keys()
    ]
    faults.refuse("brats2020", root)
    left_out = _without_enhancing(cases, root, enhancing_label, remarks) if corrections else []
    return Listing(
        [case for case in cases if case.id not in left_out],
        tuple(remarks),
        dict.fromkeys(left_out, f"no enhancing tumour (label {enhancing_label})") | faults.excluded,
    )


def _without_enhancing(cases: list[Scan], root: Path, enhancing: int, remarks: list[str]) -> list[str]:
    """Return the ids of the cases whose label lacks the enhancing tumour; refuse labels of newer releases."""
    read = remembered(root, [case.labels[0] for case in cases], lambda path: volumes.values(volumes.header(path)))
    newer = [case.id for case in cases if enhancing == 4 and 3 in read.get(case.labels[0], [])]
    if newer:
        raise DataError(f"brats2020 in {root}: cases with label 3: {some(newer)}. {_NEWER}")
    empty = [case.id for case in cases if enhancing not in read.get(case.labels[0], [enhancing])]
    if len(cases) == CASES and len(empty) != WITHOUT_ENHANCING:
        remarks.append(f"{len(empty)} of {CASES} scans have no enhancing tumour, expected {WITHOUT_ENHANCING}")
    return empty


def _folders(root: Path, faults: Faults, remarks: list[str]) -> dict[Path, dict[str, Path]]:
    """Return folder of a case -> what is there by ``flair``, ``t1``, ``t1ce``, ``t2`` and ``seg``."""
    folders = [folder for folder in visible(root / FOLDER) if faults.counts(folder.name)]
    others = [folder for folder in folders if "_validation_" in folder.name.lower()]
    found, twins = dict[Path, dict[str, Path]](), list[tuple[Path, Path]]()
    for folder in folders:
        if folder not in others:
            found[folder], more = _contents(folder)
            twins += more
    _note_unlike(twins, root, faults)
    bare = [folder for folder, files in found.items() if not files]
    cases = {folder: files for folder, files in found.items() if files}
    misnamed = [folder.name for folder, files in cases.items() if _name_label(files)]
    for name in (*MODALITIES, "seg"):
        lacking = [folder.name for folder, files in cases.items() if name not in files]
        if lacking and name in ("t1ce", "seg"):
            faults.append(f"cases without {name}: {some(lacking)}")
        elif lacking:
            remarks.append(f"cases without {name}, which is not read: {some(lacking)}")
    for text, names in (
        ("not used, as they have no labels", [folder.name for folder in others]),
        ("empty folders", [folder.name for folder in bare]),
        ("labels whose file has another name, told by being none of the four scans", misnamed),
    ):
        if names:
            remarks.append(f"{text}: {some(names)}")
    return cases


def _contents(folder: Path) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Return the NIfTI files of a case by the last part of their names, or by the whole of odd ones; and its twins.

    Twins are two files of one name of which one is read, a packed and an unpacked one.
    """
    found, twins = dict[str, Path](), list[tuple[Path, Path]]()
    for path in visible(folder, *volumes.SUFFIXES):
        last = volumes.stem(path).rpartition("_")[2]
        name = last if last in (*MODALITIES, "seg") else volumes.stem(path)
        first = found.setdefault(name, path)
        if first is not path and (name == "t1ce" or name not in MODALITIES):
            twins.append((first, path))
    return found, twins


def _note_unlike(twins: list[tuple[Path, Path]], root: Path, faults: Faults) -> None:
    """Note twins that hold different bytes; one that cannot be read is no twin."""
    read = remembered(root, [path for pair in twins for path in pair], volumes.digest, kind="digests")
    for first, path in twins:
        if read.get(first) != read.get(path):
            faults.append(f"{first.parent.name}: {first.name} and {path.name} differ")


def _name_label(files: dict[str, Path]) -> bool:
    """Take the one file that is no known scan for the label, as case 355 needs it; return whether it was so."""
    odd = [name for name in files if name not in (*MODALITIES, "seg")]
    if "seg" in files or len(odd) != 1:
        return False
    files["seg"] = files.pop(odd[0])
    return True


def _scan(name: str, files: Mapping[str, Path], enhancing: int) -> Scan:
    known = {0, 1, 2, enhancing}
    return Scan(
        id=name,
        image=files["t1ce"],
        labels=(files["seg"],),
        group=name,
        axes=(2, 1, 0),
        classes={value: int(value == enhancing) for value in sorted(known)},
        hints={3: _NEWER} if enhancing == 4 else {},
    )
