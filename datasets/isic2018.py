"""ISIC 2018 challenge, Task 1: skin lesions in dermoscopic photographs.

::

    ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg
    ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png

Numbers have gaps. The files carry no list of lesions or patients, so every image is its own group. The official
validation and test sets, which neither paper uses, may lie beside and stay out.
"""

import re
from collections.abc import Collection
from pathlib import Path

from rareseg.datasets.case import About, Case, Listing
from rareseg.datasets.listing import Faults, visible

IMAGES, MASKS = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"

ABOUT = About(
    title="ISIC 2018 challenge, Task 1 (skin lesions, dermoscopy)",
    cases=2594,
    classes=("background", "lesion"),
    channels=3,
    where="https://challenge.isic-archive.com, 2018, Task 1, training data and ground truth (about 11 GB)",
    terms="CC0",
    markers=(IMAGES, MASKS),
    layout=(f"{IMAGES}/ISIC_0000000.jpg", f"{MASKS}/ISIC_0000000_segmentation.png"),
)


def find(root: Path, *, exclude: Collection[str] = ()) -> Listing:
    """List the training pairs below ``root``, but for those of ``exclude``."""
    faults = Faults(exclude)
    images = faults.by_case(visible(root / IMAGES, ".jpg", ".jpeg"), lambda path: path.stem)
    masks = faults.by_case(visible(root / MASKS, ".png"), _case_of_mask)
    faults.partners("mask", images, masks)
    faults.partners("image", masks, images)
    faults.refuse("isic2018", root)
    cases = [
        Case(id=identity, image=path, labels=(masks[identity],), group=identity) for identity, path in images.items()
    ]
    return Listing(cases, _others(root), faults.excluded)


def _case_of_mask(path: Path) -> str:
    """Return the case id; the archives' own text spells the suffix ``_Segmentation``."""
    return re.sub("_segmentation$", "", path.stem, flags=re.IGNORECASE)


def _others(root: Path) -> tuple[str, ...]:
    """Say which official sets lie beside the training set."""
    names = [folder.name for folder in visible(root) if re.search("_(Validation|Test)_", folder.name)]
    return (f"not used, as in both papers: {', '.join(names)}",) if names else ()
