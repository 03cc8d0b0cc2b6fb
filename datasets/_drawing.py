"""Brushes of the phantoms: random streams, smooth fields, shapes of a wanted size, and files that say "phantom".

Arithmetic is NumPy's ``Generator(PCG64)`` and SciPy's filters, rounded to 8 bits at the end: the same arguments give
the same bytes wherever these libraries have the same versions and the processor the same features.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from zlib import crc32

import numpy as np
from PIL import Image, PngImagePlugin
from scipy import ndimage

TAG = "phantom: drawn by rareseg, not a real image"

_PLASTIC = 1.3247179572447460  # root of x^3 = x + 1; its powers fill the unit square evenly (Roberts 2018)


def stream(seed: int, key: str, number: int) -> np.random.Generator:
    """Return the random numbers of one case, which depend on nothing else."""
    return np.random.Generator(np.random.PCG64([seed, crc32(key.encode()), number]))


def place(seed: int, key: str, number: int) -> tuple[float, float]:
    """Return a point of the unit square; the first n cases cover it evenly for every n.

    Independent draws would move the mean share of 60 cases by more than the real sets' scatter allows.
    """
    start = stream(seed, key, -1 & 0xFFFFFFFF).random(2)
    first, second = (start + number * np.array([_PLASTIC**-1, _PLASTIC**-2])) % 1
    return float(first), float(second)


def log_normal(quantile: float, mean: float, spread: float, low: float, high: float) -> float:
    """Return the value at ``quantile`` of a log-normal law.

    Args:
        quantile: 0 to 1.
        mean: Mean of the law before it is cut off.
        spread: Standard deviation of the logarithm.
        low: Least value.
        high: Largest value.
    """
    law = NormalDist(np.log(mean) - spread**2 / 2, spread)
    return float(np.clip(np.exp(law.inv_cdf(min(max(quantile, 1e-6), 1 - 1e-6))), low, high))


def smooth(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    """Return a random field of mean 0 and standard deviation 1, correlated over about ``width`` pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), width, mode="reflect")
    return (field - field.mean()) / field.std()


def smallest(field: np.ndarray, share: float) -> np.ndarray:
    """Return where ``field`` is among its smallest values, bool, ``share`` (0 to 1) of all pixels."""
    return field < level(field, share)


def level(field: np.ndarray, share: float) -> float:
    """Return the value below which ``share`` of the pixels lie."""
    return float(np.quantile(field, share))


def ramp(values: np.ndarray) -> np.ndarray:
    """Return 0 below -1, 1 above 1 and a smooth rise between."""
    rise = np.clip((values + 1) / 2, 0, 1)
    return rise * rise * (3 - 2 * rise)


def blend(picture: np.ndarray, colour: Sequence[float], amount: np.ndarray) -> np.ndarray:
    """Return ``picture`` (H, W, 3) painted with ``colour`` where ``amount`` (H, W), 0 to 1, says."""
    return picture + amount[..., None] * (np.asarray(colour) - picture)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round grey levels to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, *, compression: str | None = "tiff_lzw") -> None:
    """Write a picture in the format that its name asks for, with the tag where the format has one.

    Args:
        path: The file; its folder is made.
        pixels: (H, W) or (H, W, C), uint8, or a picture.
        compression: Of a TIFF, as Pillow calls it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    match path.suffix:
        case ".png":
            text = PngImagePlugin.PngInfo()
            text.add_text("Comment", TAG)
            picture.save(path, pnginfo=text)
        case ".jpg":
            picture.save(path, quality=90, comment=TAG)
        case ".gif":
            picture.save(path, comment=TAG)
        case _:
            picture.save(path, compression=compression, description=TAG)
