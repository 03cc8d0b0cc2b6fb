"""Draw the pictures of ``docs/pipeline.md`` into ``docs/pipeline/``; the same code gives the same bytes.

The phantom is one of DRIVE: dark outside its field of view, so that it shows what a fill value does, and with vessels,
so that it shows what a deformation does. Samples are drawn with ``augment.apply``, windows put together with
``stitching.stitch``: the pictures show what the code does, not what it should do.
"""

import dataclasses
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from rareseg import datasets, pipeline
from rareseg.experiments.ink import BLUE, GREEN, ORANGE, RC, RED, SKY
from rareseg.pipeline.augment import Draw, Elastic, apply
from rareseg.pipeline.prediction import most_probable
from rareseg.pipeline.stitching import Grid, axis_weights, box, stitch

PICTURES = Path(__file__).parents[1] / "docs" / "pipeline"
SIZE = 128
PATCH = (64, 64)
SETTINGS = {"size": [SIZE, SIZE], "scaling": "zscore", "cache": "none", "channels": 3}
COLOURS = (BLUE, ORANGE, GREEN, RED)
LOOKS: dict[Any, Any] = {
    **RC,
    "axes.grid": False,
    "font.size": 7,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
    "axes.titlesize": 7,
}


def phantom() -> tuple[np.ndarray, pipeline.Prepared]:
    """Return the image as stored, (H, W, 3) uint8, and the prepared case."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = datasets.make_phantoms("drive", scratch, cases=4, size=256, seed=0)
        case = datasets.open("drive", folder).cases[0]
        return case.read_image(), pipeline.prepare(case, SETTINGS)


def sample(case: pipeline.Prepared, draw: Draw, patch: Sequence[int], **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return image, (*patch, C), and label, (*patch), of a draw."""
    image, label = np.empty((*patch, case.channels), np.float32), np.empty(patch, np.uint8)
    apply(draw, case, pipeline.Settings.of(settings), image, label)
    return image, label


def whereabouts(case: pipeline.Prepared, draw: Draw, patch: Sequence[int]) -> np.ndarray:
    """Return where in its case each voxel of a sample comes from, (*patch, 2): a sample of coordinates."""
    places = np.moveaxis(np.indices(case.shape), 0, -1).astype(np.float32)
    mapped = dataclasses.replace(
        case, arrays={"image": places, "label": case.label}, channels=2, statistics=np.zeros((3, 2))
    )
    return sample(mapped, draw, patch, outside="reflect")[0]


def show(axes: Axes, image: np.ndarray, title: str, low: float = -1.6, high: float = 2.6) -> None:
    """Show intensities, (H, W, C) or (H, W), z-scored unless a range is given."""
    axes.imshow(np.clip((image - low) / (high - low), 0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()


def outline(axes: Axes, label: np.ndarray) -> None:
    """Draw the border of the foreground, and hatch what has no class."""
    axes.contour(label == 1, [0.5], colors=[SKY], linewidths=0.4)
    if (label == 255).any():
        axes.contourf(label == 255, [0.5, 1.5], hatches=["////"], colors="none")


DRAWS = {
    "copied": Draw((False, False), (8, 12)),
    "mirrored": Draw((False, True), (60, 4)),
    "turned by 15 degrees, scale 1.25": Draw((False, False), (64, 64), angles=(np.radians(15),), scale=1.25),
    "deformed: alpha 300, sigma 9": Draw((False, False), (88, 44), elastic=Elastic(300, 9, seed=4)),
}


def draw_samples(stored: np.ndarray, case: pipeline.Prepared) -> Figure:
    """Return a case as stored and prepared, where four samples come from, and the samples."""
    figure = Figure(figsize=(8.7, 3.6))
    grid = figure.subplots(2, 4, height_ratios=[1.15, 1])
    show(grid[0, 0], stored, "file: 0 to 255", 0, 255)
    show(grid[0, 1], case.image, "prepared: resized, z-scored")
    show(grid[0, 2], case.image, "label")
    outline(grid[0, 2], case.label)
    show(grid[0, 3], case.image, "where four samples lie")
    for axes, colour, (title, draw) in zip(grid[1], COLOURS, DRAWS.items(), strict=True):
        image, label = sample(case, draw, PATCH)
        places = whereabouts(case, draw, PATCH)
        border = np.concatenate([places[0], places[:, -1], places[-1, ::-1], places[::-1, 0]])
        grid[0, 3].plot(border[:, 1], border[:, 0], color=colour, linewidth=1.2)
        show(axes, image, title)
        outline(axes, label)
        for axis in (0, 1):  # lines of the case's own grid, every 8 pixels
            axes.contour(places[..., axis], np.arange(0, SIZE, 8), colors=[colour], linewidths=0.4, alpha=0.7)
    return figure


BORDERS = {
    "fill zero, outside unlabelled": {"fill": "zero", "outside": "unlabelled"},
    "fill minimum, outside unlabelled": {"fill": "minimum", "outside": "unlabelled"},
    "fill minimum, outside background": {"fill": "minimum", "outside": "background"},
    "outside reflect": {"outside": "reflect"},
}


def draw_borders(case: pipeline.Prepared) -> Figure:
    """Return one sample that reaches beyond its case, by what lies there."""
    figure = Figure(figsize=(8.7, 2.3))
    far = Draw((False, False), (64, 64), angles=(np.radians(15),), scale=1.25)
    for axes, (title, settings) in zip(figure.subplots(1, 4), BORDERS.items(), strict=True):
        image, label = sample(case, far, (SIZE, SIZE), **settings)
        show(axes, image, title)
        outline(axes, label)
    return figure


OVERLAP = (48, 32)


def answers(case: pipeline.Prepared, grid: Grid, wrong: float = 1.0) -> Iterator[np.ndarray]:
    """Yield what a network might say of each window, (2, *patch): right in its middle, ``wrong`` at its border."""
    random = np.random.default_rng(0)
    axes = [np.abs(np.linspace(-1, 1, length)) for length in grid.patch]
    unsure = np.maximum(axes[0][:, None], axes[1]) ** 4
    for corner in grid.corners:
        truth = (case.label[box(corner, grid.patch)] == 1).astype(np.float32)
        foreground = truth * (1 - unsure) + unsure * wrong * random.random()
        yield np.stack([1 - foreground, foreground]).astype(np.float32)


def draw_windows(case: pipeline.Prepared) -> Figure:
    """Return windows over a case, the weights along an axis by blend, and what comes of them."""
    figure = Figure(figsize=(8.7, 4.3))
    (windows, *weights), maps = figure.subplots(2, 4)
    grid = Grid.over(case.shape, PATCH, OVERLAP)
    show(windows, case.image, f"{len(grid.corners)} windows")
    for place, corner in enumerate(grid.corners):
        colour = COLOURS[place % 4]
        windows.add_patch(Rectangle((corner[1], corner[0]), *PATCH[::-1], fill=False, edgecolor=colour, linewidth=0.8))
    for axes, blend in zip(weights, ("uniform", "gaussian", "miscnn"), strict=True):
        for place, (start, weight) in enumerate(
            zip(grid.starts[0], axis_weights(grid.starts[0], PATCH[0], blend), strict=True)
        ):
            axes.plot(np.arange(start, start + PATCH[0]), weight, color=COLOURS[place % 4], linewidth=1.2)
        axes.set(title=f"blend {blend}", ylim=(0, 1.05), xlabel="row")
    weights[0].set_ylabel("weight of each window")
    first = next(answers(case, grid))[1]
    show(maps[0], first, "one window's answer", 0, 1)
    for axes, blend in zip(maps[1:], ("uniform", "gaussian", "miscnn"), strict=True):
        show(axes, stitch(grid, answers(case, grid), blend)[1], f"probabilities, {blend}", 0, 1)
    return figure


def draw_rows(case: pipeline.Prepared) -> Figure:
    """Return what is in memory after each layer of windows, when labels are asked for."""
    grid = Grid.over(case.shape, PATCH, (32, 32))
    layers, across = (len(places) for places in grid.starts)
    figure = Figure(figsize=(8.7, 2.5))
    for layer, axes in enumerate(figure.subplots(1, layers)):
        finished: list[np.ndarray] = []
        begun = (layer + 1) * across
        partly = _interrupted(answers(case, grid, wrong=0.4), begun, grid)
        stitch(grid, partly, "gaussian", _noting(finished))
        labels = np.concatenate(finished[: layer + 1])
        picture = np.full((*case.shape, 3), 0.93)
        picture[: len(labels)] = np.where(labels[..., None], (0.0, 0.45, 0.7), 1.0)
        start = len(labels)
        stop = grid.starts[0][layer] + PATCH[0]
        picture[start:stop] = (0.98, 0.85, 0.6)
        axes.imshow(picture)
        axes.add_patch(Rectangle((-0.5, grid.starts[0][layer] - 0.5), SIZE, PATCH[0], fill=False, edgecolor=RED))
        axes.set_title(f"after window {begun} of {layers * across}")
        axes.set_axis_off()
    return figure


def _noting(finished: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a reduction that also keeps what it made."""

    def reduce(rows: np.ndarray) -> np.ndarray:
        finished.append(most_probable(rows))
        return finished[-1]

    return reduce


def _interrupted(given: Iterator[np.ndarray], count: int, grid: Grid) -> Iterator[np.ndarray]:
    """Yield so many answers, and zeros for the others."""
    for place, answer in enumerate(given):
        yield answer if place < count else np.zeros((2, *grid.patch), np.float32)


def png(figure: Figure, title: str) -> bytes:
    """Return a figure as a small PNG."""
    figure.suptitle(f"{title} (phantom)", fontsize=8)
    stream, small = io.BytesIO(), io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    picture = Image.open(stream).convert("RGB").quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(small, "png", optimize=True)
    return small.getvalue()


def draw() -> dict[str, bytes]:
    """Return the pictures by name."""
    with matplotlib.rc_context(LOOKS):
        stored, case = phantom()
        return {
            "samples": png(draw_samples(stored, case), "From a file to samples"),
            "borders": png(draw_borders(case), "A sample that reaches beyond its case"),
            "windows": png(draw_windows(case), "Windows, their weights, and what they give together"),
            "rows": png(draw_rows(case), "Memory: blue and white are classes, orange is summed, grey is not begun"),
        }


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    for name, content in draw().items():
        path = PICTURES / f"{name}.png"
        path.write_bytes(content)
        print(f"{path}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
