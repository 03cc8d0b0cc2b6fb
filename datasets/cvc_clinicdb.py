"""CVC-ClinicDB: polyps in frames of colonoscopy videos.

::

    Original/1.tif ... 612.tif        RGB, but tagged as grey, which Pillow refuses
    Ground Truth/1.tif ... 612.tif    grey; some masks have many values, so they are cut at 128

Copies as PNG (``PNG/Original/1.png``) or JPEG are read, too. Frames of one sequence show one polyp and are a group.
"""

from bisect import bisect_right
from collections.abc import Collection
from pathlib import Path

from rareseg.datasets.case import About, Case, Listing
from rareseg.datasets.listing import Faults, some, visible

IMAGES, MASKS = "Original", "Ground Truth"
COPIES = ("", "PNG/", "TIF/", "TIFF/")
"""Where the two folders may lie below the root."""

ABOUT = About(
    title="CVC-ClinicDB (polyps, colonoscopy)",
    cases=612,
    classes=("background", "polyp"),
    channels=3,
    where="https://polyp.grand-challenge.org/CVCClinicDB (Bernal et al. 2015)",
    terms="research and education only",
    markers=tuple("|".join(f"{copy}{folder}" for copy in COPIES) for folder in (IMAGES, MASKS)),
    layout=(f"{IMAGES}/1.tif", f"{MASKS}/1.tif"),
    remarks=(
        "frames of one sequence show one polyp; a random split puts them on both sides, `group_by: sequence` does not",
    ),
)

STARTS = (1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298)
STARTS += (318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592)
"""First frame of each sequence, from published code; the masks agree. Which sequences share a patient is unknown."""
LAST = 612

_PICTURES = (".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg")


def sequence(frame: int) -> int:
    """Return the number of the sequence, 1 to 29, that a frame, 1 to 612, belongs to."""
    return bisect_right(STARTS, frame)


def find(root: Path, *, exclude: Collection[str] = ()) -> Listing:
    """List the frames below ``root``, but for those of ``exclude``."""
    base = next(root / copy for copy in COPIES if (root / copy / IMAGES).is_dir())
    faults = Faults(exclude)
    images, masks = (
        faults.by_case(visible(base / folder, *_PICTURES), lambda path: path.stem) for folder in (IMAGES, MASKS)
    )
    faults.partners("mask", images, masks)
    faults.partners("image", masks, images)
    odd = [name for name in images if not (name.isdecimal() and 1 <= int(name) <= LAST)]
    if odd:
        faults.append(f"frames whose name is no number from 1 to {LAST}: {some(odd)}")
    faults.refuse("cvc_clinicdb", root)
    cases = [_frame(name, image, masks[name]) for name, image in images.items()]
    return Listing(cases, left_out=faults.excluded)


def _frame(name: str, image: Path, mask: Path) -> Case:
    number = sequence(int(name))
    return Case(id=name, image=image, labels=(mask,), group=f"sequence {number:02d}", info={"sequence": number})
