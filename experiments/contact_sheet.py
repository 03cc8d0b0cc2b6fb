"""One picture with many cases of a data set, their labels outlined, to be looked at before anything is trained."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from rareseg.datasets import DataError

TILE = 220
"""Pixels of a tile's longer side."""
OUTLINES = ((255, 214, 0), (0, 220, 255), (255, 90, 200), (120, 255, 90))
"""Colours of class 1, 2, ...; later classes begin anew."""

_CAPTION, _GAP, _SMALL = 30, 8, 11  # pixels
_HOUNSFIELD = (-160.0, 240.0)  # the abdomen's usual window, for images that hold air
_DARK = 128  # pictures whose highlights are below are brightened, or nothing would be seen of fluorescence
_PAPER, _INK = (250, 250, 250), (30, 30, 30)


def draw(title: str, cases: Sequence[Any], columns: int = 6, tile: int = TILE, colours: int | None = None) -> bytes:
    """Return a PNG: a title and a tile per case, captioned with its id and its share of foreground.

    Args:
        title: First line; says "phantom" for phantoms.
        cases: Cases of ``rareseg.datasets``.
        columns: Tiles in a row.
        tile: Pixels of a tile's longer side.
        colours: Reduce to so many, up to 256, for a small file.
    """
    tiles = [_tile(case, tile) for case in cases]
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
        label = case.read_label()
        share = np.mean(label > 0)
        picture, label, note = _slice(case, label)
    except DataError:
        return Image.new("RGB", (side, side), (200, 60, 60)), f"{_short(case.id)}: cannot be read"
    factor = side / max(label.shape)
    height, width = (max(1, round(length * factor)) for length in label.shape)
    size = (width, height)
    tile = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    for number in range(1, int(label.max()) + 1):
        inside = np.array(Image.fromarray((label == number).astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        tile[_outline(inside > 0)] = OUTLINES[(number - 1) % len(OUTLINES)]
    return Image.fromarray(tile), f"{_short(case.id)}  {100 * share:.2f}%{note}"


def _slice(case: Any, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Return a picture (H, W, 3) uint8, its label (H, W) and a note; of a volume the slice with most of each class."""
    try:
        image = case.read_image()
    except DataError:  # KiTS19 before its images were fetched
        image = np.zeros((*label.shape, 1), np.uint8)
        note = ", no image"
    else:
        note = ""
    if label.ndim == 3:
        counts = [np.count_nonzero(label == number, axis=(1, 2)) for number in range(1, int(label.max()) + 1)]
        most = int(np.argmax(sum((count / max(count.sum(), 1) for count in counts), np.zeros(len(label)))))
        image, label, note = image[most], label[most], f"{note}, slice {most + 1}"
    return np.broadcast_to(_grey_levels(image), (*label.shape, 3)).copy(), label, note


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
    padded = np.pad(inside, 1, mode="edge")
    neighbours = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~neighbours


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:12]}..."
