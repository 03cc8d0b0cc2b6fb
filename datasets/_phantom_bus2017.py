"""Phantoms of BUS2017: a dark lesion with its shadow in layered, speckled tissue.

What tells the lesion is that it is a closed oval above its shadow; the shadow, ducts and fat lobules have its grey.
"""

from pathlib import Path

import numpy as np
from scipy import ndimage

from rareseg.datasets._drawing import level, log_normal, place, ramp, save, smallest, smooth, stream, to_bytes
from rareseg.datasets.bus2017 import find
from rareseg.datasets.case import Case
from rareseg.datasets.phantoms import one_bit_masks

__all__ = ["TRAPS", "draw", "find"]

_KEY = "bus2017"
_MEAN_SHARE, _SPREAD = 0.0505, 0.75
_MALIGNANT = 53 / 163  # share of lesions with spicules


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number``, about ``size`` pixels high."""
    rng = stream(seed, _KEY, number)
    quantile, form = place(seed, _KEY, number)
    shape = (round(size * rng.uniform(0.85, 1.15)), round(size * rng.uniform(1.1, 1.55)))
    share = log_normal(quantile, _MEAN_SHARE, _SPREAD, 0.006, 0.25)
    distance, centre = _lesion(rng, shape, spiculated=form < _MALIGNANT)
    edge = level(distance, share)
    picture = _speckled(rng, _tissue(rng, shape, distance / edge, centre))
    noisy = distance * (1 + 0.06 * smooth(rng, shape, size / 16))
    name = f"{number + 1:06d}.png"
    save(root / "original" / name, to_bytes(picture))
    save(root / "GT" / name, 255 * smallest(noisy, share).astype(np.uint8))


def _lesion(rng: np.random.Generator, shape: tuple[int, int], *, spiculated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a distance-like field around the lesion, (H, W), and its centre, (2,)."""
    rows, columns = np.indices(shape, dtype=float)
    centre = np.array([rng.uniform(0.32, 0.58), rng.uniform(0.25, 0.75)]) * shape
    flat = rng.uniform(0.8, 1.0) if spiculated else rng.uniform(0.55, 0.8)
    down, right = (rows - centre[0]) / flat, columns - centre[1]
    tilt = rng.normal(0, 0.15)
    along, across = down * np.cos(tilt) + right * np.sin(tilt), right * np.cos(tilt) - down * np.sin(tilt)
    angle = np.arctan2(across, along)
    border = sum(rng.normal(0, 0.10 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 6))
    if spiculated:
        border = border + 0.16 * np.cos(rng.integers(6, 11) * angle + rng.uniform(0, 6.3))
    return np.hypot(along, across) / (1 + border), centre


def _tissue(rng: np.random.Generator, shape: tuple[int, int], reach: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return how strongly each place echoes, (H, W) float; ``reach`` is 1 at the lesion's contour."""
    size = min(shape)
    rows, columns = np.indices(shape, dtype=float)
    depth = rows / shape[0] + 0.03 * smooth(rng, shape, size / 6)
    skin, fat, muscle = ramp((0.06 - depth) / 0.02), ramp((0.24 - depth) / 0.05), ramp((depth - 0.74) / 0.06)
    layered = 1 + 0.18 * np.sin(depth * rng.uniform(50, 80))
    echo = 105 + 80 * skin - 45 * fat - 45 * muscle * layered + 18 * smooth(rng, shape, size / 10)
    dark = rng.uniform(0.6, 0.88)
    half = np.abs(columns - centre[1])
    wide = half[reach < 1].max(initial=1.0)
    below = ramp((rows - centre[0]) / (0.1 * size)) * ramp((0.85 * wide - half) / (0.25 * wide))
    shadow = rng.uniform(0.4, 0.85) * below * (reach > 1)
    lesion = ramp((1 - reach) / 0.12)
    echo = echo * (1 - dark * np.maximum(np.maximum(lesion, shadow), _ducts(rng, shape, reach)))
    rim = 0.35 * np.exp(-(((reach - 1.12) / 0.12) ** 2)) * (rows < centre[0] + 0.1 * size)
    gain = 1 + rng.uniform(-0.4, 0.2) * (rows / shape[0] - 0.5) + 0.12 * smooth(rng, shape, size / 3)
    return echo * (1 + rim) * gain


def _ducts(rng: np.random.Generator, shape: tuple[int, int], reach: np.ndarray) -> np.ndarray:
    """Return dark ducts and lobules that nobody labelled, (H, W), 0 to 1, away from the lesion."""
    rows, columns = np.indices(shape, dtype=float)
    dark = np.zeros(shape)
    for row, column in rng.uniform(0.1, 0.95, (rng.integers(3, 8), 2)) * shape:
        long, thin = min(shape) * rng.uniform(0.08, 0.22), min(shape) * rng.uniform(0.018, 0.045)
        tilt = rng.normal(0, 0.35)
        along = (columns - column) * np.cos(tilt) + (rows - row) * np.sin(tilt)
        across = (rows - row) * np.cos(tilt) - (columns - column) * np.sin(tilt)
        dark = np.maximum(dark, ramp((1 - np.hypot(along / long, across / thin)) / 0.3))
    return dark * ramp((reach - 1.25) / 0.1)


def _speckled(rng: np.random.Generator, echo: np.ndarray) -> np.ndarray:
    """Return grey levels: multiplicative, correlated speckle, compressed as a scanner does."""
    waves = [ndimage.gaussian_filter(rng.standard_normal(echo.shape), (0.5, 0.8)) for _ in range(2)]
    speckle = np.hypot(*waves)
    return np.clip(echo, 3, None) * (speckle / speckle.mean()) ** 0.42


def _rgb_images(cases: list[Case]) -> None:
    """Store every image with three equal channels, with a coloured measuring mark."""
    for case in cases:
        pixels = np.repeat(case.read_image(), 3, axis=2)
        pixels[0, 0] = 255, 255, 0
        save(case.image, pixels)


def _masks_0_1(cases: list[Case]) -> None:
    """Store every mask as 0 and 1."""
    for case in cases:
        save(case.labels[0], case.read_label())


def _lower_case_gt(cases: list[Case]) -> None:
    """Call the folder of the masks ``gt``."""
    folder = cases[0].labels[0].parent
    aside = folder.rename(folder.with_name("aside"))  # in two steps: some file systems ignore case
    aside.rename(folder.with_name("gt"))


TRAPS = {
    "rgb_images": _rgb_images,
    "masks_0_1": _masks_0_1,
    "one_bit_masks": one_bit_masks,
    "lower_case_gt": _lower_case_gt,
}
