"""Phantoms of ISIC 2018: one lesion on shaded skin, among hairs, ink, ruler ticks, black corners and a smaller mole.

What tells the lesion is its place, size and border; its colour is also that of the mole, the shading and the ink.
"""

from pathlib import Path

import numpy as np
from scipy import ndimage

from rareseg.datasets._drawing import blend, level, log_normal, place, ramp, save, smallest, smooth, stream, to_bytes
from rareseg.datasets.case import Case
from rareseg.datasets.files import grey
from rareseg.datasets.isic2018 import IMAGES, MASKS, find

__all__ = ["TRAPS", "draw", "find"]

_MEAN_SHARE, _SPREAD = 0.225, 0.85  # of the law before the cut at 80%; after it the mean is 21%


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number``, with a short side of ``size`` pixels."""
    rng = stream(seed, "isic2018", number)
    quantile, wide = place(seed, "isic2018", number)
    shape = (size, round(size * (3 / 2 if wide < 0.4 else 4 / 3)))
    share = log_normal(quantile, _MEAN_SHARE, _SPREAD, 0.01, 0.8)
    distance = _lesion(rng, shape, share)
    picture = _photograph(rng, shape, distance, share)
    noisy = distance + smooth(rng, shape, size / 16) * 1.2 * np.abs(np.gradient(distance)[0]).mean()
    name = f"ISIC_{number:07d}"
    save(root / IMAGES / f"{name}.jpg", to_bytes(picture))
    save(root / MASKS / f"{name}_segmentation.png", 255 * smallest(noisy, share).astype(np.uint8))


def _grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns from the centre, in units of the short side."""
    rows, columns = np.indices(shape, dtype=float)
    short = min(shape)
    return (rows - shape[0] / 2) / short, (columns - shape[1] / 2) / short


def _lesion(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    """Return a distance-like field: a warped ellipse around a point near the centre, (H, W)."""
    rows, columns = _grid(shape)
    room = 0.12 * (1 - share)
    rows, columns = rows - rng.uniform(-room, room), columns - rng.uniform(-room, room) * 1.5
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.5)
    along = rows * np.cos(turn) + columns * np.sin(turn)
    across = (columns * np.cos(turn) - rows * np.sin(turn)) * stretch
    radius, angle = np.hypot(along, across), np.arctan2(across, along)
    border = sum(rng.normal(0, 0.16 / order) * np.cos(order * angle + rng.uniform(0, 6.3)) for order in range(2, 8))
    return radius / (1 + np.clip(border, -0.4, 0.4))


def _photograph(rng: np.random.Generator, shape: tuple[int, int], distance: np.ndarray, share: float) -> np.ndarray:
    """Return the colours, (H, W, 3) float."""
    tone = rng.uniform(150, 225)
    skin = tone * np.array([1, rng.uniform(0.68, 0.85), rng.uniform(0.5, 0.78)])
    picture = np.ones((*shape, 1)) * skin
    picture = picture * (1 + 0.035 * smooth(rng, shape, 1.0) + 0.06 * smooth(rng, shape, min(shape) / 14))[..., None]
    picture = _pigment(rng, picture, distance, level(distance, share))
    picture = _mole(rng, picture, distance, share)
    picture = _shade(rng, picture)
    for addition in (_ink, _ticks, _hairs, _corners):
        picture = addition(rng, picture)
    return picture + 2.5 * smooth(rng, shape, 0.6)[..., None]


def _pigment(rng: np.random.Generator, picture: np.ndarray, distance: np.ndarray, edge: float) -> np.ndarray:
    """Darken the lesion in two tones with a fading edge and a network."""
    shape = distance.shape
    contrast = rng.uniform(0.16, 0.5)
    fade = ramp((edge - distance) / edge / rng.uniform(0.08, 0.2))
    core = ramp((0.6 * edge - distance + 0.15 * edge * smooth(rng, shape, min(shape) / 10)) / edge / 0.15)
    network = 0.3 * smooth(rng, shape, 1.2)
    depth = contrast * fade * (1 + rng.uniform(-0.25, 0.8) * core + network)
    return picture * (1 - depth[..., None] * np.array([0.65, 1.0, 1.05]))


def _mole(rng: np.random.Generator, picture: np.ndarray, distance: np.ndarray, share: float) -> np.ndarray:
    """Add a smaller mole that nobody labelled, away from the lesion, with the lesion's colours."""
    shape = distance.shape
    outside = np.argwhere(distance > 1.5 * level(distance, share))
    if len(outside) == 0 or rng.random() < 0.35:
        return picture
    centre = outside[rng.integers(len(outside))]
    radius = min(shape) * rng.uniform(0.04, 0.09) * np.sqrt(min(1, share / 0.1))
    rows, columns = np.indices(shape)
    spot = ramp((radius - np.hypot(rows - centre[0], columns - centre[1])) / (0.5 * radius))
    return picture * (1 - rng.uniform(0.25, 0.5) * spot[..., None] * np.array([0.65, 1.0, 1.05]))


def _shade(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Multiply by uneven light: a slope, a broad cloud and a fall towards the rim."""
    rows, columns = _grid(picture.shape[:2])
    turn = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.35) * (rows * np.cos(turn) + columns * np.sin(turn))
    cloud = 0.07 * smooth(rng, picture.shape[:2], min(picture.shape[:2]) / 4)
    rim = rng.uniform(0.1, 0.6) * np.hypot(rows, columns) ** 2
    return picture * (1 + slope + cloud - rim)[..., None]


def _ink(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Add a violet stroke of a pen near the rim in one of three pictures."""
    if rng.random() > 0.33:
        return picture
    rows, columns = _grid(picture.shape[:2])
    side, bend = rng.choice([-1, 1]), rng.uniform(-0.4, 0.4)
    line = np.abs(columns - side * rng.uniform(0.45, 0.6) - bend * rows**2 + 0.1 * rows)
    return blend(picture, (95, 70, 135), 0.8 * ramp((0.04 - line + 0.02 * smooth(rng, line.shape, 1.5)) / 0.02))


def _ticks(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Add a ruler's line and ticks at the lower rim in one of three pictures."""
    if rng.random() > 0.33:
        return picture
    height, width = picture.shape[:2]
    row, step = round(height * rng.uniform(0.86, 0.93)), max(3, width // 16)
    amount = np.zeros((height, width))
    amount[row, width // 6 : -width // 6] = 0.7
    amount[row - height // 24 : row, width // 6 : -width // 6 : step] = 0.7
    return blend(picture, (40, 35, 35), amount)


def _hairs(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Draw up to eight dark hairs, bent and right across everything."""
    shape = picture.shape[:2]
    rows, columns = _grid(shape)
    amount = np.zeros(shape)
    for _ in range(rng.choice([0, 0, 2, 4, 8])):
        turn, bend = rng.uniform(0, np.pi), rng.uniform(-0.8, 0.8)
        along = rows * np.cos(turn) + columns * np.sin(turn)
        across = columns * np.cos(turn) - rows * np.sin(turn) - rng.uniform(-0.6, 0.6) - bend * along**2
        pixels = np.abs(across) * min(shape) / np.hypot(1, 2 * bend * along)
        amount = np.maximum(amount, np.clip(1.1 - pixels, 0, 1) * (np.abs(along) < rng.uniform(0.3, 0.9)))
    return blend(picture, (60, 42, 34), 0.75 * amount)


def _corners(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Black out what the round tube hides in one of three pictures."""
    rows, columns = _grid(picture.shape[:2])
    reach = rng.uniform(0.66, 0.8) * np.hypot(0.5, 0.5 * picture.shape[1] / picture.shape[0]) / 0.707
    dark = ramp((np.hypot(rows, columns) - 0.9 * reach) / 0.02) if rng.random() < 0.33 else np.zeros_like(rows)
    return blend(picture, (12, 8, 10), dark)


def _suffix_case(cases: list[Case]) -> None:
    """Spell a mask's suffix as the archive's text does."""
    path = cases[0].labels[0]
    path.rename(path.with_name(path.name.replace("_segmentation", "_Segmentation")))


def _grey_edges(cases: list[Case]) -> None:
    """Blur a mask as interpolation would."""
    path = cases[0].labels[0]
    save(path, to_bytes(ndimage.gaussian_filter(grey(path).astype(float), 2)))


def _portrait(cases: list[Case]) -> None:
    """Turn the first case upright."""
    save(cases[0].image, np.rot90(cases[0].read_image()))
    save(cases[0].labels[0], np.rot90(grey(cases[0].labels[0])))


def _full_mask(cases: list[Case]) -> None:
    """Let a lesion fill the frame."""
    save(cases[0].labels[0], np.full_like(grey(cases[0].labels[0]), 255))


TRAPS = {"suffix_case": _suffix_case, "grey_edges": _grey_edges, "portrait": _portrait, "full_mask": _full_mask}
