"""DRIVE: retinal vessels in fundus photographs, two official halves of 20.

::

    training/images/21_training.tif   training/1st_manual/21_manual1.gif   training/mask/21_training_mask.gif
    test/images/01_test.tif           test/1st_manual/01_manual1.gif       test/mask/01_test_mask.gif
                                      test/2nd_manual/01_manual2.gif

``mask`` is the field of view (FOV), not a label. Newer downloads have no manuals for the test half.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rareseg.datasets import files
from rareseg.datasets.case import About, Case, Listing
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import Faults, visible

ABOUT = About(
    title="DRIVE (retinal vessels, fundus photographs)",
    cases=40,
    classes=("background", "vessel"),
    channels=3,
    where="https://drive.grand-challenge.org (free account)",
    terms="research and education only, no redistribution",
    markers=("training/images",),
    layout=(
        "training/images/21_training.tif",
        "training/1st_manual/21_manual1.gif",
        "training/mask/21_training_mask.gif",
        "test/images/01_test.tif",
        "test/1st_manual/01_manual1.gif",
        "test/mask/01_test_mask.gif",
    ),
)

_NO_TEST_LABELS = (
    "the test half has no labels (test/1st_manual is missing), as in newer downloads, so only the training half is "
    "used; the official split needs both, and a random split of one half is another protocol"
)
_PICTURES = (".gif", ".png", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Photograph(Case):
    """One photograph, with its field of view and, in the test half, a second observer.

    Attributes:
        fov: File of the field of view.
        second: File of the second observer's label, if there is one.
    """

    fov: Path = Path()
    second: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every source file that decides what is read by default."""
        return (self.image, *self.labels, self.fov)

    def read_label(self, observer: int = 1) -> np.ndarray:
        """Return the classes, (H, W) uint8: 0 background, 1 vessel.

        Args:
            observer: 1, the standard; 2, a second person, for the test half alone.

        Raises:
            DataError: As for any case; or there is no label by the second observer.
            ValueError: There is no such observer.
        """
        if observer == 1:
            return super().read_label()
        if observer != 2:
            raise ValueError(f"drive, case {self.id}: observer must be 1 or 2, got {observer!r}")
        if self.second is None:
            raise DataError(f"drive, case {self.id}: no label by observer 2; only test/2nd_manual has such")
        return files.binary(self._sized(self.second, self.shape))

    def read_mask(self) -> np.ndarray:
        """Return the field of view, (H, W) bool."""
        inside = files.binary(self._sized(self.fov, self.shape)).astype(bool)
        if not inside.any():
            raise DataError(f"{self.fov}: the field of view is empty, expected where the eye is. Get the file again.")
        return inside


def find(root: Path, *, exclude: Collection[str] = ()) -> Listing:
    """List the labelled photographs below ``root`` but for ``exclude``, by their numbers: the test half first."""
    faults = Faults(exclude)
    bare = not visible(root / "test" / "1st_manual", *_PICTURES)
    halves = [_half(root / part, faults) for part in (("training",) if bare else ("test", "training"))]
    faults.refuse("drive", root)
    remarks = (_NO_TEST_LABELS,) if bare else ()
    return Listing([case for half in halves for case in half], remarks, faults.excluded)


def _half(folder: Path, faults: Faults) -> list[Case]:
    """Return the photographs of one half."""
    images, labels, masks, second = (
        faults.by_case(visible(folder / name, *_PICTURES), lambda path: path.stem.split("_")[0])
        for name in ("images", "1st_manual", "mask", "2nd_manual")
    )
    faults.partners(f"{folder.name}/1st_manual", images, labels)
    faults.partners(f"{folder.name}/mask", images, masks)
    faults.partners(f"{folder.name}/images", labels | masks | second, images)
    return [
        Photograph(
            id=number,
            image=image,
            labels=(labels[number],),
            group=number,
            part=folder.name,
            fov=masks[number],
            second=second.get(number),
        )
        for number, image in images.items()
        if number in labels and number in masks
    ]
