"""What every reader gives: `Case`, one image with its label, and `Dataset`, the cases of one folder.

Nothing is read before it is asked for: making a `Case` costs a file name.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rareseg.datasets import files
from rareseg.datasets.facts import file_state
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import by

if TYPE_CHECKING:  # report.py imports this file
    from rareseg.datasets.report import Report

PHANTOM = "PHANTOM.txt"
"""Lies in the root of every folder of phantoms."""

Place = tuple[slice, ...]
"""Index of a part in the whole array; one axis of it is partial."""

_GREY_LIMIT = 0.005  # share of grey pixels in a mask from which a report warns


@dataclass(frozen=True)
class About:
    """What is known of a data set before a file is seen.

    Attributes:
        title: Full name.
        cases: How many cases the papers used; 0 where no paper did.
        classes: Name of each class, in the order of the label values.
        channels: Channels of ``read_image``.
        where: Where to get it.
        terms: Licence or terms of use, in a few words.
        markers: What lies below the right folder, as patterns; ``a|b``: either.
        layout: Example files, relative to the folder.
        remarks: What a reader of results should know; printed with every report.
    """

    title: str
    cases: int
    classes: tuple[str, ...]
    channels: int
    where: str
    terms: str
    markers: tuple[str, ...]
    layout: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def with_kind(info: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the facts of a case, with what sort of picture it is where its data set has several."""
    return {**info, **({"kind": kind} if kind else {})}


@dataclass(frozen=True, eq=False)
class Case:
    """One image and its label; readers whose files need more say so in a subclass.

    Attributes:
        id: Name within the data set, from file names alone.
        image: The image file.
        labels: The mask files; class 1 is their union.
        group: What a split must keep together (image, sequence, patient).
        part: Official part, ``"training"``, ``"validation"`` or ``"test"``; empty where there is none.
        info: Further facts, such as ``objects``; ``group_by`` and ``stratify_by`` may name one.
    """

    id: str
    image: Path
    labels: tuple[Path, ...]
    group: str
    part: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every source file, for fingerprints and caches."""
        return (self.image, *self.labels)

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Millimetres per axis in array order; ``None`` in 2D."""
        return None

    @property
    def affine(self) -> np.ndarray | None:
        """Voxel indices of the file -> the file's own unit, (4, 4); ``None`` in 2D."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) from the image's header."""
        return files.shape(self.image)

    @property
    def reading(self) -> tuple[Any, ...]:
        """What decides, beside the files, what is read from them: options of a reader, of what JSON can hold."""
        return ()

    def state(self) -> str:
        """Return a hash that changes when a source file is written or moved, and when it is read in another way."""
        found = [[str(path.absolute()), *file_state(path)] for path in self.files]
        reader = f"{type(self).__module__}.{type(self).__qualname__}"
        text = json.dumps([reader, self.id, found, self.reading])
        return hashlib.sha256(text.encode()).hexdigest()

    def read_image(self) -> np.ndarray:
        """Return the image as stored, (H, W, 3) uint8, unscaled.

        Raises:
            DataError: The file is damaged, missing, or not such an image.
        """
        return files.rgb(self.image)

    def read_label(self) -> np.ndarray:
        """Return the classes, (H, W) uint8: 0 background, 1 foreground.

        Raises:
            DataError: A file is damaged or missing, of another size than the image, or holds what is no class.
        """
        return self._label(self._layers())

    def write_label(self, path: Path, label: np.ndarray, text: str = "") -> None:
        """Write classes on the grid of the case's own files, whole or not at all: a PNG whose grey levels they are.

        Args:
            path: Ends in ``.png``.
            label: Classes, (H, W), 0 to 255.
            text: Kept in the file as its comment.
        """
        files.write_png(path, self._writable(path, label, (".png",)), text)

    def read_written(self, path: Path) -> np.ndarray:
        """Return the classes that ``write_label`` wrote, (H, W) uint8."""
        return files.grey(path)

    def _writable(self, path: Path, label: np.ndarray, suffixes: tuple[str, ...]) -> np.ndarray:
        """Return classes as uint8, if they and the name of the file are what can be written."""
        if not path.name.endswith(suffixes):
            raise ValueError(f"{self.id}: label maps of this case are {' or '.join(suffixes)} files, got {path}")
        if label.shape != self.shape:
            raise ValueError(f"{self.id}: the label is {label.shape}, the grid {self.shape}; both must agree")
        if label.dtype.kind not in "uib" or label.min() < 0 or label.max() > 255:
            found = f"{label.dtype} from {label.min()} to {label.max()}"
            raise ValueError(f"{self.id}: a label holds whole numbers from 0 to 255, got {found}; give class numbers")
        return label.astype(np.uint8)

    def image_slabs(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield the image in parts along one axis: where each goes, and its values; a picture has one part."""
        yield (slice(None), slice(None)), self.read_image()

    def label_slabs(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Yield the label in parts, likewise."""
        yield (slice(None), slice(None)), self.read_label()

    def read_mask(self) -> np.ndarray | None:
        """Return where the image is valid (DRIVE's field of view), (H, W) bool; ``None``: everywhere."""
        return None

    def kind(self, image: np.ndarray) -> str:  # noqa: ARG002
        """Return what sort of picture ``image``, (H, W, C), is; empty where a data set has one sort."""
        return ""

    def check(self) -> "Check":
        """Read everything and return what was found; bad files raise `DataError`."""
        image, mask, layers = self.read_image(), self.read_mask(), list(self._layers())
        label = self._label(layers)
        return Check(
            case=self,
            shape=image.shape,
            dtype=str(image.dtype),
            counts=np.bincount(label.ravel()),
            kind=self.kind(image),
            inside=None if mask is None else float(np.mean(label[mask] > 0)),
            warnings=tuple(f"{self.id}: {text}" for text in self._oddities(label, layers)),
            digest=hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest(),
        )

    def _layers(self) -> Iterator[np.ndarray]:
        """Yield the values of every mask file, (H, W)."""
        shape = self.shape
        return (self._sized(path, shape) for path in self.labels)

    def _sized(self, path: Path, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values of a mask file, which must have the image's shape (H, W)."""
        values = self._values(path)
        if values.shape != shape:
            raise DataError(
                f"{path}: {by(values.shape)} (rows x columns), but its image {self.image.name} is {by(shape)}. "
                f"Correct the pair or list case {self.id} under `exclude`."
            )
        return values

    def _values(self, path: Path) -> np.ndarray:
        """Return the values of a mask file, (H, W)."""
        return files.grey(path)

    def _label(self, layers: Iterable[np.ndarray]) -> np.ndarray:
        """Return the classes that the values of the mask files stand for, (H, W) uint8."""
        return _union(files.binary(values) for values in layers)

    def _oddities(self, label: np.ndarray, layers: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield what is odd but legal about the values of the mask files and their union ``label``."""
        shared = sum(int(files.binary(values).sum()) for values in layers) - int(label.sum())
        worst = max(files.grey_share(values) for values in layers)
        if worst > _GREY_LIMIT:
            yield f"{100 * worst:.2f}% of a mask's pixels are grey; cut at 128"
        if shared > 0:
            yield f"masks share {shared} pixels; the label is their union"
        if label.all():
            yield "the label fills the frame"


def _union(masks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the union of masks of zeros and ones, uint8, holding two of them at a time."""
    return reduce(np.bitwise_or, masks)


@dataclass(frozen=True, eq=False)
class Check:
    """What reading one case showed.

    Attributes:
        case: The case.
        shape: Shape of its image, (H, W, C) or (D, H, W, 1).
        dtype: Type of its image.
        counts: Pixels of each class present, from class 0 on, (classes,).
        kind: What sort of picture it is; see `Case.kind`.
        inside: Share of foreground within ``read_mask``, 0 to 1; ``None`` without a mask.
        warnings: What is odd but legal.
        digest: Hash of the image's pixels; empty where there is no image.
    """

    case: Case
    shape: tuple[int, ...]
    dtype: str
    counts: np.ndarray
    kind: str
    inside: float | None
    warnings: tuple[str, ...]
    digest: str

    @property
    def known(self) -> Case:
        """The case with all facts that a split may name: those of its reader, and ``kind`` where it has one."""
        return replace(self.case, info=with_kind(self.case.info, self.kind))

    def share(self, label: int) -> float:
        """Return the share of pixels of one class, 0 to 1."""
        return float(self.counts[label] / self.counts.sum()) if label < len(self.counts) else 0.0

    def facts(self) -> dict[str, Any]:
        """Return all but the case, of what JSON can hold."""
        found = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "case"}
        return {**found, "counts": self.counts.tolist()}

    @classmethod
    def of(cls, case: Case, facts: Mapping[str, Any]) -> "Check":
        """Return the check of a case that gave these facts."""
        lists = {"shape": tuple(facts["shape"]), "warnings": tuple(facts["warnings"])}
        return cls(case=case, **{**facts, **lists, "counts": np.array(facts["counts"])})


@dataclass(frozen=True, eq=False)
class Listing:
    """What a reader found below a folder: cases in natural order, remarks, and cases left out with the reason.

    ``about`` replaces what the reader says of the data set, where only the files can tell.
    """

    cases: Sequence[Case]
    remarks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    about: About | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """The cases of one data set in one folder.

    Attributes:
        key: Registered name.
        folder: Its root.
        cases: In natural order of their ids.
        about: What is known of the data set itself.
        remarks: What was noticed while listing.
        left_out: Case id -> why it is not among ``cases``.
    """

    key: str
    folder: Path
    cases: tuple[Case, ...]
    about: About
    remarks: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of the label values."""
        return self.about.classes

    @property
    def channels(self) -> int:
        """Channels of ``read_image``."""
        return self.about.channels

    @property
    def full_size(self) -> int:
        """How many cases the papers used; 0 where no paper did."""
        return self.about.cases

    @property
    def phantom(self) -> bool:
        """Whether the files were drawn by `make_phantoms`."""
        return (self.folder / PHANTOM).is_file()

    @property
    def state(self) -> str:
        """``"phantom"``, ``"subset"`` of what the papers used, or ``"complete"``."""
        if self.phantom:
            return "phantom"
        return "subset" if len(self.cases) < self.full_size else "complete"

    def report(
        self, progress: Callable[[Case], None] = lambda _: None, workers: int = 1, *, remember: bool = False
    ) -> "Report":
        """Read every case and return what was found, all faults at once; ``str`` of it is the text.

        Args:
            progress: Called after each case.
            workers: Threads; decoders and NumPy let others run.
            remember: Note what is found in the cache folder, and do not read again what is noted there and has the
                same size and time as then.
        """
        from rareseg.datasets.report import report  # report.py imports this file

        return report(self, progress, workers, remember=remember)  # pyright: ignore[reportArgumentType]
