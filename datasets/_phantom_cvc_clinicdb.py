"""Phantoms of CVC-ClinicDB: one polyp that moves through the frames of a sequence, among folds of the same tissue.

What tells a polyp is that it is a round bump with a shaded rim; folds have its colours, its crest and its shadow, but
are long; the light falls off towards a black octagon.
"""

import struct
from pathlib import Path

import numpy as np
from scipy import ndimage

from rareseg.datasets._drawing import blend, level, log_normal, place, ramp, save, smallest, smooth, stream, to_bytes
from rareseg.datasets.case import Case
from rareseg.datasets.cvc_clinicdb import IMAGES, LAST, MASKS, STARTS, find, sequence
from rareseg.datasets.files import grey

__all__ = ["TRAPS", "default_traps", "draw", "find"]

_KEY = "cvc_clinicdb"
_MEAN_SHARE, _SPREAD, _ZOOM = 0.0917, 0.6, 0.35  # of sequences, and within one
_RUN = 6  # frames of a sequence that are drawn before the next one begins; the shortest has six
_FLARE = (0.30, 0.55, 0.60)  # how much darker each channel is in a shadow
_BLUSH = (0.0, 1.0, 0.7)  # and on a polyp, whose blood shows


def draw(root: Path, number: int, size: int, seed: int) -> None:
    """Write case ``number``, with a short side of ``size`` pixels."""
    frame, rank = _frame(number, seed)
    show = stream(seed, f"{_KEY} sequence", sequence(frame))
    rng = stream(seed, _KEY, number)
    shape = (size, round(size * 384 / 288))
    home = log_normal(place(seed, _KEY, rank)[0], _MEAN_SHARE, _SPREAD, 0.003, 0.49)
    share = log_normal(place(seed, f"{_KEY} zoom", number)[0], home, _ZOOM, 0.003, 0.49)
    distance = _polyp(show, rng, shape, share)
    edge = level(distance, share)
    picture = _tissue(show, rng, shape, distance / edge)
    picture = _lights(rng, picture)
    noisy = distance * (1 + 0.05 * smooth(rng, shape, size / 16))
    save(root / IMAGES / f"{frame}.tif", to_bytes(_octagon(picture)), compression=None)
    save(root / MASKS / f"{frame}.tif", 255 * smallest(noisy, share).astype(np.uint8), compression=None)


def _frame(number: int, seed: int) -> tuple[int, int]:
    """Return frame, 1 to 612, and rank of the sequence of case ``number``.

    Frames come in runs of six through all sequences, then the next six of each: few cases show many polyps.
    """
    if number >= LAST:
        raise ValueError(f"{_KEY} has {LAST} frames, no more phantoms can be made")
    ends = (*STARTS[1:], LAST + 1)
    order = stream(seed, f"{_KEY} order", 0).permutation(len(STARTS))
    for turn in range(-(-26 // _RUN)):
        for rank, which in enumerate(order):
            first, last = STARTS[which] + turn * _RUN, min(STARTS[which] + (turn + 1) * _RUN, ends[which])
            if number < max(0, last - first):
                return int(first + number), rank
            number -= max(0, last - first)
    raise AssertionError("every frame has its turn")


def _polyp(show: np.random.Generator, rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    """Return a distance-like field around the polyp, (H, W); ``show`` gives its form, ``rng`` where it has moved."""
    rows, columns = np.indices(shape, dtype=float)
    room = 0.3 * (1 - min(1, 1.6 * np.sqrt(share)))
    home = show.uniform(-room, room, 2) + rng.normal(0, 0.04, 2)
    down = rows / shape[0] - 0.5 - np.clip(home[0], -room, room)
    right = (columns / shape[1] - 0.5 - np.clip(home[1], -room, room)) * shape[1] / shape[0]
    turn, stretch = show.uniform(0, np.pi) + rng.normal(0, 0.15), show.uniform(1, 1.5)
    along = down * np.cos(turn) + right * np.sin(turn)
    across = (right * np.cos(turn) - down * np.sin(turn)) * stretch
    angle = np.arctan2(across, along)
    border = sum(show.normal(0, 0.14 / k) * np.cos(k * angle + show.uniform(0, 6.3)) for k in range(2, 6))
    return np.hypot(along, across) / (1 + np.clip(border, -0.4, 0.4))


def _tissue(
    show: np.random.Generator, rng: np.random.Generator, shape: tuple[int, int], reach: np.ndarray
) -> np.ndarray:
    """Return the colours, (H, W, 3) float; ``reach`` is 1 at the polyp's contour."""
    size = min(shape)
    tone = show.uniform(150, 205) * np.array([1.0, show.uniform(0.55, 0.62), show.uniform(0.41, 0.48)])
    folds, crest = _folds(show, rng, shape)
    bump = np.clip(1 - reach**2, 0, 1) ** 0.5  # a dome: bright on top, in the dark at its rim
    rim = np.exp(-(((reach - 1.04) / 0.14) ** 2))
    outside = ramp((reach - 1) / 0.1)
    height = 1 + (0.06 + 0.26 * bump) * (1 - outside) + outside * crest
    shadow = np.clip(0.55 * rim + 0.9 * outside * folds, 0, 1)
    rough = 1 + 0.05 * smooth(rng, shape, 1.0) + 0.08 * smooth(rng, shape, size / 10)
    vessels = 0.12 * ramp(2.5 * (1 - np.abs(smooth(show, shape, size / 20)) * 6)) * outside
    picture = tone * (height * rough - vessels)[..., None]
    blush = show.uniform(0.1, 0.2) * (1 - outside)
    return picture * (1 - shadow[..., None] * np.array(_FLARE)) * (1 - blush[..., None] * np.array(_BLUSH))


def _folds(
    show: np.random.Generator, rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return how dark (0 to 1) and by how much brighter (0 to 0.3) the folds make each pixel, two of (H, W)."""
    rows, columns = np.indices(shape) / min(shape)
    dark, bright = np.zeros(shape), np.zeros(shape)
    for _ in range(show.integers(4, 8)):
        turn, place_, bend = show.uniform(0, np.pi), show.uniform(-0.2, 1.3), show.uniform(-1.2, 1.2)
        along = rows * np.cos(turn) + columns * np.sin(turn)
        across = columns * np.cos(turn) - rows * np.sin(turn) - place_ + 0.6 * np.sin(turn)
        across = across + bend * (along - 0.6) ** 2 + rng.normal(0, 0.02)
        width = show.uniform(0.05, 0.12)
        dark = np.maximum(dark, 0.75 * np.exp(-((across / (0.35 * width)) ** 2)))
        bright = np.maximum(bright, 0.28 * np.exp(-(((across - width) / (0.8 * width)) ** 2)))
    return dark, bright


def _lights(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Light the scene from the camera, unevenly, and add the glare of wet tissue."""
    shape = picture.shape[:2]
    rows, columns = np.indices(shape) / np.array(shape)[:, None, None] - 0.5
    centre = rng.uniform(-0.25, 0.25, 2)
    fall = 1.15 - rng.uniform(0.5, 1.2) * np.hypot(rows - centre[0], columns - centre[1]) ** 1.3
    picture = picture * (fall * (1 + 0.1 * smooth(rng, shape, min(shape) / 4)))[..., None]
    glare = np.zeros(shape)
    for row, column in rng.uniform(0.1, 0.9, (rng.integers(3, 9), 2)) * shape:
        radius = min(shape) * rng.uniform(0.008, 0.03)
        away = np.hypot(np.arange(shape[0])[:, None] - row, np.arange(shape[1]) - column)
        glare = np.maximum(glare, ramp((radius - away) / (0.6 * radius)))
    noise = 2.5 * np.stack([smooth(rng, shape, 0.6) for _ in range(3)], axis=-1)
    return blend(picture, (250, 248, 240), 0.9 * glare) + noise


def _octagon(picture: np.ndarray) -> np.ndarray:
    """Black out what lies outside the endoscope's window."""
    rows, columns = np.abs(np.indices(picture.shape[:2]) / np.array(picture.shape[:2])[:, None, None] - 0.5)
    inside = (np.maximum(rows, columns) < 0.485) & (rows + columns < 0.83)
    return np.where(ndimage.binary_erosion(inside)[..., None], picture, 8.0)


def _grey_tagged_tiff(cases: list[Case]) -> None:
    """Tag every frame as grey, as the official files are."""
    for case in cases:
        whole = bytearray(case.image.read_bytes())
        first = struct.unpack_from("<I", whole, 4)[0]
        for entry in range(first + 2, first + 2 + 12 * struct.unpack_from("<H", whole, first)[0], 12):
            if struct.unpack_from("<H", whole, entry)[0] == 262:  # PhotometricInterpretation: 2 is RGB, 1 grey
                struct.pack_into("<H", whole, entry + 8, 1)
        case.image.write_bytes(whole)


def _low_grey_in_masks(cases: list[Case]) -> None:
    """Put dark grey beside the polyp into the masks of the first case's sequence, as frames 1 to 5 have it."""
    for case in cases:
        if case.group == cases[0].group:
            mask = grey(case.labels[0])
            near = ndimage.binary_dilation(mask, iterations=max(2, min(mask.shape) // 16)) & (mask == 0)
            save(case.labels[0], np.where(near, 11, mask).astype(np.uint8))


def _png_copy(cases: list[Case]) -> None:
    """Put every frame and mask below ``PNG/``, as PNG."""
    _copied(cases, "PNG", ".png")


def _jpeg_copy(cases: list[Case]) -> None:
    """Store every frame and mask as JPEG, which blurs the masks."""
    _copied(cases, "", ".jpg")


def _copied(cases: list[Case], folder: str, suffix: str) -> None:
    root = cases[0].image.parents[1]
    for case in cases:
        pixels = {case.image: case.read_image(), case.labels[0]: grey(case.labels[0])}
        for path, values in pixels.items():
            save((root / folder / path.relative_to(root)).with_suffix(suffix), values)
            path.unlink()
    if folder:
        (root / IMAGES).rmdir()
        (root / MASKS).rmdir()


def _rgb_masks(cases: list[Case]) -> None:
    """Store every mask with three equal channels."""
    for case in cases:
        save(case.labels[0], np.repeat(grey(case.labels[0])[..., None], 3, axis=2))


def default_traps(cases: list[Case]) -> tuple[str, ...]:  # noqa: ARG001
    """Return what the official files have."""
    return "grey_tagged_tiff", "low_grey_in_masks"


TRAPS = {
    "grey_tagged_tiff": _grey_tagged_tiff,
    "low_grey_in_masks": _low_grey_in_masks,
    "png_copy": _png_copy,
    "rgb_masks": _rgb_masks,
    "jpeg_copy": _jpeg_copy,
}
