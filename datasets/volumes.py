"""NIfTI files -> volumes: headers are judged first, voxels read slab by slab, label maps written back.

In: a path. Out: a `Header`, slabs of voxels in the file's own axes, or a `DataError` that names the file and the cause.
Slabs keep memory small: the largest scan of KiTS19 has 278 million voxels.
"""

import gzip
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.datasets import whole
from rareseg.datasets.files import DataError, cause, quiet, unknown
from rareseg.datasets.listing import by

SUFFIXES = (".nii.gz", ".nii")
VOXEL_LIMIT = 400_000_000
"""Voxels a file may claim in its header; KiTS19's largest holds 278 million."""

_SLAB = 2**21  # bytes read at once; what is made of them takes eight times as much, in every thread
_DEFLATE = 1100  # no deflate stream expands further
_PACKED, _PACKED_FROM = 200, 2**26  # a scan of more bytes than the second that shrank by more than the first is a bomb
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}  # all else is taken for millimetres, also KiTS19's "unknown"
_UNKNOWN = 255  # in a table of classes
_BEYOND = 2**16  # index of all values that no class may have
_DESCRIPTION = 79  # letters that the header's field holds before its final zero
_LOGGER = "nibabel.global"

Slab = tuple[slice, np.ndarray]


def stem(path: Path) -> str:
    """Return the name without ``.nii`` or ``.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def _packed(path: Path) -> bool:
    """Return whether a file is compressed, by its name."""
    return path.suffix.lower() == ".gz"


@dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI file says of itself, in the order of its own axes.

    Attributes:
        path: The file.
        shape: Voxels per axis.
        dtype: Type of the stored values.
        offset: First byte of the voxels.
        slope: What stored values are multiplied by.
        inter: What is added then.
        spacing: Millimetres per axis.
        affine: Voxel indices -> the file's own unit, (4, 4).
        unit: Millimetres of that unit.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    spacing: tuple[float, ...]
    affine: np.ndarray
    unit: float

    @property
    def bytes(self) -> int:
        """Size of the voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def given(self) -> np.dtype:
        """Type of the values that `read` returns: the stored integers, or float32."""
        plain = self.dtype.kind in "iu" and (self.slope, self.inter) == (1.0, 0.0)
        return self.dtype.newbyteorder("=") if plain else np.dtype(np.float32)


def header(path: Path) -> Header:
    """Return what the file says of itself; what cannot be true is refused before a voxel is touched."""
    import nibabel  # here: the command line must start without it

    with _faults(path), quiet(_LOGGER):
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise ValueError("not a NIfTI file")
        stored: Any = image.dataobj
        affine = np.asarray(image.affine)
        unit = _MILLIMETRES.get(str(image.header.get_xyzt_units()[0]), 1.0)
        shape = tuple(int(length) for length in stored.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    found = Header(
        path=path,
        shape=shape,
        dtype=stored.dtype,
        offset=int(stored.offset),
        slope=float(stored.slope),
        inter=float(stored.inter),
        spacing=tuple((_lengths(affine) * unit).tolist()),
        affine=affine,
        unit=unit,
    )
    _judge(found)
    return found


def _lengths(affine: np.ndarray) -> np.ndarray:
    """Return the length of a step along each axis: rotated scans have no zooms on their diagonal."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def _judge(head: Header) -> None:
    """Refuse a header that contradicts itself, its file, or what a scan can be."""
    size = head.path.stat().st_size
    held = _DEFLATE * size if _packed(head.path) else size - head.offset
    faults = [
        (len(head.shape) != 3, f"{len(head.shape)} axes ({by(head.shape)}), expected 3"),
        (min(head.shape, default=0) < 1, f"an axis without voxels ({by(head.shape)})"),
        (
            math.prod(head.shape) > VOXEL_LIMIT,
            f"the header claims {by(head.shape)} voxels, over the limit of {VOXEL_LIMIT:,}",
        ),
        (head.dtype.kind not in "iuf", f"voxels of type {head.dtype}, expected whole or real numbers"),
        (
            head.bytes > held,
            f"the header claims {head.bytes:,} bytes of voxels, {size:,} bytes of file cannot hold them",
        ),
        (not np.isfinite(head.affine).all(), "the affine is not finite"),
        (not min(head.spacing, default=0) > 0, f"spacing {head.spacing}, expected lengths above 0"),
        (abs(np.linalg.det(_cosines(head.affine))) < 1e-3, "the axes of the affine do not span space"),
    ]
    for applies, text in faults:
        if applies:
            raise DataError(f"{head.path}: {text}. Get the file again.")


def _cosines(affine: np.ndarray) -> np.ndarray:
    """Return the directions of the axes, (3, 3); zeros where they have none."""
    lengths = _lengths(affine)
    with np.errstate(all="ignore"):
        return np.nan_to_num(affine[:3, :3] / lengths, nan=0.0, posinf=0.0, neginf=0.0)


def anatomical(affine: np.ndarray) -> tuple[int, ...]:
    """Return the file's axes in the order inferior-superior, anterior-posterior, left-right, each the nearest."""
    from scipy.optimize import linear_sum_assignment  # here: SciPy costs half a second

    _, nearest = linear_sum_assignment(-np.abs(_cosines(affine))[::-1])
    return tuple(int(axis) for axis in nearest)


def slabs(head: Header) -> Iterator[Slab]:
    """Yield the voxels in slabs along the last axis, in order: where they go, and the values, (X, Y, n).

    Values that are not finite are counted to the end and then refused, and so is a checksum that does not fit.
    """
    plane = head.bytes // head.shape[2]
    thick = max(1, _SLAB // plane)
    odd, first = 0, None
    with _faults(head.path), _stream(head.path) as file:
        file.seek(head.offset)
        for start in range(0, head.shape[2], thick):
            count = min(thick, head.shape[2] - start)
            raw = file.read(count * plane)
            if len(raw) < count * plane:
                raise EOFError("the file is truncated")
            values = np.frombuffer(raw, head.dtype).reshape((*head.shape[:2], count), order="F")
            with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is refused below
                values = values.astype(head.given, copy=False)
                if (head.slope, head.inter) != (1.0, 0.0):
                    values = values * np.float32(head.slope) + np.float32(head.inter)
            if head.given.kind == "f":
                places = np.argwhere(~np.isfinite(values))
                odd += len(places)
                if len(places) and first is None:
                    first = tuple(int(place) for place in places[0] + (0, 0, start))
            yield slice(start, start + count), values
        file.read(1)  # the end of a gzip stream holds its checksum
    if odd:
        raise DataError(
            f"{head.path}: {odd} voxels are not finite, the first at {first}; expected numbers. Correct the file."
        )


def image_slabs(head: Header) -> Iterator[Slab]:
    """Return `slabs` of an image; one that unpacks to far more than a scan would is refused first."""
    if _packed(head.path) and head.bytes > max(_PACKED_FROM, _PACKED * head.path.stat().st_size):
        raise DataError(
            f"{head.path}: expands to {head.bytes:,} bytes, more than {_PACKED} times its size, which no scan does. "
            "Remove the file."
        )
    return slabs(head)


def read(head: Header) -> np.ndarray:
    """Return the voxels of an image in the file's axes, (X, Y, Z), integers as stored or float32."""
    return joined(image_slabs(head), head.shape, head.given)


def joined(parts: Iterable[Slab], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return the volume, (X, Y, Z), that slabs make up."""
    volume = np.empty(shape, dtype, order="F")
    for where, values in parts:
        volume[..., where] = values
    return volume


def class_slabs(head: Header, classes: Mapping[int, int], hints: Mapping[int, str] | None = None) -> Iterator[Slab]:
    """Yield the classes of a label file in slabs, as `slabs` does, uint8; other values are counted and then refused.

    Args:
        head: Header of the file.
        classes: Stored value, 0 to 65535, -> class, 0 to 254.
        hints: Other value -> what it may stand for, a sentence.
    """
    table = np.full(_BEYOND + 1, _UNKNOWN, np.uint8)
    table[list(classes)] = list(classes.values())
    strange: Counter[float] = Counter()
    for where, values in slabs(head):
        with np.errstate(invalid="ignore"):
            integers = values.astype(np.int32, copy=False)
        found = table[np.clip(integers, 0, _BEYOND)]
        odd = (found == _UNKNOWN) | (integers != values) | (integers < 0)
        if odd.any():
            strange.update(dict(zip(*map(np.ndarray.tolist, np.unique(values[odd], return_counts=True)), strict=True)))
        yield where, found
    if strange:
        found = unknown(sorted(strange), f"{sum(strange.values())} voxels", classes)
        remedies = ["Correct the file or list the case under `exclude`."]
        remedies += [text for value, text in (hints or {}).items() if value in strange]
        raise DataError(f"{head.path}: {found}. {' '.join(remedies)}")


def values(head: Header, most: int = 64) -> list[float]:
    """Return the values that occur in a label file, sorted; of more than ``most`` some, read no further."""
    found: set[float] = set()
    for _, part in slabs(head):
        found.update(np.unique(part).tolist())
        if len(found) > most:
            break
    return sorted(found)


def write(path: Path, volume: np.ndarray, affine: np.ndarray, text: str = "", like: Path | None = None) -> None:
    """Write a volume in the file's axes, (X, Y, Z); the file appears whole or not at all.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``.
        volume: Values of a type that NIfTI has.
        affine: Voxel indices -> the unit of ``like``, else millimetres, (4, 4).
        text: Description; 79 letters are kept, and ``?`` for those that are not ASCII.
        like: File on the same grid whose header is kept: units, kinds of space, both affines.
    """
    import nibabel  # here: the command line must start without it

    image = nibabel.Nifti1Image(volume, affine, _geometry(like) if like else None, dtype=volume.dtype)
    image.header["descrip"] = text.encode("ascii", "replace")[:_DESCRIPTION]
    if like is None:
        image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    whole.write(path, gzip.compress(content, 6, mtime=0) if _packed(path) else content)


def _geometry(path: Path) -> Any:
    """Return the header of a file without what it says of the intensities."""
    import nibabel  # here: the command line must start without it

    with _faults(path), quiet(_LOGGER):
        kept: Any = nibabel.Nifti1Header.from_header(nibabel.load(path).header)
    kept.extensions.clear()
    for name in ("cal_min", "cal_max", "intent_code"):
        kept[name] = 0
    return kept


def digest(path: Path) -> str:
    """Return a hash of what a file holds once unpacked."""
    with _faults(path), _stream(path) as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _stream(path: Path) -> BufferedIOBase:
    return gzip.open(path) if _packed(path) else path.open("rb")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Let whatever a reader throws at bad bytes leave as a `DataError`."""
    try:
        yield
    except Exception as fault:  # zlib.error, EOFError, OSError, struct.error, nibabel's own
        reason = " ".join(cause(fault).replace(str(path), "").split())
        raise DataError(f"{path}: cannot be read ({reason}). Get the file again.") from fault
