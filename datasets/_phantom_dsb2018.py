"""Phantoms of DSB 2018: nuclei in the ten kinds of pictures of the real set, with the same proportions.

What tells a nucleus is its size and outline; debris, haze and glowing cytoplasm share its grey, and dim nuclei lie
below them.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from rareseg.datasets._drawing import level, log_normal, place, ramp, save, smallest, smooth, stream, to_bytes
from rareseg.datasets.case import Case
from rareseg.datasets.dsb2018 import FOLDER, find
from rareseg.datasets.files import grey

__all__ = ["TRAPS", "draw", "find"]


@dataclass(frozen=True)
class _Kind:
    """One kind of picture: official size in pixels, how many of the 670, mean share, median number of nuclei."""

    rows: int
    columns: int
    style: str
    images: int
    share: float
    nuclei: int


_KINDS = (
    _Kind(256, 256, "fluorescence", 334, 0.077, 22),
    _Kind(520, 696, "fluorescence", 92, 0.176, 106),
    _Kind(256, 320, "stained", 108, 0.211, 33),
    _Kind(360, 360, "fluorescence", 91, 0.275, 23),
    _Kind(1024, 1024, "brightfield", 16, 0.019, 80),
    _Kind(512, 640, "fluorescence", 13, 0.115, 31),
    _Kind(603, 1272, "fluorescence", 6, 0.047, 225),
    _Kind(260, 347, "fluorescence", 5, 0.147, 80),
    _Kind(256, 320, "fluorescence", 4, 0.163, 24),
    _Kind(1040, 1388, "fluorescence", 1, 0.070, 14),
)
_SINGLE = 7  # the case with one nucleus
_LEAST_RADIUS = 4.5  # pixels at a short side of `size`: smaller nuclei would vanish, so small pictures hold fewer


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number``; 256 official pixels become ``size``."""
    rng = stream(seed, "dsb2018", number)
    which, quantile = place(seed, "dsb2018", number)
    edges = np.cumsum([kind.images for kind in _KINDS])
    kind = _KINDS[int(np.searchsorted(edges, which * edges[-1], side="right"))]
    shape = (round(kind.rows * size / 256), round(kind.columns * size / 256))
    share = log_normal(quantile, kind.share, 0.45, 0.0003, 0.6)
    count = max(1, min(kind.nuclei, round(share * size**2 / (np.pi * _LEAST_RADIUS**2))))
    if number == _SINGLE:
        count, share = 1, share / count
    nuclei = _nuclei(rng, shape, count, share)
    picture = _STYLES[kind.style](rng, nuclei, size)
    opaque = np.full((*shape, 1), 255, np.uint8)
    name = sha256(f"{seed} {number}".encode()).hexdigest()
    save(root / FOLDER / name / "images" / f"{name}.png", np.concatenate([to_bytes(picture), opaque], axis=2))
    noisy = smallest(nuclei.distance * (1 + 0.06 * smooth(rng, shape, size / 40)), share)
    for nucleus in np.unique(nuclei.owner[noisy]):
        mask = 255 * (noisy & (nuclei.owner == nucleus)).astype(np.uint8)
        save(root / FOLDER / name / "masks" / f"{sha256(f'{name} {nucleus}'.encode()).hexdigest()}.png", mask)


@dataclass(frozen=True)
class _Nuclei:
    """Where the nuclei are.

    Attributes:
        distance: Relative distance to the nearest nucleus, (H, W): 0 in its middle, ``edge`` at its contour.
        owner: Which nucleus is nearest, (H, W).
        edge: See ``distance``.
    """

    distance: np.ndarray
    owner: np.ndarray
    edge: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""
        return self.distance.shape

    def disc(self, reach: float, fade: float) -> np.ndarray:
        """Return 1 within ``reach`` times the contour and 0 beyond, (H, W), fading over ``fade`` contours."""
        return ramp((reach - self.distance / self.edge) / fade)

    def each(self, values: Callable[[int], np.ndarray]) -> np.ndarray:
        """Return a value per nucleus, drawn by ``values``, spread over the nearest pixels, (H, W)."""
        return values(self.owner.max() + 1)[self.owner]


def _nuclei(rng: np.random.Generator, shape: tuple[int, int], count: int, share: float) -> _Nuclei:
    """Return ``count`` warped ellipses that may touch, do not overlap, and cover ``share`` of the frame."""
    rows, columns = np.indices(shape, dtype=float)
    nearest, owner = np.full(shape, np.inf), np.zeros(shape, int)
    spots = _spots(rng, shape, count)
    for nucleus, (row, column) in enumerate(spots):
        turn, stretch, radius = rng.uniform(0, np.pi), rng.uniform(1, 1.6), rng.lognormal(0, 0.2)
        down, right = rows - row, columns - column
        along = down * np.cos(turn) + right * np.sin(turn)
        across = (right * np.cos(turn) - down * np.sin(turn)) * stretch
        angle = np.arctan2(across, along)
        border = 1 + 0.08 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.06 * np.cos(3 * angle + rng.uniform(0, 6))
        distance = np.hypot(along, across) / (radius * border)
        owner[distance < nearest] = nucleus
        nearest = np.minimum(nearest, distance)
    return _Nuclei(nearest, owner, level(nearest, share))


def _spots(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Return centres, (count, 2): spread out, but every fifth close to the one before, so that they touch."""
    spots = np.empty((count, 2))
    apart = np.sqrt(shape[0] * shape[1] / count)
    for k in range(count):
        tries = rng.uniform(0.02, 0.98, (12, 2)) * shape
        gaps = np.hypot(*(tries[:, None] - spots[None, :k]).transpose(2, 0, 1)).min(axis=1, initial=apart)
        spots[k] = tries[np.argmax(gaps)]
        if k % 5 == 4:
            spots[k] = np.clip(spots[k - 1] + rng.normal(0, 0.33 * apart, 2), 1, np.array(shape) - 1)
    return spots


def _blobs(rng: np.random.Generator, shape: tuple[int, ...], count: int, radius: float) -> np.ndarray:
    """Return soft round specks, (H, W), 0 to 1."""
    rows, columns = np.indices(shape)
    specks = np.zeros(shape)
    for row, column in rng.uniform(0, 1, (count, 2)) * shape:
        wide = radius * rng.uniform(0.7, 1.3)
        specks = np.maximum(specks, ramp((wide - np.hypot(rows - row, columns - column)) / (0.7 * wide)))
    return specks


def _fluorescence(rng: np.random.Generator, nuclei: _Nuclei, size: int) -> np.ndarray:
    """Dark ground with haze; nuclei bright or dim, some with glowing cytoplasm; small bright debris."""
    shape, gain = nuclei.shape, rng.choice([0.6, 1.0, 1.5])
    brightness = nuclei.each(lambda count: rng.lognormal(np.log(70), 0.35, count))
    body = nuclei.disc(1, 0.14) * (1 + 0.12 * smooth(rng, shape, 1.2))
    glow = 0.35 * nuclei.disc(2.1, 0.6) * nuclei.each(lambda count: rng.random(count) < 0.4)
    haze = 14 + 9 * np.clip(smooth(rng, shape, size / 5), -1, 3)
    debris = rng.uniform(70, 130) * _blobs(rng, shape, int(rng.integers(2, 7)), 1.4 * size / 64)
    light = gain * (1 + 0.2 * smooth(rng, shape, size / 2))
    return _neutral(
        light * np.maximum(haze + brightness * np.maximum(body, glow), debris) + 1.5 * smooth(rng, shape, 0.5)
    )


def _stained(rng: np.random.Generator, nuclei: _Nuclei, size: int) -> np.ndarray:
    """Bright violet tissue; nuclei darker, pale smears of the same violet between them."""
    shape = nuclei.shape
    depth = nuclei.disc(1, 0.2) * nuclei.each(lambda count: rng.lognormal(np.log(0.75), 0.15, count))
    smears = 0.25 * ramp(smooth(rng, shape, size / 10) + 0.3 * smooth(rng, shape, 1) - 0.5)
    stain = rng.uniform(0.8, 1.2) * np.maximum(depth * (1 + 0.13 * smooth(rng, shape, 1.2)), smears)
    light = (1 + 0.06 * smooth(rng, shape, size / 2))[..., None] * np.array([200, 175, 220])
    return light * (1 - stain[..., None] * np.array([0.75, 0.9, 0.35])) + 3 * smooth(rng, shape, 0.6)[..., None]


def _brightfield(rng: np.random.Generator, nuclei: _Nuclei, size: int) -> np.ndarray:
    """White ground, grey flakes of cytoplasm, nuclei darker; dark dots that are none."""
    shape = nuclei.shape
    flakes = 0.28 * nuclei.disc(3.5, 0.3) * ramp(smooth(rng, shape, size / 12) + 1)
    dots = 0.6 * _blobs(rng, shape, nuclei.owner.max() // 2 + 2, size / 64)
    depth = np.maximum(np.maximum(flakes, dots), 0.55 * nuclei.disc(1, 0.2))
    light = 232 * (1 + 0.03 * smooth(rng, shape, size / 2))
    return _neutral(light * (1 - depth * (1 + 0.1 * smooth(rng, shape, 1.5))) + 2 * smooth(rng, shape, 0.6))


def _neutral(values: np.ndarray) -> np.ndarray:
    """Return three equal channels, (H, W, 3)."""
    return np.repeat(values[..., None], 3, axis=2)


_STYLES = {"fluorescence": _fluorescence, "stained": _stained, "brightfield": _brightfield}


def _rgb_instead_of_rgba(cases: list[Case]) -> None:
    """Store a picture without alpha."""
    save(cases[0].image, cases[0].read_image())


def _no_masks_folder(cases: list[Case]) -> None:
    """Remove a case's masks with their folder."""
    shutil.rmtree(cases[0].labels[0].parent)


def _tiny_mask(cases: list[Case]) -> None:
    """Shrink a nucleus to one pixel, as in 7b38c917."""
    mask = grey(cases[0].labels[0])
    dot = np.zeros_like(mask)
    dot.flat[mask.argmax()] = 255
    save(cases[0].labels[0], dot)


def _overlap(cases: list[Case]) -> None:
    """Let one mask of a case take in another, which stays."""
    first, second = next(case.labels for case in cases if len(case.labels) > 1)[:2]
    save(first, np.maximum(grey(first), grey(second)))


TRAPS = {
    "rgb_instead_of_rgba": _rgb_instead_of_rgba,
    "no_masks_folder": _no_masks_folder,
    "tiny_mask": _tiny_mask,
    "overlap": _overlap,
}
