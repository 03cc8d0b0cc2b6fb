"""One picture with many cases of a data set, their labels outlined, to be looked at before anything is trained."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from rareseg.datasets import DataError

TILE = 220
"""Pixels of a tile's longer side."""
OUTLINES = ((255, 214, 0), (0, 220, 255), (255, 90, 200), (120, 255, 90))
"""Colours of class 1, 2, ...; later classes begin anew."""

_CAPTION, _GAP, _SMALL = 30, 8, 11  # pixels
_SAMPLES = 4  # of a picture, per pixel of a tile and axis: real numbers for a photograph of 30 megapixels fill 1.4 GB
_HOUNSFIELD = (-160.0, 240.0)  # the abdomen's usual window, for images that hold air
_DARK = 128  # pictures whose highlights are below are brightened, or nothing would be seen of fluorescence
_PAPER, _INK = (250, 250, 250), (30, 30, 30)


def draw(
    title: str,
    cases: Sequence[Any],
    columns: int = 6,
    tile: int = TILE,
    colours: int | None = None,
    workers: int = 1,
) -> bytes:
    """Return a PNG: a title and a tile per case, captioned with its id and its share of foreground.

    Args:
        title: First line; says "phantom" for phantoms.
        cases: Cases of ``rareseg.datasets``.
        columns: Tiles in a row.
        tile: Pixels of a tile's longer side.
        colours: Reduce to so many, up to 256, for a small file.
        workers: Threads that read cases.
    """
    with ThreadPoolExecutor(workers) as pool:
        tiles = list(pool.map(lambda case: _tile(case, tile), cases))
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [_CAPTION + max(picture.height for picture, _ in row) for row in rows]
    width = _GAP + min(columns, len(tiles)) * (tile + _GAP)
    sheet = Image.new("RGB", (width, _GAP + _CAPTION + sum(heights)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), title, _INK, ImageFont.load_default(16))
    top = _GAP + _CAPTION
    for row, height in zip(rows, heights, strict=True):
        for place, (picture, caption) in enumerate(row):
            left = _GAP + place * (tile + _GAP)
            sheet.paste(picture, (left, top))
            pen.text((left, top + picture.height + 2), caption, _INK, _fitting(caption, tile))
        top += height
    if colours:
        sheet = sheet.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", title)
    stream = io.BytesIO()
    sheet.save(stream, "png", pnginfo=text, optimize=True)
    return stream.getvalue()


def chosen(cases: Sequence[Any], count: int = 24) -> list[Any]:
    """Return at most ``count`` cases, spread evenly over the set."""
    return [cases[place * len(cases) // min(count, len(cases))] for place in range(min(count, len(cases)))]


def _fitting(text: str, width: int) -> Any:
    """Return the font in which a text is not wider than ``width`` pixels."""
    length = ImageFont.load_default(_SMALL).getlength(text)
    return ImageFont.load_default(_SMALL * min(1, width / length))


def _tile(case: Any, side: int) -> tuple[Image.Image, str]:
    """Return the outlined picture, its longer side of ``side`` pixels, and its caption."""
    try:
        picture, label, note = _volume(case) if case.spacing else _picture(case, side)
    except DataError:
        return Image.new("RGB", (side, side), (200, 60, 60)), f"{_short(case.id)}: cannot be read"
    factor = side / max(label.shape)
    height, width = (max(1, round(length * factor)) for length in label.shape)
    colours = np.broadcast_to(picture, (*picture.shape[:2], 3))
    tile = np.array(Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR))
    small = np.array(Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST))
    for number in range(1, int(label.max()) + 1):
        tile[_outline(small == number)] = OUTLINES[(number - 1) % len(OUTLINES)]
    return Image.fromarray(tile), f"{_short(case.id)}  {note}"


def _picture(case: Any, side: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return grey levels (H, W, C) of a picture, sampled for a tile, its label (H, W) and the share of foreground."""
    label = case.read_label()
    step = max(1, max(label.shape) // (_SAMPLES * side))
    return _grey_levels(case.read_image()[::step, ::step]), label, f"{100 * np.mean(label > 0):.2f}%"


def _volume(case: Any) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the slice of a volume that has most of each class, likewise; volumes are read in parts, to hold little."""
    found: dict[int, np.ndarray] = {}  # class -> voxels in each slice
    for place, part in case.label_slabs():
        for number in range(1, int(part.max()) + 1):
            counts = found.setdefault(number, np.zeros(case.shape[0], int))
            counts[place[0]] += np.count_nonzero(part == number, axis=(1, 2))
    per_class = (counts / max(counts.sum(), 1) for counts in found.values())
    most = int(np.argmax(sum(per_class, np.zeros(case.shape[0]))))
    label = _section(case.label_slabs(), case.shape, most)
    note = f"{100 * sum(counts.sum() for counts in found.values()) / np.prod(case.shape):.2f}%"
    try:
        picture = _grey_levels(_section(case.image_slabs(), case.shape, most))
    except DataError:  # KiTS19 before its images were fetched
        picture, note = np.zeros((*label.shape, 1), np.uint8), f"{note}, no image"
    return picture, label, f"{note}, slice {most + 1}"


def _section(parts: Iterable[tuple[tuple[slice, ...], np.ndarray]], shape: Sequence[int], number: int) -> np.ndarray:
    """Return slice ``number`` of a volume that comes in parts."""
    section: np.ndarray | None = None
    for place, part in parts:
        slices = range(shape[0])[place[0]]
        if number in slices:
            if section is None:
                section = np.empty((*shape[1:], *part.shape[3:]), part.dtype)
            section[place[1:]] = part[number - slices.start]
    assert section is not None
    return section


def _grey_levels(image: np.ndarray) -> np.ndarray:
    """Map intensities, (H, W, C), to 0 to 255: by the abdominal window, or from 0 or the first to the last percent."""
    top = float(np.percentile(image, 99.5))
    if image.dtype == np.uint8:
        low, high = 0.0, 255.0 if top > _DARK else max(top, 1.0)
    else:
        low, high = _HOUNSFIELD if image.min() < -500 else (float(np.percentile(image, 1)), top)
    return (255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)


def _outline(inside: np.ndarray) -> np.ndarray:
    """Return the pixels of a region, (H, W) bool, that touch its outside."""
    from skimage.segmentation import find_boundaries  # here: the command line must start without it

    return find_boundaries(inside, mode="inner")


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:12]}..."
