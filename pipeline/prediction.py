"""From a network's logits to a label map or probabilities, on the case's own grid or the network's; and to a file."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rareseg.pipeline import resize
from rareseg.pipeline.augment import reflected
from rareseg.pipeline.patches import Sample, sample
from rareseg.pipeline.preprocess import Prepared, to_original
from rareseg.pipeline.settings import Settings
from rareseg.pipeline.stitching import Grid, box, rows_at_once, stitch

GRIDS = ("original", "network")
OUTPUTS = ("label", "probabilities", "both")
Forward = Callable[[np.ndarray], Any]


class Readable(Protocol):
    """What windows are laid over: a prepared case, a patch, or whatever reads like them."""

    @property
    def id(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels per axis."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the image."""
        ...

    def read_image(self) -> np.ndarray:
        """Return the scaled intensities, (*space, C), float32."""
        ...


def predict(
    model: Any, case: Any, config: Settings | Mapping[str, Any], grid: str = "original", output: str = "label"
) -> Any:
    """Predict one case.

    Windows are read by slices, so that a case whose arrays are mapped is never in memory as a whole. With labels, rows
    along axis 0 become classes as soon as no later window touches them, so that memory does not grow with that axis.

    Args:
        model: A Keras model, or a function, from images (B, *space, C) to logits (B, *space, K); softmax happens here.
            K = 1 is the logit of class 1, and gives two classes.
        case: A case of ``rareseg.datasets``, a prepared case, or a patch.
        config: Settings of the pipeline.
        grid: ``original``, the grid of the case's files, or ``network``, that of the prepared case.
        output: ``label``, the most probable class (of equals the lower one), ``probabilities``, or ``both``. Back to
            the original grid labels go by nearest neighbour (the protocol of Yeung et al.), probabilities linearly; so
            there the label is not always the class of the largest probability.

    Returns:
        Classes (*space), uint8; probabilities (*space, K), float32, on the network's grid with their memory class by
        class; or the pair.

    Raises:
        DataError: The case cannot be read, or does not suit the settings.
        ValueError: ``grid``, ``output`` or a setting is not possible, patches cannot cover the case, or the network
            changes the space.
    """
    return next(predict_many(model, [case], config, grid, output))


def predict_many(
    model: Any,
    cases: Sequence[Any],
    config: Settings | Mapping[str, Any],
    grid: str = "original",
    output: str = "label",
) -> Iterator[Any]:
    """Predict cases one after the other, but several in a forward pass where their windows have one shape.

    Arguments, results and errors are those of ``predict``; results come in the order of the cases.
    """
    if grid not in GRIDS or output not in OUTPUTS:
        raise ValueError(f"grid must be one of {GRIDS} and output one of {OUTPUTS}, got {grid!r} and {output!r}")
    settings = Settings.of(config)
    samples = [sample(case, settings) for case in cases]
    forward = getattr(model, "predict_on_batch", model)
    maps = _stitched(forward, samples, settings, most_probable if output == "label" else None)
    return (_answer(one_map, one, grid, output) for one, one_map in zip(samples, maps, strict=True))


def write_prediction(case: Any, label: np.ndarray, path: Path, text: str = "") -> None:
    """Write a label map on the grid of the case's own files, whole or not at all.

    Volumes become NIfTI, in the axes, with the affine and the header of the case's image; pictures become PNG, whose
    grey levels are class numbers.

    Args:
        case: A case of ``rareseg.datasets``, or one prepared from it.
        label: Classes on the original grid, (*space), uint8.
        path: Ends in ``.nii.gz`` or ``.nii``, or in ``.png``.
        text: Kept in the file: what the map was predicted on, such as ``phantom``; up to 79 letters.

    Raises:
        ValueError: The case has no files of its own, or the map is not on their grid.
        OSError: The file cannot be written.
    """
    original = case.original if isinstance(case, Prepared) else case
    if not hasattr(original, "write_label"):
        raise ValueError(f"{case.id} was not read from files of its own, so no label map can be written beside them")
    original.write_label(path, label, text)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (*space, K) into probabilities, float32; a single logit is that of class 1 against 0.

    Class by class: NumPy's own reductions over a last axis of two to four are ten times slower. The memory of the
    result is class by class, too.
    """
    *space, classes = logits.shape
    planes = np.empty((max(classes, 2), *space), np.float32)
    for rows in rows_at_once(planes.shape):
        part = planes[:, rows]
        part[-classes:] = np.moveaxis(logits[rows], -1, 0)
        if classes == 1:
            part[0] = 0
        part -= part.max(axis=0)
        np.exp(part, out=part)
        part /= part.sum(axis=0)
    return np.moveaxis(planes, 0, -1)


def most_probable(planes: np.ndarray) -> np.ndarray:
    """Return the class of the largest value, of equals the lower one; (K, *space) -> (*space), uint8."""
    label = np.zeros(planes.shape[1:], np.uint8)
    for rows in rows_at_once(planes.shape):
        found, best = label[rows], planes[0, rows].copy()
        for number, plane in enumerate(planes[1:, rows], start=1):
            # assigning where a mask is true takes five times as long
            np.maximum(found, (plane > best).view(np.uint8) * np.uint8(number), out=found)
            np.maximum(best, plane, out=best)
    return label


def _answer(one_map: np.ndarray, one: Sample, grid: str, output: str) -> Any:
    """Return what was asked for, of a map on the network's grid: its classes or, for both, its probabilities."""
    if output == "both":
        label = most_probable(np.moveaxis(one_map, -1, 0))
        return _answer(label, one, grid, "label"), _answer(one_map, one, grid, "probabilities")
    if grid == "network":
        return one_map
    back = to_original if output == "probabilities" else resize.nearest
    return back(one_map, one.original_shape)


def _stitched(
    forward: Forward,
    samples: Sequence[Sample],
    settings: Settings,
    kept: Callable[[np.ndarray], np.ndarray] | None,
) -> Iterator[np.ndarray]:
    """Yield the map of each sample on the network's grid, running windows of several samples together."""
    grids = [window_grid(one, settings) for one in samples]
    one_shape = len({grid.patch for grid in grids}) == 1
    size = min(settings.batch_size, sum(len(grid.corners) for grid in grids)) if one_shape else 1
    windows = (window for one, grid in zip(samples, grids, strict=True) for window in windows_of(one, grid, settings))
    answers = _answers(forward, windows, size, settings)
    for one, grid in zip(samples, grids, strict=True):
        stitched = stitch(grid, itertools.islice(answers, len(grid.corners)), settings.blend, kept)
        inside = tuple(map(slice, one.shape))
        yield stitched[inside] if kept else np.moveaxis(stitched, 0, -1)[inside]


def window_grid(one: Readable, settings: Settings) -> Grid:
    """Lay windows over a sample: patches where the settings name them, else one window, up to the network's factor."""
    factor = settings.size_factor
    patch = settings.patch or tuple(-(-length // factor) * factor for length in one.shape)
    if len(patch) != len(one.shape):
        raise ValueError(f"{one.id} has the shape {list(one.shape)}, which patches of {list(patch)} cannot cover")
    return Grid.over(one.shape, patch, settings.shared(patch))


def windows_of(one: Readable, grid: Grid, settings: Settings) -> Iterator[np.ndarray]:
    """Yield the windows (*patch, C) of a sample; one smaller than a window grows at its end, mirrored or filled."""
    image = one.read_image()
    if grid.shape == one.shape:
        yield from (image[box(corner, grid.patch)] for corner in grid.corners)
        return
    if settings.outside == "reflect":
        yield from (image[np.ix_(*map(reflected, corner, grid.patch, one.shape))] for corner in grid.corners)
        return
    fill = image.min(axis=tuple(range(image.ndim - 1))) if settings.fill == "minimum" else 0
    for corner in grid.corners:
        part = image[box(corner, grid.patch)]
        window = np.full((*grid.patch, one.channels), fill, np.float32)
        window[tuple(map(slice, part.shape))] = part
        yield window


def _flips(settings: Settings, dimensions: int) -> list[tuple[int, ...]]:
    """Return which axes of a batch (B, *space, C) are flipped in each forward pass."""
    if not settings.mirror_tta or settings.augment is None:
        return [()]
    axes = settings.augment.mirrored(dimensions)
    if not axes:
        raise ValueError(
            f"mirror_tta: in {dimensions} dimensions this network was trained without mirroring (augment.mirror_axes "
            f"{list(settings.augment.mirror_axes or ())}); leave it"
        )
    subsets = (itertools.combinations(axes, count) for count in range(len(axes) + 1))
    return [tuple(1 + axis for axis in subset) for subset in itertools.chain.from_iterable(subsets)]


def _answers(forward: Forward, windows: Iterator[np.ndarray], size: int, settings: Settings) -> Iterator[np.ndarray]:
    """Yield the probabilities of each window, class first (K, *patch), the mean over the flips.

    Every batch has ``size`` windows, so that a network is traced once.
    """
    while chunk := list(itertools.islice(windows, size)):
        batch = np.stack(chunk + chunk[-1:] * (size - len(chunk)))
        yield from itertools.islice(_batch_answers(forward, batch, settings), len(chunk))


def _batch_answers(forward: Forward, batch: np.ndarray, settings: Settings) -> Iterator[np.ndarray]:
    """Yield the same for one batch; a generator of its own, so that its logits are gone before the next are made."""
    flips = _flips(settings, batch.ndim - 2)
    answers = [np.flip(_logits(forward, np.flip(batch, axes)), axes) for axes in flips]
    for place in range(len(batch)):
        yield _mean(np.moveaxis(softmax(logits[place]), -1, 0) for logits in answers)


def _mean(turned: Iterator[np.ndarray]) -> np.ndarray:
    """Return the mean of arrays, added up in the first one as they come."""
    total = next(turned)
    count = 1
    for other in turned:
        total += other
        count += 1
    return total if count == 1 else np.divide(total, np.float32(count), out=total)


def _logits(forward: Forward, batch: np.ndarray) -> np.ndarray:
    """Run the network, which must keep the space."""
    logits = np.asarray(forward(np.ascontiguousarray(batch)))
    if logits.shape[:-1] != batch.shape[:-1]:
        raise ValueError(
            f"the network turned {batch.shape} into {logits.shape}; expected {batch.shape[:-1]} and classes"
        )
    return logits
