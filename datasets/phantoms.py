"""Phantoms: drawn files in the official layouts, so that reader, pipeline and tables run without a download.

A phantom is honest when a small network beats every threshold by far. So intensities of foreground and background
overlap, distractors share the foreground's colour but not its shape or place, shading multiplies everything, and
contours carry label noise. What each data set shows stands in ``_phantom_<key>.py``; brushes in ``_drawing.py``.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from rareseg.datasets import volumes
from rareseg.datasets.case import PHANTOM, Case
from rareseg.datasets.files import DataError, binary, grey

_EDITION = 2  # raise it when any drawing changes: folders of another edition are not reused
_DEMO = {
    "isic2018": (60, 64),
    "dsb2018": (60, 64),
    "drive": (12, 128),
    "cvc_clinicdb": (60, 64),
    "bus2017": (60, 64),
    "brats2020": (20, 48),
    "kits19": (20, 48),
}
"""Key -> number of cases and size where nothing is asked for."""

_LEAST_SIZE = 32  # pixels; below, a vessel or a nucleus has no shape
_GAP = "gap_in_numbers"


def make_phantoms(
    key: str,
    folder: Path | str,
    cases: int | None = None,
    size: int | None = None,
    seed: int = 0,
    traps: tuple[str, ...] | None = None,
) -> Path:
    """Draw phantoms of a data set in its official layout and formats, and return the folder.

    Same arguments, same bytes. Case k depends on the seed, the key and k alone, so more cases extend a set. A folder
    that holds just these phantoms is left as it is; one that holds anything else is refused. The folder appears whole
    or not at all.

    Args:
        key: Name of the data set.
        folder: The root to make.
        cases: How many; default as in the demo.
        size: Short side in pixels of the commonest official picture, here instead of about 767 (``isic2018``), 256
            (``dsb2018``), 565 (``drive``, drawn square), 288 (``cvc_clinicdb``) or 570 (``bus2017``); other sizes of a
            set keep their proportion to it. In 3D rows and columns of a slice, here instead of 240 (``brats2020``) or
            512 (``kits19``).
        seed: Another seed, other pictures.
        traps: Faults and oddities of real downloads to build in (docs/data.md names them); ``None``: those that
            the official files have.

    Raises:
        ValueError: ``key`` has no phantoms, no such trap or fewer cases; or ``cases`` or ``size`` is too small.
        DataError: The folder holds something else.
    """
    if key not in _DEMO:
        raise ValueError(f"there are no phantoms of {key!r}; known are {', '.join(_DEMO)}")
    cases, size = (usual if asked is None else asked for asked, usual in zip((cases, size), _DEMO[key], strict=True))
    if cases < 1 or size < _LEAST_SIZE:
        raise ValueError(f"phantoms need at least 1 case of {_LEAST_SIZE} pixels, got {cases} of {size}")
    order = _Order(key, cases, size, seed, None if traps is None else tuple(traps))
    folder = Path(folder)
    if not _is_made(folder, order.notice):
        _draw(folder, order)
    return folder


@dataclass(frozen=True)
class _Order:
    """What is to be drawn; the arguments of `make_phantoms`."""

    key: str
    cases: int
    size: int
    seed: int
    traps: tuple[str, ...] | None

    @property
    def notice(self) -> str:
        """Text of ``PHANTOM.txt``, from which the arguments can be told."""
        traps = "as official" if self.traps is None else ", ".join(self.traps) or "none"
        return (
            f"phantom of {self.key}: drawn by rareseg, not a real image among them\n"
            f"cases {self.cases}, size {self.size}, seed {self.seed}, traps {traps}, edition {_EDITION}\n"
            "Nothing medical can be learnt from these files.\n"
        )

    def draw(self, root: Path) -> None:
        """Draw every case below ``root``, then spring the traps."""
        module = import_module(f"rareseg.datasets._phantom_{self.key}")  # late: SciPy costs half a second
        chosen = self.traps or ()
        known = {_GAP: None, **_COMMON_TRAPS, **module.TRAPS}
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise ValueError(f"{self.key} has no trap {unknown[0]!r}; it has {', '.join(known)}")
        gap = (self.cases + 1) // 2 if _GAP in chosen else self.cases
        for position in range(self.cases):
            module.draw(root, position + (position >= gap), self.size, self.seed)
        drawn = module.find(root).cases
        default_traps = getattr(module, "default_traps", lambda _: ())
        for name in default_traps(drawn) if self.traps is None else chosen:
            if name != _GAP:
                known[name](drawn)


def _is_made(folder: Path, notice: str) -> bool:
    """Return whether the folder is there and the one that was asked for; refuse another."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    found = folder / PHANTOM
    if found.is_file() and found.read_text(encoding="utf-8") == notice:
        return True
    what = "phantoms made with other arguments" if found.is_file() else "something that is not a phantom"
    raise DataError(f"{folder} holds {what}. Give another folder, or remove this one first.")


def _draw(folder: Path, order: _Order) -> None:
    """Draw beside ``folder`` and move there when all is done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (root / PHANTOM).write_text(order.notice, encoding="utf-8")
        order.draw(root)
        root.chmod(0o755)  # mkdtemp makes it private
        _move(root, folder, order.notice)
    except BaseException:
        shutil.rmtree(root)
        raise


def _move(root: Path, folder: Path, notice: str) -> None:
    """Give what was drawn its name, unless another process has drawn the same meanwhile."""
    try:
        if folder.exists():
            folder.rmdir()  # an empty one, see _is_made
        root.rename(folder)
    except OSError:
        if not _is_made(folder, notice):
            raise
        shutil.rmtree(root)


def _hidden_files(cases: list[Case]) -> None:
    """Strew what macOS, Windows and archives leave behind into every folder."""
    top = Path(os.path.commonpath([path for case in cases for path in case.files]))
    for folder in [top, *(path for path in top.rglob("*") if path.is_dir())]:
        (folder / f"._{cases[0].image.name}").write_bytes(b"\0\5\26\7")
        for name in ("Thumbs.db", ".DS_Store", "ATTRIBUTION.txt", "table.csv"):
            (folder / name).write_bytes(b"not a picture")
        (folder / "__MACOSX").mkdir()


def _empty_mask(cases: list[Case]) -> None:
    """Make the first case's label empty, keeping one file of it."""
    first, *others = cases[0].labels
    _repaint(first, np.zeros_like)
    for path in others:
        path.unlink()


def _size_mismatch(cases: list[Case]) -> None:
    """Cut a row off a mask of the first case."""
    _repaint(cases[0].labels[0], lambda values: values[:-1])


def _missing_partner(cases: list[Case]) -> None:
    """Remove all masks of the first case."""
    for path in cases[0].labels:
        path.unlink()


def _truncated_file(cases: list[Case]) -> None:
    """Cut off the second half of the first case's image."""
    whole = cases[0].image.read_bytes()
    cases[0].image.write_bytes(whole[: len(whole) // 2])


def one_bit_masks(cases: list[Case]) -> None:
    """Store every mask with one bit a pixel; a trap for the sets that list it."""
    for case in cases:
        _repaint(case.labels[0], lambda values: binary(values).astype(bool))


def _repaint(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    from rareseg.datasets._drawing import TAG, save  # late: imports SciPy

    if path.name.endswith(volumes.SUFFIXES):
        head = volumes.header(path)
        volumes.write(path, change(volumes.read(head)), head.affine, TAG)
    else:
        save(path, change(grey(path)))


_COMMON_TRAPS = {
    "hidden_files": _hidden_files,
    "empty_mask": _empty_mask,
    "size_mismatch": _size_mismatch,
    "missing_partner": _missing_partner,
    "truncated_file": _truncated_file,
}
