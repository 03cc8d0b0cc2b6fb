"""KiTS19: kidneys and their tumours in contrast-enhanced CT.

::

    data/case_00000/imaging.nii.gz         Hounsfield units
    data/case_00000/segmentation.nii.gz    0 background, 1 kidney, 2 tumour

Slices are the first axis of the files, so nothing is transposed. The repository holds the segmentations; its script
fetches the images. 00210 to 00299 have no labels.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rareseg.datasets import volumes
from rareseg.datasets.case import About, Listing, Place
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import Faults, some, visible
from rareseg.datasets.scan import Scan

FOLDER = "data"

ABOUT = About(
    title="KiTS19 (kidney and kidney tumour, CT)",
    cases=204,
    classes=("background", "kidney", "tumour"),
    channels=1,
    where="https://github.com/neheller/kits19, whose starter code fetches the images",
    terms="CC BY-NC-SA 4.0",
    markers=(f"{FOLDER}/case_*",),
    layout=(f"{FOLDER}/case_00000/imaging.nii.gz", f"{FOLDER}/case_00000/segmentation.nii.gz"),
)

BAD = tuple(f"case_{number:05d}" for number in (15, 23, 37, 68, 125, 133))
"""Left out by Yeung et al. for the quality of their labels."""
LABELLED = 210  # case_00000 to case_00209

_CORRECTED, _SLICES = "case_00061", 29  # what the release of April 2019 made of it
_NO_IMAGE = (
    "has no image, the repository holds the segmentations alone: run `python -m starter_code.get_imaging` in the clone"
)


@dataclass(frozen=True, eq=False)
class Abdomen(Scan):
    """One scan, whose image may not have been fetched yet.

    Attributes:
        fetched: Whether the image is there.
    """

    fetched: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """The source files that are there."""
        return (self.image, *self.labels) if self.fetched else self.labels

    @property
    def grid(self) -> volumes.Header:
        """The image's header; the label's until the image is there."""
        return self.image_header if self.fetched else self.label_header

    def read_image(self) -> np.ndarray:
        """Return Hounsfield units, (D, H, W, 1), integers or float32, unscaled."""
        self._refuse_missing()
        return super().read_image()

    def image_slabs(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield Hounsfield units part by part."""
        self._refuse_missing()
        return super().image_slabs()

    def _refuse_missing(self) -> None:
        if not self.fetched:
            raise DataError(f"kits19, {self.id}: {self.image} {_NO_IMAGE}.")

    def _image_slabs(self) -> Iterator[volumes.Slab]:
        return super()._image_slabs() if self.fetched else iter(())

    def _image_type(self) -> str:
        return super()._image_type() if self.fetched else ""

    def _grid_oddities(self) -> Iterator[str]:
        yield from super()._grid_oddities()
        if self.id == _CORRECTED and self.shape[0] != _SLICES:
            yield (
                f"{self.shape[0]} slices, expected {_SLICES}: this is the release before April 2019, whose errors the "
                "organisers corrected; pull the repository again"
            )


def find(root: Path, *, exclude: Collection[str] = (), corrections: Literal["drop_bad"] | None = "drop_bad") -> Listing:
    """List the labelled scans below ``root``.

    Args:
        root: Folder that holds ``data``.
        exclude: Ids of cases that are passed over.
        corrections: ``"drop_bad"`` leaves out the six scans of `BAD`, as Yeung et al. do; None keeps them.
    """
    if corrections not in (None, "drop_bad"):
        raise ValueError(f"corrections must be drop_bad or absent, got {corrections!r}")
    faults, remarks = Faults(exclude), list[str]()
    folders = [one for one in visible(root / FOLDER) if one.name.startswith("case_") and faults.counts(one.name)]
    files = {folder: faults.by_name(visible(folder, *volumes.SUFFIXES), volumes.stem) for folder in folders}
    empty = [folder.name for folder, found in files.items() if not found]
    unlabelled = [folder.name for folder, found in files.items() if found and "segmentation" not in found]
    official = [name for name in unlabelled if name.removeprefix("case_") >= f"{LABELLED:05d}"]
    if len(unlabelled) > len(official):
        faults.append(f"cases without segmentation: {some(sorted({*unlabelled} - {*official}))}")
    faults.refuse("kits19", root)
    if empty:
        remarks.append(f"empty folders: {some(empty)}")
    cases = [_abdomen(folder, found) for folder, found in files.items() if "segmentation" in found]
    left_out = dict.fromkeys(official, "official test case, without label") | faults.excluded
    if corrections:
        left_out |= {
            case.id: "left out by the paper for its label (corrections: drop_bad)" for case in cases if case.id in BAD
        }
    kept = [case for case in cases if case.id not in left_out]
    missing = [case.id for case in kept if not case.fetched]
    if missing:
        remarks.append(f"cases without image: {some(missing)}; each {_NO_IMAGE}")
    return Listing(kept, tuple(remarks), left_out)


def _abdomen(folder: Path, found: dict[str, Path]) -> Abdomen:
    return Abdomen(
        id=folder.name,
        image=found.get("imaging", folder / "imaging.nii.gz"),
        labels=(found["segmentation"],),
        group=folder.name,
        axes=(0, 1, 2),
        classes={0: 0, 1: 1, 2: 2},
        fetched="imaging" in found,
    )
