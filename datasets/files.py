"""Image files -> arrays: PNG, JPEG, GIF, TIFF, BMP, through Pillow; tifffile reads the TIFFs that Pillow refuses.

In: a path. Out: an array with any palette applied and any meaningless alpha dropped, or a `DataError` that names the
file and the cause. Masks of two classes, however they are stored, become labels by one rule: `binary`.
"""

import io
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.TiffImagePlugin import PREFIXES, TiffImageFile

from rareseg.datasets import whole

PIXEL_LIMIT = 80_000_000
"""Pixels a file may claim in its header; ISIC 2018's largest holds 30 million."""

# First bytes -> decoder, a closed list: Pillow's others start programs (EPS) or are untested. Its own `open` comes to
# the same decoders, but warns of large files, or refuses them, before their size can be told here.
_DECODERS: dict[bytes, Callable[[Any], Image.Image]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": jpeg_factory,
    b"GIF87a": GifImageFile,
    b"GIF89a": GifImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys(PREFIXES, TiffImageFile),
}
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B")
_CHANNEL_TOLERANCE = 2  # grey levels; DRIVE's second observer has the palette (4, 2, 4), (252, 254, 252)
_PURE_TOLERANCE = 4  # the same palette: 4 and 252 still count as black and white
_SHOWN = 5  # label values named in a message


class DataError(ValueError):
    """A file or folder of a data set is not what it should be; the message names it and says what to do."""


def shape(path: Path) -> tuple[int, int]:
    """Return (rows, columns), from the header alone but for the TIFFs that Pillow refuses."""
    with _opened(path) as image:
        return image.height, image.width


def rgb(path: Path) -> np.ndarray:
    """Return a colour image, (H, W, 3) uint8; a grey file is repeated three times."""
    pixels = _pixels(path)
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: {pixels.dtype} pixels, expected 8 bits a channel. Convert the file to 8 bits.")
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def picture(path: Path) -> np.ndarray:
    """Return an image as stored, (H, W, 1) or (H, W, 3), uint8 or uint16."""
    pixels = _pixels(path)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def codes(path: Path) -> np.ndarray:
    """Return the values of a label, (H, W), uint8 or uint16: class numbers or grey levels.

    A palette of colours stands for class numbers, which are its indices; one of greys is applied.
    """
    with _opened(path) as image:
        colours = np.reshape(image.getpalette() or (0, 0, 0), (-1, 3)) if image.mode == "P" else np.zeros((1, 3), int)
        if np.ptp(colours, axis=1).max() > _CHANNEL_TOLERANCE:
            return np.array(image)
    return grey(path)


def classified(values: np.ndarray, classes: Mapping[int, int], path: Path) -> np.ndarray:
    """Return the classes of a label's ``values``, (H, W) uint8.

    Args:
        values: (H, W), whole numbers from 0 on.
        classes: Value -> class.
        path: The file, for the message about other values.
    """
    table = np.full(65536, 255, np.uint8)
    table[list(classes)] = list(classes.values())
    label = table[values]
    strange = values[label == 255]
    if len(strange):
        found = unknown(np.unique(strange).tolist(), f"{len(strange)} pixels", classes)
        raise DataError(f"{path}: {found}. Correct the file, or extend `values`.")
    return label


def unknown(found: Sequence[float], where: str, known: Iterable[int]) -> str:
    """Say which label values, in ascending order, stand for no class, and where; a sentence without its end."""
    return f"found label {numbers(found, _SHOWN)} in {where}, known are {', '.join(map(str, known))}"


def numbers(values: Sequence[float], most: int) -> str:
    """Return the first ``most`` of some values as people write them: ``"0, 0.5, 128, ..."``."""
    texts = [f"{value:.0f}" if float(value).is_integer() else f"{value:g}" for value in values[:most]]
    return ", ".join(texts) + (", ..." if len(values) > most else "")


def grey(path: Path, stray: float = 0.0) -> np.ndarray:
    """Return a one-channel picture, (H, W), uint8 or uint16; a colour file must have equal channels.

    Args:
        path: The file.
        stray: Share of the pixels, 0 to 1, that may be coloured all the same (a measuring mark on an ultrasound).
    """
    pixels = _pixels(path)
    if pixels.ndim == 2:
        return pixels
    coloured = float(np.mean(np.ptp(pixels, axis=2) > _CHANNEL_TOLERANCE))
    if coloured > stray:
        raise DataError(
            f"{path}: a coloured picture ({coloured:.1%} of its pixels) where a grey one or a mask was expected. "
            "Save it with one channel."
        )
    return np.ascontiguousarray(pixels[..., 0])


def binary(values: np.ndarray) -> np.ndarray:
    """Return classes 0 and 1, uint8, of a two-class mask of any shape.

    The one rule for all masks: class 1 where the value is at least 128, or above 0 where the largest value is 1. So
    0/255, 0/1, 1 bit, palettes and interpolated edges all come out right, which "== 255" and "> 0" do not.
    """
    return (values >= (128 if values.max(initial=0) > 1 else 1)).astype(np.uint8)


def grey_share(values: np.ndarray) -> float:
    """Return the share of a mask's pixels, 0 to 1, that are neither black nor white."""
    top = values.max(initial=0)
    white = 1 if top <= 1 else 255 if top <= 255 else 65535
    margin = 0 if white == 1 else _PURE_TOLERANCE
    return float(np.mean((values > margin) & (values < white - margin)))


def _pixels(path: Path) -> np.ndarray:
    """Return (H, W) or (H, W, 3) with the palette applied and constant alpha dropped."""
    with _opened(path) as image:
        if image.mode not in _MODES:
            raise DataError(f"{path}: colour mode {image.mode}, expected grey, RGB or a palette. Save it as RGB.")
        if image.mode in ("RGB", "RGBA") and any(";16" in str(tile) for tile in getattr(image, "tile", ())):
            raise DataError(f"{path}: 16 bits a channel in colour, which Pillow would cut to 8. Save it with 8 bits.")
        pixels = np.array(_without_palette(image))
    if pixels.dtype == np.int32:  # Pillow's mode I: a 16-bit PNG, depending on the release
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise DataError(f"{path}: values that need 32 bits. Save it with 8 or 16 bits.")
        pixels = pixels.astype(np.uint16)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = _without_alpha(pixels, path)
    return pixels


def _without_palette(image: Image.Image) -> Image.Image:
    """Replace palette indices by colours and 1-bit values by 0 and 255."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert({"1": "L", "PA": "RGBA"}.get(image.mode, image.mode))


def _without_alpha(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Drop the last channel if it says nothing."""
    if np.ptp(pixels[..., -1]) > 0:
        raise DataError(f"{path}: parts are transparent, and what lies behind is unknown. Save it without alpha.")
    colours = pixels[..., :-1]
    return np.ascontiguousarray(colours[..., 0] if colours.shape[2] == 1 else colours)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Yield the lazily opened file; whatever a decoder throws at bad bytes leaves as a `DataError`."""
    try:
        with _identified(path) as image:
            _refuse_bomb(path, image.height, image.width)
            _refuse_film(path, getattr(image, "n_frames", 1))
            yield image
    except DataError:
        raise
    except Exception as fault:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError and more
        raise DataError(f"{path}: cannot be read ({cause(fault)}). Get the file again.") from fault


def _identified(path: Path) -> Image.Image:
    """Open a file by Pillow or, for a TIFF that Pillow does not know, by tifffile."""
    with path.open("rb") as file:
        start = file.read(8)
    decoder = next((decoder for first, decoder in _DECODERS.items() if start.startswith(first)), None)
    if decoder is None:
        raise Image.UnidentifiedImageError
    try:
        return decoder(path)
    except SyntaxError as fault:  # how Pillow's decoders decline
        if not start.startswith(_TIFF_STARTS):
            raise Image.UnidentifiedImageError from fault
        return _grey_tagged(path)


def _grey_tagged(path: Path) -> Image.Image:
    """Read a TIFF of three samples that says it is grey, as CVC-ClinicDB's do; OpenCV makes it grey in silence."""
    from tifffile import TiffFile, TiffPage  # here: the command line must start without it

    with quiet("tifffile"), TiffFile(path) as file:
        page = file.pages.first
        if not isinstance(page, TiffPage) or page.samplesperpixel != 3 or page.bitspersample != 8:
            raise Image.UnidentifiedImageError
        _refuse_film(path, len(file.pages))
        _refuse_bomb(path, page.imagelength, page.imagewidth)
        if max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) > path.stat().st_size:
            raise OSError("the file is truncated")  # tifffile would fill the rest with zeros
        return Image.fromarray(page.asarray())


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Drop what this thread tells a logger meanwhile: what is wrong with a file leaves in one sentence."""
    logger, mine = logging.getLogger(name), threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != mine

    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def _refuse_bomb(path: Path, rows: int, columns: int) -> None:
    if rows * columns > PIXEL_LIMIT:
        raise DataError(
            f"{path}: the header claims {rows} x {columns} pixels, over the limit of {PIXEL_LIMIT:,}. Remove the file."
        )


def _refuse_film(path: Path, frames: int) -> None:
    if frames > 1:
        raise DataError(f"{path}: {frames} frames, expected one picture. Save the right one alone.")


def write_png(path: Path, values: np.ndarray, text: str) -> None:
    """Write a grey picture, (H, W) uint8; the file appears whole or not at all.

    Args:
        path: Ends in ``.png``.
        values: Grey levels.
        text: Kept in the file as its comment.
    """
    facts, stream = PngInfo(), io.BytesIO()
    facts.add_text("Comment", text)
    Image.fromarray(values).save(stream, "PNG", pnginfo=facts)
    whole.write(path, stream.getvalue())


def cause(fault: Exception) -> str:
    """Return the decoder's reason without the path, which the message has already."""
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    if isinstance(fault, Image.UnidentifiedImageError):
        return "not a PNG, JPEG, GIF, TIFF or BMP picture, or its start is damaged"
    if isinstance(fault, (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError)):
        return "its header contradicts itself"  # a decoder that stumbled has nothing to tell a user
    return str(fault) or type(fault).__name__
