"""Random changes of training samples: ``draw`` decides, ``apply`` carries out.

A ``Draw`` is plain data: what happens to one sample, and where in its case it lies. Elastic deformation, rotation and
scaling are one map, so that a sample is interpolated at most once; most samples are not, and are copied.

The transforms, their order and their distributions are those of MIScnn 1.4.0 with batchgenerators 0.25, after Yeung et
al.; but samples are read from the whole case, also where they end at the border of a patch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from rareseg.pipeline import _spline
from rareseg.pipeline._field import displacement
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Augment, Range, Settings

UNLABELLED = 255  # label of a voxel without a class, whose one-hot row is zero
OFF = Augment(
    mirror_axes=(), scale=None, rotate=None, elastic_alpha=None, brightness=None, contrast=None, gamma=None, noise=None
)
REACH = 0.7  # of half a sample; a voxel so far out mostly stays inside if scaled by 0.85 and turned by 15 degrees


@dataclass(frozen=True, slots=True)
class Elastic:
    """A smooth random displacement: factor, standard deviation of the filter in voxels, seed of the noise."""

    alpha: float
    sigma: float
    seed: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Normal noise: standard deviation and seed."""

    sd: float
    seed: int


@dataclass(frozen=True, slots=True)
class Draw:
    """What happens to one sample.

    Args:
        flips: Whether each axis is mirrored.
        position: Of the sample in the mirrored case, in voxels: its first voxel or, where it is interpolated, its
            centre.
        elastic: Displacement; None: none.
        angles: Radians, one in 2D, about each axis in 3D; None: not rotated.
        scale: Factor of the coordinates; None: not scaled.
        contrast: Factor per channel; None: none, and so for what follows.
        brightness: Factor per channel.
        gamma: Exponent per channel.
        noise: Noise.
    """

    flips: tuple[bool, ...]
    position: tuple[float, ...]
    elastic: Elastic | None = None
    angles: tuple[float, ...] | None = None
    scale: float | None = None
    contrast: tuple[float, ...] | None = None
    brightness: tuple[float, ...] | None = None
    gamma: tuple[float, ...] | None = None
    noise: Noise | None = None

    @property
    def interpolated(self) -> bool:
        """Whether voxels of the sample lie between voxels of the case."""
        return not (self.elastic is None and self.angles is None and self.scale is None)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a sample may lie.

    Args:
        shape: Voxels per axis of the case.
        patch: Voxels per axis of the sample.
        corner: First voxel in the case; None: drawn.
        foreground: Coordinates of foreground for each class present, each (n, dimensions), to draw a position about.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    corner: tuple[int, ...] | None = None
    foreground: Sequence[np.ndarray] = ()


def draw(settings: Settings, random: np.random.Generator, site: Site, channels: int) -> Draw:
    """Decide what happens to a sample; a function of its arguments alone.

    Args:
        settings: ``augment``, ``crop_range`` and ``foreground`` are used.
        random: Source of the numbers.
        site: Where the sample may lie.
        channels: Channels of the image.
    """
    augment, dimensions = settings.augment, len(site.shape)
    if augment is None:
        return Draw((False,) * dimensions, _position(settings, random, site, (False,) * dimensions, False))
    mirrored = random.random() < augment.mirror_probability
    axes = augment.mirrored(dimensions) if mirrored else ()
    flips = tuple(axis in axes and bool(random.random() < 0.5) for axis in range(dimensions))

    def drawn(values: "Range | None") -> "Range | None":  # quoted, as it would be evaluated for each sample
        return values if values is not None and random.random() < augment.p else None

    def per_channel(values: "Range | None", one: "Callable[..., float]") -> "tuple[float, ...] | None":
        return tuple(one(random, values) for _ in range(channels)) if drawn(values) else None

    contrast = per_channel(augment.contrast, _about_one)
    brightness = per_channel(augment.brightness, _uniform)
    gamma = per_channel(augment.gamma, _about_one)
    noise, elastic, angles, scale = None, None, None, None
    if values := drawn(augment.noise):
        noise = Noise(_uniform(random, values), _seed(random))
    if values := drawn(augment.elastic_alpha):
        elastic = Elastic(_uniform(random, values), _uniform(random, augment.elastic_sigma), _seed(random))
    if values := drawn(augment.rotate):
        about = range(3) if augment.rotate_axes is None or dimensions == 2 else augment.rotate_axes
        axes = range(3 if dimensions == 3 else 1)
        angles = tuple(math.radians(_uniform(random, values)) if axis in about else 0.0 for axis in axes)
    if values := drawn(augment.scale):
        scale = _about_one(random, values)
    placeless = Draw(flips, (), elastic, angles, scale, contrast, brightness, gamma, noise)
    return replace(placeless, position=_position(settings, random, site, flips, placeless.interpolated))


def _uniform(random: np.random.Generator, values: Range) -> float:
    return values[0] + (values[1] - values[0]) * random.random()


def _about_one(random: np.random.Generator, values: Range) -> float:
    """Draw below and above 1 equally often, where the range has both."""
    low, high = values
    if low < 1 < high:
        low, high = (low, 1) if random.random() < 0.5 else (1, high)
    return _uniform(random, (low, high))


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(2**63))


def _position(
    settings: Settings, random: np.random.Generator, site: Site, flips: Sequence[bool], interpolated: bool
) -> tuple[float, ...]:
    """Draw a position in the mirrored case: first voxel, or centre where the sample is interpolated."""
    voxel = _foreground(settings, random, site)
    position = []
    for axis, (length, patch, flip) in enumerate(zip(site.shape, site.patch, flips, strict=True)):
        room, middle = length - patch, (patch - 1) / 2
        if site.corner is not None:
            first = room - site.corner[axis] if flip else site.corner[axis]
            position.append(first + middle if interpolated else first)
        elif voxel is not None:
            place = length - 1 - voxel[axis] if flip else voxel[axis]
            position.append(_centre_near(place, length, patch) if interpolated else _start_near(place, length, patch))
        elif interpolated and settings.crop_range == "miscnn":
            position.append(_uniform(random, (patch // 2, length - patch // 2)))
        elif room <= 0:  # the case lies in the middle of the sample
            position.append((length - 1) / 2 if interpolated else room // 2)
        elif interpolated:
            position.append(_uniform(random, (0, room)) + middle)
        else:
            position.append(int(random.integers(room + (settings.crop_range == "full"))))
    return tuple(position)


def _foreground(settings: Settings, random: np.random.Generator, site: Site) -> list[int] | None:
    """Draw, for the set share of samples, a class, then a voxel of it about which the sample is to lie."""
    if site.corner is not None or not site.foreground or random.random() >= settings.foreground:
        return None
    places = site.foreground[int(random.integers(len(site.foreground)))]
    return places[random.integers(len(places))].tolist()


def _start_near(place: int, length: int, patch: int) -> int:
    """Return where a sample starts that has a voxel in its middle, or as near to it as the case's border allows."""
    room = length - patch
    return min(max(place - patch // 2, 0), room) if room > 0 else room // 2


def _centre_near(place: int, length: int, patch: int) -> float:
    """Return the centre of such a sample that is interpolated, and seldom turned or scaled beyond the voxel."""
    middle = (patch - 1) / 2
    centre = min(max(place, middle), length - 1 - middle) if length > patch else (length - 1) / 2
    return min(max(centre, place - REACH * middle), place + REACH * middle)


class Source(Protocol):
    """What a sample is read from: a prepared case, of which these are used."""

    @property
    def image(self) -> np.ndarray:
        """Intensities, (*space, C), float32."""
        ...

    @property
    def label(self) -> np.ndarray:
        """Classes, (*space), uint8."""
        ...

    @property
    def coefficients(self) -> np.ndarray:
        """Of the cubic B-spline, (C, *space), float32."""
        ...

    @property
    def statistics(self) -> np.ndarray:
        """Least, greatest and mean intensity of each channel, (3, C)."""
        ...


def apply(
    draw: Draw,
    source: Source,
    settings: Settings,
    image: np.ndarray,
    label: np.ndarray,
    field: np.ndarray | None = None,
) -> None:
    """Make a sample: read it from its case, moved, mirrored and recoloured; a function of its arguments alone.

    Contrast, gamma and noise differ from MIScnn's, which change the whole case before it is cropped and interpolated:
    here they change the sample. Contrast is about the case's mean, contrast and gamma keep within its least and
    greatest intensity; but mean and deviation that gamma gives back are the sample's. In whole images that are not
    interpolated they are equal.

    Args:
        draw: What happens.
        source: The case.
        settings: ``outside`` and ``fill`` are used.
        image: Filled with intensities, (*patch, C), float32.
        label: Filled with classes, (*patch), uint8; 255 where there is none.
        field: Displacement to use instead of the drawn one, (dimensions, *patch), float32, in voxels.
    """
    if draw.interpolated:
        if field is None and draw.elastic is not None:
            random = generator(draw.elastic.seed, "field")
            field = displacement(label.shape, draw.elastic.alpha, draw.elastic.sigma, random)
        matrix, shift = _map(draw, source.label.shape, label.shape)
        border = (settings.outside == "reflect", *_outside(source, settings))
        _warp()(source.coefficients, source.label, matrix, shift, field, *border, image, label)
    else:
        _copy(draw, source, settings, image, label)
    _recolour(draw, source.statistics, image)


def _outside(source: Source, settings: Settings) -> tuple[np.ndarray, int]:
    """Return the intensity of each channel, and the label, where there is no image."""
    fill = source.statistics[0] if settings.fill == "minimum" else np.zeros(source.statistics.shape[1])
    return fill.astype(np.float32), UNLABELLED if settings.outside == "unlabelled" else 0


@lru_cache(maxsize=1)
def _warp() -> Callable[..., None]:
    """Return the kernel, by numba where it is installed."""
    try:
        from rareseg.pipeline import _kernels  # here: numba takes longer to import than the command line may take
    except ModuleNotFoundError as fault:
        if fault.name not in ("numba", "llvmlite"):  # an installation that is broken, not one without numba
            raise
        return _spline.warp
    return _kernels.warp


def _map(draw: Draw, shape: Sequence[int], patch: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix A and shift b of the places y = A (x + field(x)) + b of a sample's voxels x in the case.

    With u = x - (patch - 1) / 2 and the rotation M, y = scale M^T (u + field) + centre, and y -> N - 1 - y along
    flipped axes: batchgenerators multiplies rows of coordinates from the left, hence the transpose.
    """
    matrix = np.eye(len(shape)) if draw.angles is None else rotation(draw.angles).T
    matrix *= 1.0 if draw.scale is None else draw.scale
    shift = draw.position - matrix @ ((np.asarray(patch) - 1) / 2)
    for axis in np.flatnonzero(draw.flips).tolist():
        matrix[axis] *= -1
        shift[axis] = shape[axis] - 1 - shift[axis]
    return matrix, shift


def rotation(angles: Sequence[float]) -> np.ndarray:
    """Return the matrix of a rotation: by one angle in 2D, Rx Ry Rz in 3D, radians; axis 0 is the array's first."""
    if len(angles) == 1:
        cos, sin = np.cos(angles[0]), np.sin(angles[0])
        return np.array([[cos, -sin], [sin, cos]])
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _copy(draw: Draw, source: Source, settings: Settings, image: np.ndarray, label: np.ndarray) -> None:
    """Copy a sample whose voxels are voxels of the case, or lie outside it."""
    shape, patch = source.label.shape, label.shape
    if any(draw.flips):
        turned = tuple(slice(None, None, -1) if flip else slice(None) for flip in draw.flips)
        image, label = image[turned], label[turned]  # from here on in the direction of the case
    starts = [int(first) for first in draw.position]
    for axis, flip in enumerate(draw.flips):
        if flip:
            starts[axis] = shape[axis] - patch[axis] - starts[axis]
    inner = tuple(
        [slice(max(starts[axis], 0), min(starts[axis] + patch[axis], shape[axis])) for axis in range(len(shape))]
    )
    if all(part.stop - part.start == size for part, size in zip(inner, patch, strict=True)):
        image[...], label[...] = source.image[inner], source.label[inner]
    elif settings.outside == "reflect":
        places = np.ix_(*map(reflected, starts, patch, shape))
        image[...], label[...] = source.image[places], source.label[places]
    else:
        image[...], label[...] = _outside(source, settings)
        there = tuple(slice(part.start - start, part.stop - start) for part, start in zip(inner, starts, strict=True))
        image[there], label[there] = source.image[inner], source.label[inner]


def reflected(start: int, size: int, length: int) -> np.ndarray:
    """Return places of ``size`` voxels from ``start`` on, mirrored about the first and the last of ``length``."""
    places = np.abs(np.arange(start, start + size)) % max(2 * length - 2, 1)
    return np.minimum(places, np.abs(2 * length - 2 - places))


def _recolour(draw: Draw, statistics: np.ndarray, image: np.ndarray) -> None:
    """Change intensities in place, contrast first, channel by channel, as MIScnn does."""
    if draw.contrast is draw.brightness is draw.gamma is draw.noise is None:
        return
    low, high, mean = statistics.astype(np.float32)
    if draw.contrast is not None:
        factor = np.array(draw.contrast, np.float32)
        image -= mean
        image *= factor
        image += mean
        np.clip(image, low, high, out=image)
        low, high = (np.clip((end - mean) * factor + mean, low, high) for end in (low, high))
    if draw.brightness is not None:
        factor = np.array(draw.brightness, np.float32)
        image *= factor
        low, high = low * factor, high * factor
    if draw.gamma is not None:
        _bend(image, np.array(draw.gamma, np.float32), low, high)
    if draw.noise is not None and draw.noise.sd > 0:
        image += np.float32(draw.noise.sd) * generator(draw.noise.seed, "noise").standard_normal(
            image.shape, np.float32
        )


def _bend(image: np.ndarray, gamma: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Raise intensities between ``low`` and ``high`` to a power, then give each channel its mean and deviation back.

    Those of the sample: what the power makes of the whole case's is not known here, and a sample that had its case's
    mean would no longer be a dark or a bright part of it.
    """
    space = tuple(range(image.ndim - 1))
    mean, sd = image.mean(axis=space), image.std(axis=space)
    image -= low
    image /= high - low + np.float32(1e-7)
    np.power(np.maximum(image, 0, out=image), gamma, out=image)
    image -= image.mean(axis=space)
    image *= sd / (image.std(axis=space) + np.float32(1e-8))
    image += mean
