"""BUS2017, UDIAT "Dataset B": breast lesions in ultrasound images, one each.

::

    original/000001.png    grey, some stored as RGB(A); sizes vary
    GT/000001.png          same name, 0/255

Copies also call the folders ``images``, ``gt`` or ``masks``, and put them below ``BUS/``. Where a table of diagnoses
(``DatasetB.csv``: number, benign or malignant) or folders ``benign`` and ``malignant`` lie there,
``case.info["diagnosis"]`` says which.
"""

import csv
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rareseg.datasets import files
from rareseg.datasets.case import About, Case, Listing
from rareseg.datasets.listing import Faults, natural, visible

IMAGES, MASKS = ("original", "images", "Original"), ("GT", "gt", "masks")
BASES = ("", "BUS/")
DIAGNOSES = ("benign", "malignant")

ABOUT = About(
    title="BUS2017, UDIAT Dataset B (breast lesions, ultrasound)",
    cases=163,
    classes=("background", "lesion"),
    channels=1,
    where="M. H. Yap, Manchester Metropolitan University, on a signed request (https://doi.org/10.1109/JBHI.2017.2731873)",
    terms="research only, no redistribution",
    markers=tuple("|".join(f"{base}{name}" for base in BASES for name in names) for names in (IMAGES, MASKS)),
    layout=("original/000001.png", "GT/000001.png"),
)

_PICTURES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
_STRAY = 0.01  # share of pixels that may be coloured: measuring marks


@dataclass(frozen=True, eq=False)
class Ultrasound(Case):
    """One image, whose channels are equal where there are several."""

    def read_image(self) -> np.ndarray:
        """Return the image as stored, (H, W, 1) uint8, unscaled."""
        return files.grey(self.image, stray=_STRAY)[..., None]


def find(root: Path, *, exclude: Collection[str] = ()) -> Listing:
    """List the images below ``root``, but for those of ``exclude``."""
    faults = Faults(exclude)
    images, masks = (
        faults.by_case(_pictures(_folder(root, names)), lambda path: path.stem) for names in (IMAGES, MASKS)
    )
    faults.partners("mask", images, masks)
    faults.partners("image", masks, images)
    faults.refuse("bus2017", root)
    tables = [path for base in BASES for path in visible(root / base, ".csv", ".xlsx", ".xls")]
    diagnoses, remarks = _diagnoses([path for path in tables if path.stem.lower() == "datasetb"])
    cases = [
        Ultrasound(id=name, image=path, labels=(masks[name],), group=name, info=_facts(path, diagnoses))
        for name, path in images.items()
    ]
    return Listing(cases, remarks, faults.excluded)


def _folder(root: Path, names: tuple[str, ...]) -> Path:
    return next(root / base / name for base in BASES for name in names if (root / base / name).is_dir())


def _pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder and of its sub-folders by diagnosis, in natural order of their names."""
    places = (folder, *(folder / name for name in DIAGNOSES))
    found = [path for place in places for path in visible(place, *_PICTURES)]
    return sorted(found, key=lambda path: natural(path.name))


def _diagnoses(tables: list[Path]) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return number of the case -> diagnosis, and what to say about tables that are not read."""
    read = {path: _diagnoses_in(path) for path in tables if path.suffix.lower() == ".csv"}
    found = {number: diagnosis for held in read.values() for number, diagnosis in held.items()}
    remarks = [
        f"{path.name} gives no diagnosis; expected a number and benign or malignant in each line"
        for path, held in read.items()
        if not held
    ]
    unread = [path.name for path in tables if path not in read and not found]
    remarks += [f"{name} is not read; save it as DatasetB.csv to have the diagnoses" for name in unread]
    return found, tuple(remarks)


def _diagnoses_in(path: Path) -> dict[int, str]:
    """Return number of the case -> diagnosis, of a table whose cells are parted by comma, semicolon or tab."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found: dict[int, str] = {}
    for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=text.count)):
        number = re.search(r"\d+", row[0]) if row else None
        words = [name for name in DIAGNOSES if any(name == cell.strip().lower() for cell in row)]
        if number and words:
            found[int(number[0])] = words[0]
    return found


def _facts(path: Path, diagnoses: Mapping[int, str]) -> dict[str, str]:
    """Return the diagnosis of an image, from its folder or the table; empty where neither says it."""
    number = re.search(r"\d+", path.stem)
    known = path.parent.name if path.parent.name in DIAGNOSES else diagnoses.get(int(number[0])) if number else None
    return {"diagnosis": known} if known else {}
