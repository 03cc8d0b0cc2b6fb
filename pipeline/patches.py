"""Patches, drawn at random for training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rareseg.datasets import DataError
from rareseg.datasets.listing import by
from rareseg.pipeline.preprocess import Prepared, prepare
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Settings
from rareseg.pipeline.stitching import box


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A window of a prepared case that behaves like a case; it holds no pixels, so there may be very many.

    Args:
        source: The prepared case.
        number: Place among the patches drawn from this source.
        corner: First pixel along each axis of the source.
        shape: Pixels per axis.
    """

    source: Prepared
    number: int
    corner: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def id(self) -> str:
        """The source's id and the number: 21-003517."""
        return f"{self.source.id}-{self.number:06d}"

    @property
    def group(self) -> str:
        """The group of the source: patches of one image belong together."""
        return self.source.group

    @property
    def part(self) -> str:
        """The official part of the data set that the source stands in."""
        return self.source.part

    @property
    def info(self) -> Mapping[str, Any]:
        """The facts of the source."""
        return self.source.info

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """The spacing of the source, mm per axis."""
        return self.source.spacing

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.source.channels

    @property
    def original_shape(self) -> tuple[int, ...]:
        """The patch's own shape: it is cut from the network's grid and has no other."""
        return self.shape

    @property
    def place(self) -> tuple[slice, ...]:
        """Where the patch lies in its source.

        Raises:
            DataError: It reaches beyond, as the window of a grid over a case that is smaller.
        """
        if min(self.corner) < 0:
            raise DataError(
                f"{self.id}: a window of {by(self.shape)} reaches beyond its case of {by(self.source.shape)}, which "
                "only batches of backend native fill; set a smaller patch, or that backend"
            )
        return box(self.corner, self.shape)

    def read_image(self) -> np.ndarray:
        """Return the scaled intensities, shape (*space, C), float32."""
        return self.source.image[self.place]

    def read_label(self) -> np.ndarray:
        """Return the classes, shape (*space), uint8."""
        return self.source.label[self.place]

    def read_mask(self) -> np.ndarray | None:
        """Return the field of view, shape (*space), bool; None where the source has none."""
        mask = self.source.mask
        return None if mask is None else mask[self.place]


Sample = Prepared | Patch


def sample(case: Any, settings: Settings) -> Sample:
    """Return what has arrays ready for a network: patches and prepared cases as they are, other cases prepared."""
    return case if isinstance(case, Patch) else prepare(case, settings)


def draw_patches(cases: Sequence[Any], settings: Settings | Mapping[str, Any], seed: int) -> list[Patch]:
    """Draw ``patches.count`` patches, evenly over the cases, most with their centre inside the field of view.

    Source: Kaul et al. (200,000 patches of DRIVE, mostly inside the field of view with some at its edge). A patch that
    would reach over the border of the image is pushed back inside. What is drawn from a case depends on the seed, on
    its place among the cases, and on how many are drawn.

    Args:
        cases: Cases, prepared or not; prepared here, on the network's grid.
        settings: ``patch`` and ``patches`` are used, and what ``prepare`` uses.
        seed: Seed of the draw.

    Returns:
        Patches, case by case; the number of one case differs by at most 1 from that of any other.

    Raises:
        ValueError: A setting is not possible, or ``patch`` or ``patches`` is missing.
        DataError: A case cannot be prepared, is smaller than a patch, or has an empty field of view.
    """
    settings = Settings.of(settings)
    if settings.patch is None or settings.patches is None:
        raise ValueError("draw_patches needs the settings `patch` and `patches`, e.g. [48, 48] and {count: 200000}")
    drawn = []
    for index, case in enumerate(cases):
        share = (settings.patches.count + index) // len(cases)  # the floors of all cases add up to the count
        source = prepare(case, settings)
        corners = _corners(
            source, settings.patch, share, settings.patches.inside_fov, generator(seed, "patches", index)
        )
        drawn += [Patch(source, number, corner, settings.patch) for number, corner in enumerate(corners)]
    return drawn


def _corners(
    source: Prepared, patch: tuple[int, ...], count: int, inside: float, random: np.random.Generator
) -> list[tuple[int, ...]]:
    """Draw the first pixels of ``count`` patches, a share ``inside`` of which has its centre in the field of view."""
    if len(source.shape) != len(patch) or any(np.greater(patch, source.shape)):
        raise DataError(f"{source.id}: patches of {list(patch)} do not fit into an image of {list(source.shape)}")
    size = int(np.prod(source.shape))
    field = np.arange(size) if source.mask is None else np.flatnonzero(source.mask)
    if not field.size:
        raise DataError(f"{source.id}: the field of view is empty, so no patch can be drawn inside it")
    within = round(inside * count)
    centres = np.concatenate([random.choice(field, within), random.integers(size, size=count - within)])
    random.shuffle(centres)
    first = np.stack(np.unravel_index(centres, source.shape), axis=-1) - np.floor_divide(patch, 2)
    return [tuple(corner) for corner in first.clip(0, np.subtract(source.shape, patch)).tolist()]
