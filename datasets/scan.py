"""`Scan`: a case of three dimensions, an image and a label in NIfTI files that share a grid."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.datasets import volumes
from rareseg.datasets.case import Case, Check, Place
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import by

_NEAR = 1e-3  # millimetres by which affines of image and label may differ without a word


@dataclass(frozen=True, eq=False)
class Scan(Case):
    """One volume with its label; arrays are (D, H, W), whatever the order of the file's axes.

    Attributes:
        axes: Which axis of the file each axis of the arrays is; ``None``: D is the one nearest to inferior-superior, H
            to anterior-posterior, W to left-right. Axes are never flipped.
        classes: Value in the label file -> class.
        hints: Other value -> what it may stand for, a sentence.
    """

    axes: tuple[int, ...] | None = None
    classes: Mapping[int, int] = field(default_factory=dict)
    hints: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def image_header(self) -> volumes.Header:
        """What the image file says of itself."""
        return volumes.header(self.image)

    @cached_property
    def label_header(self) -> volumes.Header:
        """What the label file says of itself."""
        return volumes.header(self.labels[0])

    @property
    def grid(self) -> volumes.Header:
        """The header that decides shape, spacing and affine: the image's."""
        return self.image_header

    @property
    def order(self) -> tuple[int, ...]:
        """Which axis of the file each axis of the arrays is."""
        return self.axes or volumes.anatomical(self.grid.affine)

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W) from the header."""
        return tuple(self.grid.shape[axis] for axis in self.order)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per axis, (D, H, W)."""
        return tuple(self.grid.spacing[axis] for axis in self.order)

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices in the file's axes -> the file's own unit, (4, 4)."""
        return self.grid.affine

    @property
    def reading(self) -> tuple[Any, ...]:
        """The order of the axes and the classes of the values."""
        return (self.axes, sorted(self.classes.items()))

    def read_image(self) -> np.ndarray:
        """Return the image as stored, (D, H, W, 1), integers or float32, unscaled."""
        return volumes.read(self.image_header).transpose(self.order)[..., None]

    def read_label(self) -> np.ndarray:
        """Return the classes, (D, H, W) uint8."""
        return volumes.joined(self._class_slabs(), self.grid.shape, np.uint8).transpose(self.order)

    def image_slabs(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield the image part by part: where it goes in (D, H, W), and its values as `read_image` has them."""
        for where, values in self._image_slabs():
            yield self._place(where), values.transpose(self.order)[..., None]

    def label_slabs(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield the label part by part, likewise."""
        for where, found in self._class_slabs():
            yield self._place(where), found.transpose(self.order)

    def _place(self, where: slice) -> Place:
        """Return the index in (D, H, W) of a slab along the file's last axis."""
        return tuple(where if axis == 2 else slice(None) for axis in self.order)

    def write_label(self, path: Path, label: np.ndarray, text: str = "") -> None:
        """Write classes on the grid of the case's own files, whole or not at all, with axes and header of the image.

        Args:
            path: Ends in ``.nii`` or ``.nii.gz``.
            label: Classes, (D, H, W), 0 to 255.
            text: Description; empty is the id.
        """
        classes = self._writable(path, label, volumes.SUFFIXES).transpose(np.argsort(self.order))
        volumes.write(path, classes, self.affine, text or self.id, like=self.grid.path)

    def read_written(self, path: Path) -> np.ndarray:
        """Return the classes that ``write_label`` wrote, (D, H, W) uint8."""
        head = volumes.header(path)
        return volumes.joined(volumes.slabs(head), head.shape, head.given).transpose(self.order)

    def check(self) -> Check:
        """Read everything slab by slab and return what was found; bad files raise `DataError`."""
        counts = sum(
            (np.bincount(found.ravel(order="K"), minlength=256) for _, found in self._class_slabs()), np.zeros(256, int)
        )
        digest = blake2b(digest_size=16)
        for _, values in self._image_slabs():
            digest.update(values.tobytes("F"))
        return Check(
            case=self,
            shape=(*self.shape, 1),
            dtype=self._image_type(),
            counts=np.trim_zeros(counts, "b"),
            kind="",
            inside=None,
            warnings=tuple(f"{self.id}: {text}" for text in self._grid_oddities()),
            digest=digest.hexdigest() if self._image_type() else "",
        )

    def _labelled(self) -> volumes.Header:
        """Return the label's header, whose grid must be the image's."""
        mine, other = self.grid, self.label_header
        if mine.shape != other.shape:
            raise DataError(
                f"{other.path}: {by(other.shape)} voxels, but its image {mine.path.name} is {by(mine.shape)}. "
                f"Correct the pair or list case {self.id} under `exclude`."
            )
        return other

    def _class_slabs(self) -> Iterator[volumes.Slab]:
        return volumes.class_slabs(self._labelled(), self.classes, self.hints)

    def _image_slabs(self) -> Iterator[volumes.Slab]:
        return volumes.image_slabs(self.image_header)

    def _image_type(self) -> str:
        """Return the type of the image's values; empty where there is no image."""
        return str(self.image_header.given)

    def _grid_oddities(self) -> Iterator[str]:
        """Yield what is odd but legal."""
        mine, other = (head.affine[:3] * head.unit for head in (self.grid, self.label_header))
        apart = float(np.abs(mine - other).max())
        if apart > _NEAR:
            yield f"the affines of image and label differ by up to {apart:.3g} mm; voxels are paired by their index"
