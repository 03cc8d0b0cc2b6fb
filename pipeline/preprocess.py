"""The steps that are the same in every epoch: size, channels, intensities; done once per case and kept.

Nothing here is random and nothing knows a data set. The inverse for predictions, ``to_original``, stands beside them.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from rareseg.datasets import DataError
from rareseg.datasets.facts import cache_folder
from rareseg.pipeline import cache, resize
from rareseg.pipeline.settings import Settings

FORMAT = 2  # of stored cases; raise it when the steps below give other numbers
CASE_FACTS = ("id", "group", "part", "spacing", "affine", "files")
TINY = 1e-6  # keeps constant images finite; MIScnn adds it above and below the fraction too


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the network's grid, readable like the case it comes from.

    Args:
        id: As in the case, and so are ``group``, ``part``, ``spacing``, ``affine`` and ``files``.
        info: Facts of the case, and its ``kind`` where the data set has several.
        arrays: ``image``, ``label`` and, where there is one, ``mask``: arrays, or the files that hold them.
        shape: Pixels per axis.
        channels: Channels of the image.
        original_shape: Pixels per axis before resizing.
        digest: SHA-256 of the arrays.
    """

    id: str
    group: str
    part: str
    spacing: tuple[float, ...] | None
    affine: np.ndarray | None
    files: tuple[Path, ...]
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray | Path]
    shape: tuple[int, ...]
    channels: int
    original_shape: tuple[int, ...]
    digest: str

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


def prepare(case: Any, settings: Settings | Mapping[str, Any], folder: Path | None = None) -> Prepared:
    """Bring a case to the network's grid and scale, or find it in the cache.

    Args:
        case: A case of ``rareseg.datasets``; one that is prepared already comes back as it is.
        settings: ``size``, ``scaling``, ``channels`` and ``cache`` are used.
        folder: The cache; None is ``RARESEG_CACHE``, else the user's cache folder.

    Raises:
        DataError: The case cannot be read, does not suit the settings, or the cache cannot be written.
    """
    if isinstance(case, Prepared):
        return case
    settings = Settings.of(settings)
    if settings.cache == "none":
        arrays, facts = _compute(case, settings)
        return _prepared(case, arrays, facts)
    folder = folder or cache_folder()
    stem = folder / "prepared" / _key(case, settings)
    with _cache_faults(folder):
        facts = cache.load(stem)
    if facts is None:
        arrays, facts = _compute(case, settings)
        with _cache_faults(folder):
            cache.store(stem, arrays, facts)
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

    Args:
        cases: Cases of ``rareseg.datasets``.
        settings: As for ``prepare``.
        folder: As for ``prepare``.
        workers: Threads.
        progress: Called after each case with how many are done and how many there are.
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
    """Scale intensities (*space, C), float32; ``zscore`` and ``minmax`` as MIScnn, over all channels together.

    Args:
        image: Intensities, which may have been resized.
        scaling: One of ``settings.CHOICES["scaling"]``.
        dtype: The type that the image was stored in, whose range ``unit`` maps to [0, 1].
    """
    axes = tuple(range(image.ndim - 1)) if scaling == "zscore_channel" else None
    if scaling == "unit":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return (image - np.float32(low)) / np.float32(high - low)
    if scaling in ("zscore", "zscore_channel"):
        # float64: a float32 mean of a megapixel is off in the fifth digit
        mean, sd = (f(image, axis=axes, dtype=np.float64, keepdims=True).astype(np.float32) for f in (np.mean, np.std))
        return (image - mean + TINY) / (sd + TINY)
    if scaling == "minmax":
        return (image - image.min() + TINY) / (np.ptp(image) + TINY)
    return image


def _compute(case: Any, settings: Settings) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a case and take the steps; return its arrays, and what is to be known without opening them."""
    image, label, mask = case.read_image(), case.read_label(), case.read_mask()
    for name, array in (("label", label), ("mask", mask)):
        if array is not None and array.shape != image.shape[:-1]:
            raise DataError(
                f"{case.id}: the {name} is {_by(array.shape)}, the image {_by(image.shape[:-1])}; both must agree"
            )
    shape = settings.size or label.shape
    if len(shape) != label.ndim:
        raise DataError(f"{case.id}: size {list(shape)} does not suit an image of {_by(label.shape)}")
    resized = resize.linear(_with_channels(case.id, image, settings.channels), shape)
    if settings.scaling == "unit" and not np.issubdtype(image.dtype, np.integer):
        raise DataError(
            f"{case.id}: scaling `unit` needs a type with a range, the image is {image.dtype}; take `minmax`"
        )
    arrays = {"image": scale(resized, settings.scaling, image.dtype), "label": resize.nearest(label, shape)}
    if mask is not None:
        arrays["mask"] = resize.nearest(mask, shape)
    return arrays, {
        "arrays": list(arrays),
        "shape": shape,
        "channels": resized.shape[-1],
        "original_shape": label.shape,
        "kind": case.kind(image),
        "digest": _digest(arrays),
    }


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _with_channels(case_id: str, image: np.ndarray, channels: int | None) -> np.ndarray:
    """Repeat a single channel, or drop the alpha channel behind grey or RGB; anything else would be a guess."""
    found = image.shape[-1]
    if channels in (None, found):
        return image
    if found == 1:
        return image.repeat(channels, axis=-1)
    if found == channels + 1 and channels in (1, 3):
        return image[..., :channels]
    raise DataError(f"{case_id}: the image has {found} channels, the setting `channels` asks for {channels}")


def _key(case: Any, settings: Settings) -> str:
    """Return a name that changes with the source files, the reader or any argument of a step."""
    reader = f"{type(case).__module__}.{type(case).__qualname__}"
    try:
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in case.files]
    except OSError as error:
        raise DataError(f"{case.id}: {error.filename} cannot be read ({error.strerror})") from error
    steps = {"size": settings.size, "scaling": settings.scaling, "channels": settings.channels}
    text = json.dumps([FORMAT, reader, case.id, files, steps], sort_keys=True)
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


def _prepared(case: Any, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Prepared:
    return Prepared(
        **{name: getattr(case, name) for name in CASE_FACTS},
        info={**case.info, **({"kind": facts["kind"]} if facts["kind"] else {})},
        arrays=arrays,
        shape=tuple(facts["shape"]),
        channels=facts["channels"],
        original_shape=tuple(facts["original_shape"]),
        digest=facts["digest"],
    )


def _by(shape: Sequence[int]) -> str:
    """Return a shape as people write it: 584 x 565."""
    return " x ".join(map(str, shape))
