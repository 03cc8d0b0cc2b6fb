"""Data Science Bowl 2018, stage1_train: cell nuclei from several microscopes.

::

    stage1_train/<64 hex digits>/images/<the same 64 digits>.png     RGBA
    stage1_train/<64 hex digits>/masks/<any name>.png                one file per nucleus

The label is the union of the masks, so nuclei that touch merge; their number stays in ``case.info["objects"]``.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from rareseg.datasets.case import About, Case, Listing
from rareseg.datasets.listing import Faults, some, visible

FOLDER = "stage1_train"

ABOUT = About(
    title="Data Science Bowl 2018, stage1_train (cell nuclei)",
    cases=670,
    classes=("background", "nucleus"),
    channels=3,
    where="https://www.kaggle.com/c/data-science-bowl-2018 or https://bbbc.broadinstitute.org/BBBC038 (stage1_train)",
    terms="CC0",
    markers=(FOLDER,),
    layout=(f"{FOLDER}/<id>/images/<id>.png", f"{FOLDER}/<id>/masks/<any name>.png"),
    remarks=("resizing to a square distorts 520 x 696 and leaves nuclei of 1024 x 1024 with 2 to 4 pixels",),
)

BAD = ("12aeefb1", "19f0653c", "74a77855", "7b38c917", "adc315bd", "c304a1fd")
"""First digits of the ids that a public correction of the annotations removed; left out on request only."""


class Field(Case):
    """One field of view of a microscope."""

    def kind(self, image: np.ndarray) -> str:
        """Return the sort of picture: ``"grey, dark"`` (fluorescence), ``"colour, bright"`` (stained tissue), ..."""
        colour = "colour" if np.ptp(image, axis=2).any() else "grey"
        return f"{colour}, {'bright' if image.mean() > 127 else 'dark'}"


def find(root: Path, *, exclude: Collection[str] = (), corrections: Literal["drop_bad"] | None = None) -> Listing:
    """List the fields below ``root``.

    Args:
        root: Folder that holds ``stage1_train``.
        exclude: Ids of cases that are passed over.
        corrections: ``"drop_bad"`` leaves out the six images of `BAD`.
    """
    if corrections not in (None, "drop_bad"):
        raise ValueError(f"corrections must be drop_bad or absent, got {corrections!r}")
    faults = Faults(exclude)
    folders = {folder.name: folder for folder in visible(root / FOLDER) if faults.counts(folder.name)}
    images = {name: visible(folder / "images", ".png") for name, folder in folders.items()}
    masks = {name: visible(folder / "masks", ".png") for name, folder in folders.items()}
    _note_what_lacks(images, masks, faults)
    faults.refuse("dsb2018", root)
    bad = [name for name in folders if corrections and name.startswith(BAD)]
    cases = [_field(name, images[name][0], masks[name]) for name in folders if name not in bad]
    left_out = dict.fromkeys(bad, "annotation known to be wrong (corrections: drop_bad)")
    return Listing(cases, left_out=left_out | faults.excluded)


def _field(name: str, image: Path, masks: list[Path]) -> Field:
    return Field(id=name, image=image, labels=tuple(masks), group=name, info={"objects": len(masks)})


def _note_what_lacks(images: Mapping[str, list[Path]], masks: Mapping[str, list[Path]], faults: Faults) -> None:
    """Note what the folders lack: an image named as its folder, and at least one mask."""
    faults.partners("image", images, {name: found for name, found in images.items() if found})
    faults.partners("mask", masks, {name: found for name, found in masks.items() if found})
    odd = [name for name, found in images.items() if found and [path.stem for path in found] != [name]]
    if odd:
        faults.append(f"folders whose images/ should hold one file of the same name, and does not: {some(odd)}")
