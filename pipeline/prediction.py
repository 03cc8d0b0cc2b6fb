"""From a network's logits to a label map or probabilities, on the case's own grid or the network's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from typing import Any

import numpy as np

from rareseg.pipeline.patches import Grid, Sample, Stitcher, box, sample
from rareseg.pipeline.preprocess import to_original
from rareseg.pipeline.settings import Settings

GRIDS = ("original", "network")
OUTPUTS = ("label", "probabilities")
Forward = Callable[[np.ndarray], Any]


def predict(
    model: Any, case: Any, config: Settings | Mapping[str, Any], grid: str = "original", output: str = "label"
) -> np.ndarray:
    """Predict one case.

    Args:
        model: A Keras model, or a function, from images (B, *space, C) to logits (B, *space, K); softmax happens here.
            K = 1 is the logit of class 1, and gives two classes.
        case: A case of ``rareseg.datasets``, a prepared case, or a patch.
        config: Settings of the pipeline.
        grid: ``original``, the grid of the case's files, or ``network``, that of the prepared case.
        output: ``label``, the most probable class (of equals the lower one), or ``probabilities``.

    Returns:
        Classes (*space), uint8, or probabilities (*space, K), float32.
    """
    return next(predict_many(model, [case], config, grid, output))


def predict_many(
    model: Any,
    cases: Sequence[Any],
    config: Settings | Mapping[str, Any],
    grid: str = "original",
    output: str = "label",
) -> Iterator[np.ndarray]:
    """Predict cases one after the other, but several in a forward pass where their windows have one shape.

    Arguments and results are those of ``predict``; results come in the order of the cases.
    """
    if grid not in GRIDS or output not in OUTPUTS:
        raise ValueError(f"grid must be one of {GRIDS} and output one of {OUTPUTS}, got {grid!r} and {output!r}")
    settings = Settings.of(config)
    samples = [sample(case, settings) for case in cases]
    forward = getattr(model, "predict_on_batch", model)
    return (
        _finish(probabilities, one, grid, output)
        for one, probabilities in zip(samples, _stitched(forward, samples, settings), strict=True)
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (..., K) into probabilities, float32; a single logit is that of class 1 against 0."""
    logits = np.asarray(logits, np.float32)
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    # class by class: NumPy's own reduction over a last axis of two or three is ten times slower
    powers = np.exp(logits - reduce(np.maximum, np.moveaxis(logits, -1, 0))[..., None])
    return powers / reduce(np.add, np.moveaxis(powers, -1, 0))[..., None]


def _finish(probabilities: np.ndarray, one: Sample, grid: str, output: str) -> np.ndarray:
    if grid == "original":
        probabilities = to_original(probabilities, one.original_shape)
    return probabilities if output == "probabilities" else probabilities.argmax(axis=-1).astype(np.uint8)


def _stitched(forward: Forward, samples: Sequence[Sample], settings: Settings) -> Iterator[np.ndarray]:
    """Yield the probabilities (*shape, K) of each sample, running windows of several samples together."""
    grids = [_grid(one, settings) for one in samples]
    one_shape = len({grid.patch for grid in grids}) == 1
    size = min(settings.batch_size, sum(len(grid.corners) for grid in grids)) if one_shape else 1
    windows = (window for one, grid in zip(samples, grids, strict=True) for window in _windows(one, grid))
    answers = _answers(forward, windows, size)
    for one, grid in zip(samples, grids, strict=True):
        stitcher = Stitcher(grid, settings.blend)
        for corner in grid.corners:
            stitcher.add(corner, next(answers))
        yield stitcher.result()[tuple(slice(length) for length in one.shape)]


def _grid(one: Sample, settings: Settings) -> Grid:
    """Lay windows over a sample: patches where the settings name them, else one window, up to the network's factor."""
    factor = settings.size_factor
    patch = settings.patch or tuple(-(-length // factor) * factor for length in one.shape)
    if len(patch) != len(one.shape):
        raise ValueError(f"{one.id} has the shape {list(one.shape)}, which patches of {list(patch)} cannot cover")
    overlap = settings.overlap or tuple(length // 2 for length in patch)
    return Grid.over(one.shape, patch, overlap)


def _windows(one: Sample, grid: Grid) -> Iterator[np.ndarray]:
    """Yield the windows (*patch, C) of a sample; one smaller than a window grows at its end by its darkest value."""
    image = one.read_image()
    missing = [(0, target - length) for target, length in zip(grid.shape, one.shape, strict=True)]
    if any(after for _, after in missing):
        image = np.pad(image, [*missing, (0, 0)], constant_values=image.min())
    for corner in grid.corners:
        yield image[box(corner, grid.patch)]


def _answers(forward: Forward, windows: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield the probabilities of each window; every batch has ``size`` windows, so that a network is traced once."""
    while chunk := list(islice(windows, size)):
        batch = np.stack(chunk + chunk[-1:] * (size - len(chunk)))
        logits = np.asarray(forward(batch))
        if logits.shape[:-1] != batch.shape[:-1]:
            raise ValueError(
                f"the network turned {batch.shape} into {logits.shape}; expected {batch.shape[:-1]} and classes"
            )
        yield from softmax(logits)[: len(chunk)]
