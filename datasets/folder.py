"""A user's own images and labels, 2D pictures or NIfTI volumes, in one of four layouts.

::

    images/a.png          masks/a.png                  or labels, gt, ground_truth, segmentations; also train/images/...
    a/image.nii.gz        a/segmentation.nii.gz        one folder per case
    imagesTr/a_0000.png   labelsTr/a.png               as nnU-Net wants it
    table.csv: id,image,label[,group,split]            paths from the table's folder; `csv: table.csv` asks for it

The first that is found counts, a table before all. Labels hold class numbers; 0 and 255 are two classes; any other
values need ``values``, which the message spells out.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.datasets import files, volumes
from rareseg.datasets.case import About, Case, Listing
from rareseg.datasets.facts import remembered
from rareseg.datasets.files import DataError
from rareseg.datasets.layouts import PLACES, Pair, discovered, from_table, is_volume
from rareseg.datasets.listing import Faults, some, visible
from rareseg.datasets.scan import Scan

ABOUT = About(
    title="own folder",
    cases=0,
    classes=("background", "foreground"),
    channels=3,
    where="you",
    terms="yours",
    markers=(),
    layout=("images/a.png", "masks/a.png"),
)

_STORABLE = range(65536)  # values of labels that may stand for a class
_MOST_VALUES = 32
_MOST_CLASSES = 255  # a byte holds a class, and its last value marks what is none
EXPECTED = (
    "expected images/ + masks/, one folder per case with image and label, imagesTr/ + labelsTr/, or `csv:` with the "
    "name of a table. Layouts: docs/data.md#own-folder"
)
"""End of the sentence for a folder without cases."""


@dataclass(frozen=True, eq=False)
class Picture(Case):
    """One picture with a label of any number of classes.

    Attributes:
        classes: Value in the label file -> class; empty: two classes, cut at 128.
    """

    classes: Mapping[int, int] = field(default_factory=dict)

    @property
    def reading(self) -> tuple[Any, ...]:
        """The classes of the values."""
        return (sorted(self.classes.items()),)

    def read_image(self) -> np.ndarray:
        """Return the image as stored, (H, W, 1) or (H, W, 3), uint8 or uint16, unscaled."""
        return files.picture(self.image)

    def _label(self, layers: Iterable[np.ndarray]) -> np.ndarray:
        """Return the classes that the values of the one mask file stand for, (H, W) uint8."""
        (values,) = layers
        return files.classified(values, self.classes, self.labels[0]) if self.classes else files.binary(values)

    def _values(self, path: Path) -> np.ndarray:
        return files.codes(path)

    def _oddities(self, label: np.ndarray, layers: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield what is odd but legal; values between black and white are classes, unless the file is a JPEG."""
        if not self.classes:
            yield from super()._oddities(label, layers)


def find(
    root: Path, *, exclude: Collection[str] = (), values: Mapping[int, int] | None = None, csv: str | None = None
) -> Listing:
    """List the cases below ``root``.

    Args:
        root: The folder.
        exclude: Ids of cases that are passed over.
        values: Value in the label files -> class; None: found by reading every label once; kept in the cache folder.
        csv: Name of a table in the folder.
    """
    faults, remarks = Faults(exclude), list[str]()
    pairs = from_table(root / csv, faults) if csv else discovered(root, faults, remarks)
    faults.refuse("folder", root)
    if not pairs:
        raise DataError(f"folder: there is no case in {root}: {_elsewhere(root) or EXPECTED}.")
    _one_kind(pairs, root)
    lossy = [pair.id for pair in pairs if pair.label.suffix.lower() in (".jpg", ".jpeg")]
    if lossy:
        remarks.append(f"labels stored as JPEG, which blurs them, cut at 128: {some(lossy)}")
    classes = _classes(root, pairs, values, bool(lossy))
    number = max(classes.values(), default=1) + 1
    cases = [_case(pair, classes if pair.id not in lossy else {}) for pair in pairs]
    names = ABOUT.classes if number == 2 else ("background", *(f"class {k}" for k in range(1, number)))
    about = replace(ABOUT, classes=names, channels=_channels(cases))
    return Listing(cases, tuple(remarks), faults.excluded, about)


def _elsewhere(root: Path) -> str:
    """Say where cases are, if not in ``root``: one level lower or up to two higher."""

    def holds(place: Path) -> bool:
        faults = Faults()
        return bool(discovered(place, faults, []) or faults)

    below = [child for child in visible(root) if holds(child)]
    if below:
        return f"the folder is 1 level too high. Give {below[0]} instead"
    for level, child in ((2, root.absolute().parent), (1, root.absolute())):  # the higher has all parts
        if child.name.lower() in PLACES and holds(child.parent):
            return f"the folder is {level} level{'s' * (level > 1)} too low. Give {child.parent} instead"
    return ""


def _channels(cases: Iterable[Case]) -> int:
    """Return the channels of the first image that can be read; the report names those that cannot."""
    for case in cases:
        with suppress(DataError):
            return 1 if isinstance(case, Scan) else files.picture(case.image).shape[2]
    return ABOUT.channels


def _case(pair: Pair, classes: Mapping[int, int]) -> Case:
    kind = Scan if is_volume(pair.image) else Picture
    return kind(
        id=pair.id,
        image=pair.image,
        labels=(pair.label,),
        group=pair.group,
        part=pair.part,
        info=pair.info,
        classes=classes,
    )


def _one_kind(pairs: Sequence[Pair], root: Path) -> None:
    """Refuse folders that mix pictures with volumes."""
    flat, deep = [], []
    for pair in pairs:
        for path in (pair.image, pair.label):
            (deep if is_volume(path) else flat).append(pair.id)
    if flat and deep:
        raise DataError(
            f"folder in {root}: {some(flat)} are pictures and {some(deep)} volumes; expected one kind. "
            "Give each its own folder."
        )


def _classes(root: Path, pairs: Sequence[Pair], values: Mapping[int, int] | None, lossy: bool) -> Mapping[int, int]:
    """Return value -> class, as given or as the labels themselves say it."""
    if values is not None:
        return _checked(values)
    read = remembered(root, [pair.label for pair in pairs], _values_in)
    found = sorted({value for held in read.values() for value in held})
    if {*found} <= {0, 255} or {*found} <= {0, 1}:
        return {0: 0, int(max(found, default=1)) or 1: 1}
    listed = files.numbers(found, _MOST_VALUES)
    if lossy:
        raise DataError(f"folder in {root}: labels stored as JPEG can hold two classes alone, found {listed}.")
    if found == [*range(len(found))] and len(found) <= _MOST_VALUES:
        return {value: value for value in range(len(found))}
    if len(found) > _MOST_VALUES or not all(value in _STORABLE for value in found):
        worst = max(read, key=lambda path: len(read[path]))
        raise DataError(
            f"folder in {root}: labels hold {len(found)} values ({listed}), most of them in {worst}; expected "
            f"whole numbers from 0 to {_STORABLE[-1]}, one for each of at most {_MOST_VALUES} classes. Save the labels "
            "with class numbers."
        )
    line = ", ".join(f"{value:.0f}: {number}" for number, value in enumerate(found))
    raise DataError(
        f"folder in {root}: labels hold the values {listed}, expected 0 to {len(found) - 1}. If each is a "
        f"class, add `values: {{{line}}}` to the configuration."
    )


def _checked(values: Mapping[int, int]) -> dict[int, int]:
    """Return the mapping given by the user, whose classes must be 0 to n - 1."""
    whole = all(isinstance(number, int) for number in (*values, *values.values()))
    classes = sorted({*values.values()}) if whole else []
    if not classes or classes != [*range(len(classes))] or not all(value in _STORABLE for value in values):
        raise ValueError(f"values must map values 0 to {_STORABLE[-1]} to classes 0, 1, 2, ..., got {dict(values)}")
    if len(classes) > _MOST_CLASSES:
        raise ValueError(f"values name {len(classes)} classes, expected at most {_MOST_CLASSES}. Let some share one.")
    return dict(values)


def _values_in(path: Path) -> list[float]:
    """Return the values of a label; none of a JPEG, which blurs them."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return []
    if is_volume(path):
        return volumes.values(volumes.header(path))
    return np.unique(files.codes(path)).tolist()
