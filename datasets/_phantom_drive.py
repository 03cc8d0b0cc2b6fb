"""Phantoms of DRIVE: a tree of vessels from a bright disc, thick to thin, in a round and unevenly lit field of view.

What tells a vessel is that it is long; haemorrhages are as dark, the ground is as rough, and the rim of the field of
view is an edge like a vessel's.
"""

import shutil
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from rareseg.datasets._drawing import blend, log_normal, place, ramp, save, smooth, stream, to_bytes
from rareseg.datasets.case import Case
from rareseg.datasets.drive import find
from rareseg.datasets.phantoms import one_bit_masks

__all__ = ["TRAPS", "draw", "find"]

_MEAN_SHARE, _SPREAD = 0.0870, 0.16  # of the frame
_RADIUS = 0.468  # of the field of view, in frame widths: it covers 68.8% of the frame
_THINNEST = 1.6  # pixels
_MOST = 40  # numbers 01 to 20 are the test half, 21 to 40 the training half


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number``, ``size`` pixels square: even ones in the training half, odd ones in the test half."""
    if number >= _MOST:
        raise ValueError(f"drive has {_MOST} cases, no more phantoms can be made")
    rng = stream(seed, "drive", number)
    share = log_normal(place(seed, "drive", number)[0], _MEAN_SHARE, _SPREAD, 0.06, 0.116)
    fov = np.hypot(*(np.indices((size, size)) - (size - 1) / 2)) < _RADIUS * size
    disc = np.array([size * rng.uniform(0.42, 0.58), size * rng.choice([0.17, 0.83])])
    depth, width = _tree(rng, size, disc, share)
    picture = _photograph(rng, fov, disc, depth, width)
    half, name = ("test", f"{1 + number // 2:02d}") if number % 2 else ("training", f"{21 + number // 2}")
    save(root / half / "images" / f"{name}_{half}.tif", to_bytes(picture))
    save(root / half / "mask" / f"{name}_{half}_mask.gif", 255 * fov.astype(np.uint8))
    label = _observed(rng, depth, fov, shift=0.15)
    save(root / half / "1st_manual" / f"{name}_manual1.gif", 255 * label)
    if half == "test":
        second = _observed(rng, np.where(width < 1.7, depth - rng.uniform(0.1, 0.4), depth), fov, shift=0.5)
        save(root / half / "2nd_manual" / f"{name}_manual2.gif", _with_palette(second))


def _tree(rng: np.random.Generator, size: int, disc: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Grow vessels, the thickest first, until they cover ``share`` of the frame.

    Returns:
        Depth below the vessel wall in pixels, negative outside, and width of the nearest vessel, both (H, W).
    """
    depth, width = np.full((size, size), -9.0), np.zeros((size, size))
    thickest = max(3.6, 7 * size / 584)
    inwards = 0.0 if disc[1] < size / 2 else np.pi
    buds: list[tuple[float, int, np.ndarray, float]] = []
    for heading in (0.9, -0.9, 0.35, -0.35, 2.2, -2.2):
        heappush(buds, (-thickest * rng.uniform(0.75, 1), len(buds), disc, inwards + heading + rng.normal(0, 0.15)))
    born = len(buds)
    while np.count_nonzero(depth > 0) < share * depth.size:
        thin, _, start, heading = heappop(buds) if buds else _sprout(rng, depth)
        for bud in _grow(rng, depth, width, start, heading, -thin):
            heappush(buds, (bud[0], born, bud[1], bud[2]))
            born += 1
    return depth, width


def _sprout(rng: np.random.Generator, depth: np.ndarray) -> tuple[float, int, np.ndarray, float]:
    """Return a bud anywhere on the tree, for when all others have met a vessel or the rim."""
    start = rng.choice(np.argwhere(depth > 0.5)).astype(float)
    return -_THINNEST, 0, start, rng.uniform(0, 2 * np.pi)


def _grow(
    rng: np.random.Generator, depth: np.ndarray, width: np.ndarray, start: np.ndarray, heading: float, thick: float
) -> list[tuple[float, np.ndarray, float]]:
    """Paint one vessel into ``depth`` and ``width`` and return its buds: negative thickness, place, heading."""
    size, point, buds, bend = len(depth), start.astype(float), [], 0.0
    unbranched = 0
    for step in range(round(rng.uniform(0.25, 0.55) * size)):
        centre = (size - 1) / 2 - point
        ahead = np.rint(point + (2 + thick / 2) * np.array([np.sin(heading), np.cos(heading)])).astype(int)
        crosses = step > 2 * thick + 3 and depth[tuple(np.clip(ahead, 0, size - 1))] > 0
        if crosses or np.hypot(*centre) > _RADIUS * size:
            break
        bend = 0.9 * bend + rng.normal(0, 0.018)
        pull = np.arctan2(centre[0], centre[1]) - heading  # main vessels arch around the middle of the field
        heading += bend * 64 / size + 0.8 / size * np.sin(pull)
        point = point + np.array([np.sin(heading), np.cos(heading)])
        _stamp(depth, width, point, thick)
        unbranched += 1
        if unbranched > 0.05 * size and rng.random() < 9 / size and thick > _THINNEST:
            side = rng.choice([-1, 1])
            buds.append((-max(_THINNEST, thick * rng.uniform(0.5, 0.8)), point, heading + side * rng.uniform(0.5, 1.2)))
            unbranched, thick = 0, max(_THINNEST, 0.93 * thick)
    return buds


def _stamp(depth: np.ndarray, width: np.ndarray, point: np.ndarray, thick: float) -> None:
    """Deepen a disc of diameter ``thick`` around ``point``."""
    reach = int(thick / 2 + 3)
    row, column = np.rint(point).astype(int)
    window = tuple(slice(max(0, k - reach), max(0, k + reach + 1)) for k in (row, column))
    rows, columns = np.ogrid[window]
    rows, columns = rows[rows[:, 0] < len(depth)], columns[:, columns[0] < len(depth)]
    here = thick / 2 - np.hypot(rows - point[0], columns - point[1])
    deeper = here > depth[window]
    depth[window][deeper] = here[deeper]
    width[window][deeper] = thick


def _photograph(
    rng: np.random.Generator, fov: np.ndarray, disc: np.ndarray, depth: np.ndarray, width: np.ndarray
) -> np.ndarray:
    """Return the colours, (H, W, 3) float."""
    shape, size = fov.shape, len(fov)
    rows, columns = np.indices(shape)
    ground = np.ones((*shape, 1)) * np.array([rng.uniform(190, 220), rng.uniform(98, 122), rng.uniform(42, 60)])
    rough = 0.04 * smooth(rng, shape, size / 80) + 0.05 * smooth(rng, shape, size / 30)
    picture = ground * (1 + rough)[..., None]
    away = np.hypot(rows - disc[0], columns - disc[1]) / size
    picture = blend(picture, (250, 215, 150), 0.85 * ramp((0.065 - away) / 0.02))
    yellow = np.hypot(rows - disc[0], columns - (size - disc[1]) * 0.35 - size * 0.325) / size
    picture = picture * (1 - 0.35 * np.exp(-((yellow / 0.09) ** 2)))[..., None]
    contrast = (0.42 + 0.2 * np.clip((width - 1) / 2.5, 0, 1)) * (1 + 0.25 * smooth(rng, shape, size / 16))
    dark = np.maximum(contrast * np.clip(depth + 0.6, 0, 1), _haemorrhages(rng, shape))
    picture = picture * (1 - dark[..., None] * np.array([0.45, 1.0, 0.7]))
    return _lit(rng, picture, fov)


def _haemorrhages(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return how far dark blobs darken the picture, (H, W), 0 to 1."""
    rows, columns = np.indices(shape)
    dark = np.zeros(shape)
    for row, column in rng.uniform(0.2, 0.8, (rng.integers(2, 8), 2)) * shape:
        radius = shape[0] * rng.uniform(0.012, 0.03)
        dark = np.maximum(dark, 0.4 * ramp((radius - np.hypot(rows - row, columns - column)) / (0.5 * radius)))
    return dark


def _lit(rng: np.random.Generator, picture: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Light the field unevenly, brighten a sickle of its rim, and blacken what lies outside."""
    size = len(fov)
    rows, columns = (np.indices(fov.shape) - (size - 1) / 2) / size
    radius, turn = np.hypot(rows, columns), rng.uniform(0, 2 * np.pi)
    sickle = 0.3 * ramp((radius - 0.43) / 0.03) * ramp(np.cos(np.arctan2(rows, columns) - turn) * 2 - 1)
    slope = rng.uniform(0.1, 0.45) * (rows * np.cos(turn) + columns * np.sin(turn))
    light = 1 + slope + 0.1 * smooth(rng, fov.shape, size / 5) - 1.4 * radius**2 + sickle
    inside = ramp((_RADIUS - radius) * size / 1.5)[..., None]
    noise = 2.5 * np.stack([smooth(rng, fov.shape, 0.5) for _ in range(3)], axis=-1)
    return inside * picture * light[..., None] + (1 - inside) * 4 + (0.3 + 0.7 * inside) * noise


def _observed(rng: np.random.Generator, depth: np.ndarray, fov: np.ndarray, shift: float) -> np.ndarray:
    """Return what a person would paint, (H, W) uint8 0 or 1: walls off by about ``shift`` pixels in smooth swings."""
    wander = [smooth(rng, depth.shape, len(depth) / 25) * shift for _ in range(2)]
    moved = ndimage.map_coordinates(depth, np.indices(depth.shape) + wander, order=1, mode="nearest")
    painted = moved + shift / 2 * smooth(rng, depth.shape, len(depth) / 40) > 0
    return (painted & ndimage.binary_dilation(fov)).astype(np.uint8)


def _with_palette(label: np.ndarray) -> Image.Image:
    """Return the second observer's picture, whose values are indices into nearly black and nearly white."""
    picture = Image.fromarray(label, mode="P")
    picture.putpalette([4, 2, 4, 252, 254, 252])
    return picture


def _no_test_manuals(cases: list[Case]) -> None:
    """Leave the test half without labels, as newer downloads do."""
    half = next(case.labels[0].parents[1] for case in cases if case.part == "test")
    for manuals in ("1st_manual", "2nd_manual"):
        shutil.rmtree(half / manuals)


def _palette_manuals(cases: list[Case]) -> None:
    """Store every label as the second observer's are."""
    for case in cases:
        save(case.labels[0], _with_palette(case.read_label()))


def _manual_as_png(cases: list[Case]) -> None:
    """Store every label as PNG."""
    for case in cases:
        label = case.read_label()
        case.labels[0].unlink()
        save(case.labels[0].with_suffix(".png"), 255 * label)


TRAPS = {
    "no_test_manuals": _no_test_manuals,
    "palette_manuals": _palette_manuals,
    "one_bit_masks": one_bit_masks,
    "manual_as_png": _manual_as_png,
}
