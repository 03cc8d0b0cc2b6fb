"""The steps that are the same in every epoch: size, channels, intensities; done once per case and kept.

Nothing here is random and nothing knows a data set. The inverse for predictions, ``to_original``, stands beside them.
What augmentation needs of a case, ``coefficients`` and ``foreground``, is made when first asked for and kept likewise.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from rareseg.datasets import DataError
from rareseg.datasets.case import with_kind
from rareseg.datasets.facts import cache_folder
from rareseg.datasets.listing import by
from rareseg.pipeline import _spline, cache, resize
from rareseg.pipeline.memory import Budget
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Settings

FORMAT = 5  # of stored cases; raise it when the steps below give other numbers
STEPS = ("size", "spacing", "clip", "scaling", "channels")  # settings that decide how a case is prepared
TINY = 1e-6  # keeps constant images finite; MIScnn adds it above and below the fraction too
FOREGROUND = 10_000  # coordinates kept of each class of a case
BLOCK = 2**24  # values taken at once where sums need float64, of which a scan would fill 2 GB

_MEMORY = Budget(2**30)  # bytes; KiTS19's largest scan needs a quarter of it, at its published spacing

Part = tuple[tuple[slice, ...], np.ndarray]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the network's grid, readable like the case it comes from.

    Args:
        id: As in the case, and so are ``group`` and ``part``.
        spacing: Millimetres per axis between the voxels of the network's grid; None in 2D.
        info: Facts of the case, and its ``kind`` where the data set has several.
        arrays: ``image``, ``label`` and, where there is one, ``mask``: arrays, or the files that hold them; what is
            derived from them joins them.
        shape: Pixels per axis.
        channels: Channels of the image.
        original_shape: Pixels per axis before resizing.
        digest: SHA-256 of the arrays.
        original: The case that was prepared.
        statistics: Least, greatest and mean intensity of each channel, (3, C).
    """

    id: str
    group: str
    part: str
    spacing: tuple[float, ...] | None
    info: Mapping[str, Any]
    arrays: dict[str, np.ndarray | Path]
    shape: tuple[int, ...]
    channels: int
    original_shape: tuple[int, ...]
    digest: str
    statistics: np.ndarray
    original: Any = None

    @property
    def image(self) -> np.ndarray:
        """Scaled intensities, shape (*space, C), float32."""
        return self._array("image")

    @property
    def label(self) -> np.ndarray:
        """Classes, shape (*space), uint8."""
        return self._array("label")

    @property
    def mask(self) -> np.ndarray | None:
        """Where the image means something (field of view), shape (*space), bool; None where the case states none."""
        return self._array("mask") if "mask" in self.arrays else None

    @property
    def coefficients(self) -> np.ndarray:
        """Of the image's cubic B-spline, shape (C, *space), float32; made when first asked for."""
        return self._derived("coefficients", lambda: _spline.prefilter(self.image))

    @property
    def foreground(self) -> list[np.ndarray]:
        """Coordinates of voxels of each class but 0 that the case holds, each (n, dimensions), n at most 10,000."""
        stored = self._derived("foreground", lambda: _foreground(self.label))
        ends = np.flatnonzero(np.diff(stored[:, 0])) + 1
        return [part[:, 1:] for part in np.split(stored, ends) if len(part)]

    def read_image(self) -> np.ndarray:
        """Return ``image``."""
        return self.image

    def read_label(self) -> np.ndarray:
        """Return ``label``."""
        return self.label

    def read_mask(self) -> np.ndarray | None:
        """Return ``mask``."""
        return self.mask

    @property
    def source(self) -> Self:
        """The prepared case whose arrays hold this sample: itself."""
        return self

    @property
    def corner(self) -> tuple[int, ...]:
        """First pixel along each axis of the source."""
        return (0,) * len(self.shape)

    def _array(self, name: str) -> np.ndarray:
        held = self.arrays[name]
        return cache.open_array(held) if isinstance(held, Path) else held

    def _derived(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return an array that is made of the others once: beside their files, or in memory where they are."""
        if name not in self.arrays:
            image = self.arrays["image"]
            if isinstance(image, Path):
                with _cache_faults(image.parent):
                    self.arrays[name] = cache.beside(image, name, make)
            else:
                self.arrays[name] = make()
        return self._array(name)


def prepare(case: Any, settings: Settings | Mapping[str, Any], folder: Path | None = None) -> Prepared:
    """Bring a case to the network's grid and scale, or find it in the cache.

    Args:
        case: A case of ``rareseg.datasets``; one that is prepared already comes back as it is.
        settings: ``size``, ``spacing``, ``clip``, ``scaling``, ``channels`` and ``cache`` are used.
        folder: The cache; None is ``RARESEG_CACHE``, else the user's cache folder.

    Raises:
        DataError: The case cannot be read, does not suit the settings, or the cache cannot be written.
    """
    if isinstance(case, Prepared):
        return case
    settings = Settings.of(settings)
    if settings.cache == "none":
        with _MEMORY.held(_need(case, settings)):
            arrays, facts = _compute(case, settings)
        return _prepared(case, arrays, facts)
    folder = folder or cache_folder()
    stem = folder / "prepared" / _key(case, settings)
    with _cache_faults(folder):
        facts = cache.load(stem)
    if facts is None:
        with _MEMORY.held(_need(case, settings)):
            arrays, facts = _compute(case, settings)
            with _cache_faults(folder):
                cache.store(stem, arrays, facts)
            del arrays
    return _prepared(case, {name: cache.array_path(stem, name) for name in facts["arrays"]}, facts)


def prepare_all(
    cases: Sequence[Any],
    settings: Settings | Mapping[str, Any],
    *,
    folder: Path | None = None,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prepared]:
    """Prepare cases in threads (decoders and NumPy let others run), in their order; the first bad one ends it.

    Threads hold a gigabyte together, or one larger case alone; volumes are resized slab by slab.

    Args:
        cases: Cases of ``rareseg.datasets``.
        settings: As for ``prepare``.
        folder: As for ``prepare``.
        workers: Threads.
        progress: Called after each case with how many are done and how many there are.

    Raises:
        DataError: As for ``prepare``, of the first case in their order.
    """
    settings = Settings.of(settings)
    done = []
    with ThreadPoolExecutor(workers) as pool:
        for prepared in pool.map(lambda case: prepare(case, settings, folder), cases):
            done.append(prepared)
            if progress is not None:
                progress(len(done), len(cases))
    return done


def to_original(probabilities: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Bring probabilities (*space, K) to another grid, (*shape, K), float32, adding up to 1 in each pixel."""
    if probabilities.shape[:-1] == tuple(shape):
        return probabilities
    resized = resize.linear(probabilities, shape)
    resized /= resized.sum(axis=-1, keepdims=True)
    return resized


def scale(image: np.ndarray, scaling: str, dtype: np.dtype) -> np.ndarray:
    """Scale intensities (*space, C), float32, in place; ``zscore`` and ``minmax`` as MIScnn, all channels together.

    Args:
        image: Intensities, which may have been resized.
        scaling: One of ``settings.CHOICES["scaling"]``.
        dtype: The type that the image was stored in, whose range ``unit`` maps to [0, 1].
    """
    if scaling == "unit":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        image -= np.float32(low)
        image /= np.float32(high - low)
    if scaling.startswith("zscore"):
        mean, sd = (value.astype(np.float32) for value in _moments(image, by_channel=scaling == "zscore_channel"))
        image -= mean
        image += TINY
        image /= sd + TINY
    if scaling in ("minmax", "zscore_then_unit"):
        low, extent = image.min(), np.ptp(image)
        image -= low
        image += TINY
        image /= extent + TINY
    return image


def _moments(image: np.ndarray, by_channel: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of all values or of each channel, float64, with the axes of the image."""
    mean = _mean(image, by_channel)
    return mean, np.sqrt(_mean(image, by_channel, lambda block: np.square(block - mean)))


def _mean(image: np.ndarray, by_channel: bool, function: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
    """Return the mean of a function of all values, or of those of each channel, float64, with the axes of the image.

    A float32 mean of a megapixel is off in the fifth digit; a scan in float64 fills 2 GB, so it is taken in blocks.
    """
    axes = tuple(range(image.ndim - by_channel))
    step = max(1, BLOCK // image[:1].size)
    blocks = (image[start : start + step] for start in range(0, len(image), step))
    count = math.prod(image.shape[axis] for axis in axes)
    return np.add.reduce([function(block).sum(axes, np.float64, keepdims=True) for block in blocks]) / count


def _target(case: Any, settings: Settings) -> tuple[int, ...]:
    """Return the pixels per axis that a case gets."""
    if settings.spacing is not None:
        if case.spacing is None or len(case.spacing) != len(settings.spacing):
            raise DataError(
                f"{case.id}: spacing {list(settings.spacing)} does not suit an image of {by(case.shape)} with spacing "
                f"{case.spacing}; pictures take `size`"
            )
        return resampled(case.shape, case.spacing, settings.spacing)
    shape = settings.size or case.shape
    if len(shape) != len(case.shape):
        raise DataError(f"{case.id}: size {list(shape)} does not suit an image of {by(case.shape)}")
    return tuple(shape)


def resampled(shape: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Return the voxels per axis that an image has at another spacing, in millimetres."""
    return tuple(
        max(1, round(length * mine / other)) for length, mine, other in zip(shape, spacing, wanted, strict=True)
    )


def _need(case: Any, settings: Settings) -> int:
    """Return about how many bytes preparing a case holds at once."""
    old, new, channels = case.shape, _target(case, settings), settings.channels or 3
    part_way = max(math.prod(new) * old[axis] // new[axis] for axis in range(len(new)))  # resized but along one axis
    decoded = 0 if len(old) == 3 else 2 * math.prod(old)  # pictures are held whole, scans by slabs
    return channels * (decoded + 3 * 4 * part_way)


def _compute(case: Any, settings: Settings) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a case and take the steps; return its arrays, and what is to be known without opening them."""
    new = _target(case, settings)
    parts = case.image_slabs()
    place, first = next(parts)
    if settings.scaling == "unit" and not np.issubdtype(first.dtype, np.integer):
        raise DataError(
            f"{case.id}: scaling `unit` needs a type with a range, the image is {first.dtype}; take `minmax`"
        )
    image = resize.by_parts(
        ((where, _with_channels(case.id, part, settings.channels)) for where, part in chain([(place, first)], parts)),
        case.shape,
        new,
        resize.linear,
    )
    if settings.clip is not None:
        np.clip(image, *settings.clip, out=image)
    arrays = {"image": scale(image, settings.scaling, first.dtype)}
    for name, found in (("label", case.label_slabs()), ("mask", _mask_parts(case))):
        if found is not None:
            arrays[name] = resize.by_parts(_agreeing(case, name, found), case.shape, new, resize.nearest)
    return arrays, {
        "arrays": list(arrays),
        "shape": new,
        "channels": image.shape[-1],
        "original_shape": case.shape,
        "kind": case.kind(first),  # of a picture, which comes in one part
        "digest": _digest(arrays),
        "statistics": _statistics(image).tolist(),
    }


def _mask_parts(case: Any) -> list[Part] | None:
    mask = case.read_mask()
    return None if mask is None else [((slice(None),) * mask.ndim, mask)]


def _agreeing(case: Any, name: str, parts: Iterable[Part]) -> Iterator[Part]:
    """Pass on the parts of a label or mask, whose space must be the image's."""
    for place, part in parts:
        if part.shape != tuple(len(range(length)[span]) for length, span in zip(case.shape, place, strict=False)):
            raise DataError(f"{case.id}: the {name} is {by(part.shape)}, the image {by(case.shape)}; both must agree")
        yield place, part


def _statistics(image: np.ndarray) -> np.ndarray:
    """Return least, greatest and mean intensity of each channel, (3, C), float64."""
    space = tuple(range(image.ndim - 1))
    return np.stack([image.min(axis=space), image.max(axis=space), _mean(image, by_channel=True).reshape(-1)])


def _foreground(label: np.ndarray) -> np.ndarray:
    """Return class and coordinates of voxels, (n, 1 + dimensions), int32, of each class at most 10,000 at random."""
    present = np.add.reduce([np.bincount(plane.ravel(), minlength=256) for plane in label])
    found = [np.empty((0, 1 + label.ndim), int)]
    for value in np.flatnonzero(present[1:255]) + 1:  # 255 is no class
        places = np.flatnonzero(label == value)
        if len(places) > FOREGROUND:
            places = np.sort(generator(0, "kept", int(value)).choice(places, FOREGROUND, replace=False))
        found.append(np.stack([np.full(len(places), value), *np.unravel_index(places, label.shape)], axis=-1))
    return np.concatenate(found).astype(np.int32)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _with_channels(case_id: str, image: np.ndarray, channels: int | None) -> np.ndarray:
    """Repeat a single channel; anything else would be a guess."""
    found = image.shape[-1]
    if channels in (None, found):
        return image
    if found == 1:
        return image.repeat(channels, axis=-1)
    raise DataError(f"{case_id}: the image has {found} channels, the setting `channels` asks for {channels}")


def _key(case: Any, settings: Settings) -> str:
    """Return a name that changes with the source files, how they are read, or any argument of a step."""
    text = json.dumps([FORMAT, case.state(), {name: getattr(settings, name) for name in STEPS}])
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _cache_faults(folder: Path) -> Iterator[None]:
    """Say in one sentence what to do where the cache cannot be used."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot keep prepared cases in {folder} ({error.strerror or error}); make room, or let RARESEG_CACHE name "
            f"a folder that can be written"
        ) from error


def _prepared(case: Any, arrays: dict[str, Any], facts: Mapping[str, Any]) -> Prepared:
    return Prepared(
        id=case.id,
        group=case.group,
        part=case.part,
        spacing=_spacing(case, facts["shape"]),
        info=with_kind(case.info, facts["kind"]),
        arrays=arrays,
        shape=tuple(facts["shape"]),
        channels=facts["channels"],
        original_shape=tuple(facts["original_shape"]),
        digest=facts["digest"],
        original=case,
        statistics=np.array(facts["statistics"]),
    )


def _spacing(case: Any, shape: Sequence[int]) -> tuple[float, ...] | None:
    """Return the millimetres per axis of a grid of that shape over the case, which are its own where it is its own."""
    if case.spacing is None:
        return None
    return tuple(mine * (old / new) for mine, old, new in zip(case.spacing, case.shape, shape, strict=True))
