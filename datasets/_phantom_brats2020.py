"""Phantoms of BraTS 2020: a brain on exact zeros with a tumour of core, enhancing ring and oedema.

What tells the ring is that it encloses a dark core; vessels and the cortex have its intensity.
"""

import gzip
from functools import partial
from pathlib import Path

import numpy as np

from rareseg.datasets import brats2020, volumes
from rareseg.datasets._drawing import TAG, level, log_normal, place, ramp, smooth, stream
from rareseg.datasets.brats2020 import CASES, FOLDER, MODALITIES
from rareseg.datasets.case import Case

__all__ = ["TRAPS", "default_traps", "draw", "find"]

find = partial(brats2020.find, corrections=None)  # reads no label, keeps nothing in the cache

_KEY = "brats2020"
_MEAN_SHARE, _SPREAD = 0.00205, 0.6  # of the volume
_BRAIN = 0.15  # of the volume
_CORE = 0.22  # of the ball of core and ring
_OEDEMA = 4.0  # times that ball
_LEAST = 20  # voxels of the ring
_EVERY = 14  # every 14th scan has no enhancing tumour: 7%
_MISNAMED = "BraTS20_Training_355"
_LIGHT = {  # brain, cortex and vessels, core, ring, oedema
    "flair": (300, 300, 330, 380, 620),
    "t1": (420, 430, 250, 330, 300),
    "t1ce": (380, 720, 210, 720, 330),
    "t2": (300, 280, 560, 420, 600),
}


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number`` of ``size`` voxels square and as many slices as the official proportion gives."""
    if number >= CASES:
        raise ValueError(f"{_KEY} has {CASES} cases, no more phantoms can be made")
    rng = stream(seed, _KEY, number)
    shape = (round(size * 155 / 240), size, size)
    share = log_normal(place(seed, _KEY, number)[0], _MEAN_SHARE, _SPREAD, _LEAST / np.prod(shape), 0.01)
    inside = _ellipsoid(rng, shape, np.array(shape) / 2, 0.04)
    depth = inside / level(inside, _BRAIN)  # 1 at the brain's surface
    label = _label(rng, depth, share)
    name = f"BraTS20_Training_{number + 1:03d}"
    save = partial(_save, root / FOLDER / name, name)
    vessels = np.abs(smooth(rng, shape, size / 18)) < 0.035
    bright = np.maximum(ramp((depth - 0.9) / 0.06) * ramp(smooth(rng, shape, size / 20)), vessels * (depth > 0.35))
    bias = 1 + 0.12 * smooth(rng, shape, size / 3)
    for modality in MODALITIES:
        save(modality, _scan(rng, modality, depth, label, bright, bias))
    save("seg", label)


def _ellipsoid(rng: np.random.Generator, shape: tuple[int, ...], centre: np.ndarray, wobble: float) -> np.ndarray:
    """Return a distance-like field around ``centre``, (D, H, W)."""
    steps = np.indices(shape, sparse=True)
    axes = rng.uniform(0.85, 1.15, 3) * (1.0, 1.15, 0.95)
    distance = np.sqrt(
        sum(((step - middle) / axis) ** 2 for step, middle, axis in zip(steps, centre, axes, strict=True))
    )
    return distance * (1 + wobble * smooth(rng, shape, shape[1] / 12))


def _label(rng: np.random.Generator, depth: np.ndarray, share: float) -> np.ndarray:
    """Return the labels 0, 1, 2 and 4, (D, H, W) uint8; label 4 covers ``share`` of the volume."""
    places = np.argwhere((depth > 0.2) & (depth < 0.62))
    distance = _ellipsoid(rng, depth.shape, places[rng.integers(len(places))], 0.06)
    ball = share / (1 - _CORE)
    label = np.zeros(depth.shape, np.uint8)
    label[(distance < level(distance, _OEDEMA * ball)) & (depth < 0.97)] = 2
    label[distance < level(distance, ball)] = 4
    label[distance < level(distance, _CORE * ball)] = 1
    return label


def _scan(
    rng: np.random.Generator, modality: str, depth: np.ndarray, label: np.ndarray, bright: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Return intensities, (D, H, W) int16, exactly 0 outside the brain."""
    brain, gleam, core, ring, oedema = _LIGHT[modality]
    tissue = brain * (1 + 0.08 * smooth(rng, depth.shape, depth.shape[1] / 16))
    tissue = tissue + (gleam - brain) * bright
    for value, light in ((1, core), (2, oedema), (4, ring)):
        tissue = np.where(label == value, light * (1 + 0.08 * smooth(rng, depth.shape, 1.0)), tissue)
    tissue = tissue * bias + 0.06 * brain * smooth(rng, depth.shape, 0.5)
    return np.where(depth < 1, np.clip(np.rint(tissue), 1, 32000), 0).astype(np.int16)


def _save(folder: Path, name: str, kind: str, volume: np.ndarray) -> None:
    """Write a volume, (D, H, W), in the file's order (x, y, z)."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[1, 3] = volume.shape[1] - 1
    volumes.write(folder / f"{name}_{kind}.nii.gz", volume.transpose(2, 1, 0), affine, TAG)


def _relabel(case: Case, change: dict[int, int], dtype: type = np.uint8) -> None:
    head = volumes.header(case.labels[0])
    values = volumes.read(head)
    table = np.arange(256, dtype=dtype)
    table[list(change)] = list(change.values())
    volumes.write(case.labels[0], table[values], head.affine, TAG)


def _misnamed_355(cases: list[Case]) -> None:
    """Call the label of case 355, or of the last case, as the common copy does."""
    path = next((case for case in cases if case.id == _MISNAMED), cases[-1]).labels[0]
    path.with_name("W39_1998.09.19_Segm.nii").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()


def _nii_and_gz(cases: list[Case]) -> None:
    """Put an unpacked copy beside the packed files of the first case."""
    for path in cases[0].files:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))


def _float_labels(cases: list[Case]) -> None:
    """Store every label as float64."""
    for case in cases:
        _relabel(case, {}, np.float64)


def _label_3(cases: list[Case]) -> None:
    """Number the classes as the releases from 2023 on do."""
    for case in cases:
        _relabel(case, {4: 3})


def _no_enhancing(cases: list[Case]) -> None:
    """Take the enhancing tumour out of every 14th case, or of the last of fewer."""
    for case in cases[_EVERY - 1 :: _EVERY] or cases[-1:]:
        _relabel(case, {4: 1})


def _missing_t1ce(cases: list[Case]) -> None:
    """Remove the scan that is read."""
    cases[0].image.unlink()


def default_traps(cases: list[Case]) -> tuple[str, ...]:
    """Return what the official files have."""
    names = {"no_enhancing": len(cases) >= _EVERY, "misnamed_355": any(case.id == _MISNAMED for case in cases)}
    return tuple(name for name, applies in names.items() if applies)


TRAPS = {
    "misnamed_355": _misnamed_355,
    "nii_and_gz": _nii_and_gz,
    "float_labels": _float_labels,
    "label_3": _label_3,
    "no_enhancing": _no_enhancing,
    "missing_t1ce": _missing_t1ce,
}
