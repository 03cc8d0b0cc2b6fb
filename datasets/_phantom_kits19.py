"""Phantoms of KiTS19: two kidneys in a trunk, one of them with a tumour, in Hounsfield units.

What tells a kidney is its place and form: spleen and bowel have its density; the tumour's is that of muscle.
"""

from functools import partial
from pathlib import Path

import numpy as np

from rareseg.datasets import kits19, volumes
from rareseg.datasets._drawing import TAG, level, log_normal, place, smooth, stream
from rareseg.datasets.case import Case
from rareseg.datasets.kits19 import FOLDER, LABELLED

__all__ = ["TRAPS", "default_traps", "draw", "find"]

find = partial(kits19.find, corrections=None)

_KEY = "kits19"
_KIDNEY, _KIDNEY_SPREAD = 0.0071, 0.25  # share of the volume, mean over cases
_TUMOUR, _TUMOUR_SPREAD = 0.00222, 0.7
_LEAST = 20  # voxels of the tumour
_SPACINGS = ((5.0, 0.41), (3.0, 0.6), (0.5, 0.75), (1.0, 0.9), (2.0, 1.0))  # mm between slices, share up to here
_EVERY = 25  # every 25th label is uint16: 4%
_WIDE = "case_00160"


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number`` of ``size`` voxels square and a number of slices of its own."""
    if number >= LABELLED:
        raise ValueError(f"{_KEY} has {LABELLED} labelled cases, no more phantoms can be made")
    wide = round(size * 796 / 512) if number == 160 else size
    _draw(root / FOLDER / f"case_{number:05d}", number, (size, wide), seed)


def _draw(folder: Path, number: int, plane: tuple[int, int], seed: int) -> None:
    rng = stream(seed, _KEY, number)
    shape = (max(24, round(plane[0] * rng.uniform(0.5, 0.85))), *plane)
    tumour, kidney = place(seed, _KEY, number)
    label, organs = _label(
        rng,
        shape,
        log_normal(kidney, _KIDNEY, _KIDNEY_SPREAD, 0.003, 0.015),
        log_normal(tumour, _TUMOUR, _TUMOUR_SPREAD, _LEAST / np.prod(shape), 0.055),
    )
    share = rng.random()
    thick = next(gap for gap, end in _SPACINGS if share < end)
    fine = float(np.clip(rng.normal(0.781, 0.09), 0.4375, 1.041))
    affine = np.zeros((4, 4))
    affine[[0, 1, 2], [2, 1, 0]] = -fine, -fine, -thick  # as the official files: axes I, P, L
    affine[3, 3] = 1
    volumes.write(folder / "imaging.nii.gz", _scan(rng, label, organs), affine, TAG)
    volumes.write(folder / "segmentation.nii.gz", np.minimum(label, 2), affine, TAG)


def _ball(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    centre: np.ndarray,
    axes: tuple[float, float, float],
    wobble: float,
) -> np.ndarray:
    """Return a distance-like field around ``centre``, (D, H, W); ``axes`` in shares of the plane."""
    steps = np.indices(shape, sparse=True)
    scale = np.array(axes) * (shape[0] * 1.4, shape[1], shape[1])  # slices are further apart than rows
    distance = np.sqrt(
        sum(((step - middle) / length) ** 2 for step, middle, length in zip(steps, centre, scale, strict=True))
    )
    return distance * (1 + wobble * smooth(rng, shape, shape[1] / 14))


def _label(
    rng: np.random.Generator, shape: tuple[int, ...], kidney: float, tumour: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return 0, 1 kidney, 2 tumour, and where the other organs are, each (D, H, W)."""
    middle = np.array(shape) / 2
    kidneys = [
        _ball(
            rng, shape, middle + np.array(shape) * (rng.uniform(-0.1, 0.1), 0.13, side * 0.2), (0.16, 0.065, 0.06), 0.08
        )
        for side in (-1, 1)
    ]
    both = np.minimum(*kidneys)
    side = kidneys[rng.integers(2)]
    shell = np.argwhere(np.abs(side / level(both, kidney) - 1) < 0.12)
    centre = shell[rng.integers(len(shell))]
    growth = _ball(rng, shape, centre, (0.08, 0.07, 0.07), 0.07)
    label = np.zeros(shape, np.uint8)
    label[both < level(both, kidney + 0.3 * tumour)] = 1  # a part of it gives way to the tumour
    label[growth < level(growth, tumour)] = 2
    cyst = _ball(rng, shape, shell[rng.integers(len(shell))], (0.03, 0.03, 0.03), 0.05)
    organs = {
        "cyst": (cyst < level(cyst, 0.12 * kidney)) & (label == 1),
        "spleen": _ball(rng, shape, middle + np.array(shape) * (-0.15, 0.02, 0.3), (0.12, 0.12, 0.06), 0.08) < 0.8,
        "liver": _ball(rng, shape, middle + np.array(shape) * (-0.2, -0.06, -0.22), (0.2, 0.16, 0.14), 0.08) < 0.9,
    }
    loops = smooth(rng, shape, shape[1] / 22) > 1.1
    organs["bowel"] = loops & (_ball(rng, shape, middle - (0, 0.14 * shape[1], 0), (0.5, 0.13, 0.24), 0.05) < 1)
    return label, organs


def _scan(rng: np.random.Generator, label: np.ndarray, organs: dict[str, np.ndarray]) -> np.ndarray:
    """Return Hounsfield units, (D, H, W) int16."""
    shape = label.shape
    rows, columns = np.arange(shape[1])[:, None], np.arange(shape[2])
    down, right = (rows - shape[1] / 2) / shape[1], (columns - shape[2] / 2) / shape[1]
    trunk = np.hypot(down / 0.32, right / 0.43)
    slice_ = np.where(trunk < 1, np.where(trunk < 0.86, np.where(trunk < 0.78, -90.0, 45.0), -100.0), -1000.0)
    spine = np.hypot((down - 0.19) / 0.055, right / 0.055) < 1
    muscle = np.hypot((down - 0.19) / 0.06, (np.abs(right) - 0.09) / 0.05) < 1
    slice_ = np.where(spine, 400.0, np.where(muscle, 50.0, slice_))
    hounsfield = np.repeat(slice_[None], shape[0], axis=0)
    enhanced = rng.uniform(135, 165)
    tissues = [
        (organs["liver"], 105.0),
        (organs["spleen"], enhanced),
        (organs["bowel"], enhanced),
        (label == 1, enhanced),
        (label == 2, rng.uniform(60, 120)),
        (organs["cyst"] & (label == 1), 10.0),
    ]
    for where, density in tissues:
        hounsfield = np.where(where, density, hounsfield)
    soft = hounsfield > -500
    hounsfield = (
        hounsfield + soft * (14 * smooth(rng, shape, 1.0) + 10 * smooth(rng, shape, 3.0)) + 8 * smooth(rng, shape, 0.6)
    )
    return np.clip(np.rint(hounsfield), -1024, 3071).astype(np.int16)


def _uint16_labels(cases: list[Case]) -> None:
    """Store every 25th label as uint16, or that of the last of fewer."""
    for case in cases[_EVERY - 1 :: _EVERY] or cases[-1:]:
        head = volumes.header(case.labels[0])
        volumes.write(case.labels[0], volumes.read(head).astype(np.uint16), head.affine, TAG)


def _wide_160(cases: list[Case]) -> None:
    """Widen case 160, or the last, as the official one is: 796 columns instead of 512."""
    if cases[-1].id == _WIDE:
        return
    for path in cases[-1].files:
        head = volumes.header(path)
        values = volumes.read(head)
        more = round(values.shape[2] * 796 / 512) - values.shape[2]
        widened = np.pad(values, ((0, 0), (0, 0), (0, more)), mode="edge")
        volumes.write(path, widened, head.affine, TAG)


def _no_images(cases: list[Case]) -> None:
    """Remove every image, as the repository comes."""
    for case in cases:
        case.image.unlink()


def _old_61(cases: list[Case]) -> None:
    """Call the last case 61: it has another number of slices than the corrected one."""
    folder = cases[-1].image.parent
    folder.rename(folder.with_name("case_00061"))


def _excluded_cases(cases: list[Case]) -> None:
    """Call the last case 15, which the paper leaves out."""
    folder = cases[-1].image.parent
    folder.rename(folder.with_name("case_00015"))


def default_traps(cases: list[Case]) -> tuple[str, ...]:
    """Return what the official files have; case 160 is drawn wide."""
    return ("uint16_labels",) if len(cases) >= _EVERY else ()


TRAPS = {
    "uint16_labels": _uint16_labels,
    "wide_160": _wide_160,
    "no_images": _no_images,
    "old_61": _old_61,
    "excluded_cases": _excluded_cases,
}
