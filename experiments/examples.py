"""Example segmentations: image, truth, one column per loss (UFL, Fig. 4 to 6).

In 2D pixels are coloured by what the prediction makes of them; of a volume the axial slice with the most foreground is
shown. With several classes the outline of each is drawn on the image instead.
"""

from __future__ import annotations

import colorsys
import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Patch
from PIL import Image

from rareseg import evaluation
from rareseg.experiments import ink
from rareseg.experiments.layout import name

RC: dict[Any, Any] = {**ink.RC, "axes.grid": False, "font.size": 7}
LONGEST = 192
"""Pixels of the longer side that are shown: more than a column has on paper, and a file of kilobytes."""
HEADING = 16
"""Letters of a line above a column, which is as wide as that."""

WHITE, MAGENTA, LIME, OUTSIDE = (1.0, 1.0, 1.0), (0.93, 0.0, 0.75), (0.25, 0.85, 0.25), (0.35, 0.35, 0.35)
NEARLY_WHITE, NEARLY_BLACK = "#fdfdfd", "#060606"  # of the legend: a dark page turns round white paper and black ink
OUTLINES = ("#ff2a2a", "#3a7bff", "#ffc21a", "#2ad45f", "#d94bff", "#1fd6d6")
"""Colours of the first classes, in their order; of more classes each further one has a hue of its own."""
GOLDEN = 0.618
"""Share of the circle of hues between one further class and the next, which brings no two of them together."""


def examples(rows: Sequence[Mapping[str, Any]], title: str, path: Path, *, data: str) -> tuple[Path, Path]:
    """Draw example segmentations: image, truth, one column per loss (UFL, Fig. 4 to 6).

    Args:
        rows: One mapping per case: ``id``; ``image`` (H, W, 3) or (H, W), uint8 or float 0 to 1; ``classes``, the names
            of 0, 1, ...; ``truth`` (H, W), of such numbers; ``predictions``, per loss (H, W) or None where the run is
            missing; where there is one ``mask`` (H, W), bool, outside of which nothing counts.
        title: Data set and network.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    losses = list(dict.fromkeys(loss for row in rows for loss in row["predictions"]))
    width = 1.15
    heights = [width * row["truth"].shape[0] / row["truth"].shape[1] for row in rows]
    with matplotlib.rc_context(RC):
        figure = ink.new(width * (2 + len(losses)) + 0.5, sum(heights) + 0.17 * len(rows) + 0.85, title, data)
        panels = figure.subplots(len(rows), 2 + len(losses), squeeze=False, gridspec_kw={"height_ratios": heights})
        for row, line in zip(rows, panels, strict=True):
            _example(line, row, losses)
        for axes, label in zip(panels[0], ["Image", "Truth", *map(name, losses)], strict=True):
            axes.set_title("\n".join(textwrap.wrap(label, HEADING)), fontsize=8)
        handles = [
            Patch(facecolor=colour, edgecolor="#444444", linewidth=0.5, label=sign)
            for sign, colour in _signs(rows).items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), panels.shape[1]))
        return ink.write(figure, path)


def _signs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the colours of the legend."""
    if several := [row for row in rows if len(row["classes"]) > 2]:
        return {sign: colour for row in several for sign, colour in _palette(row["classes"]).items()}
    signs = {
        "true positive": NEARLY_WHITE,
        "false positive": MAGENTA,
        "false negative": LIME,
        "true negative": NEARLY_BLACK,
    }
    return signs | ({"outside the mask": OUTSIDE} if any(row.get("mask") is not None for row in rows) else {})


def _palette(classes: Sequence[str]) -> dict[str, str]:
    """Return the colour of each class but the background."""
    hues = (GOLDEN * further % 1 for further in itertools.count(1))
    colours = itertools.chain(OUTLINES, (to_hex(colorsys.hsv_to_rgb(hue, 0.8, 1)) for hue in hues))
    return dict(zip(classes[1:], colours, strict=False))


def _example(line: Iterable[Axes], row: Mapping[str, Any], losses: list[str]) -> None:
    """Draw one case: image, truth, predictions."""
    image, truth, *predictions = line
    inside = np.ones(row["truth"].shape, bool) if row.get("mask") is None else np.asarray(row["mask"], bool)
    show = _outlines if len(row["classes"]) > 2 else _pixels
    image.imshow(smaller(row["image"]), cmap="gray")
    image.set_ylabel(_shortened(str(row["id"])), fontsize=6.5)
    show(truth, row, row["truth"], inside)
    for axes, loss in zip(predictions, losses, strict=True):
        prediction = row["predictions"].get(loss)
        if prediction is None:
            axes.imshow(np.full((*row["truth"].shape, 3), 0.95))
            axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color="#666666")
            continue
        show(axes, row, prediction, inside)
        axes.set_xlabel(_score(row["truth"], prediction, inside), fontsize=6.5, labelpad=2)
    for axes in (image, truth, *predictions):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="#999999", linewidth=0.4)


def _pixels(axes: Axes, row: Mapping[str, Any], prediction: np.ndarray, inside: np.ndarray) -> None:
    axes.imshow(smaller(coloured(row["truth"], prediction, inside), sharp=True))


def _outlines(axes: Axes, row: Mapping[str, Any], prediction: np.ndarray, inside: np.ndarray) -> None:
    """Draw the outline of each class on the image; what lies outside the mask is dimmed."""
    image = smaller(row["image"]).copy()
    image[smaller(inside, sharp=True) == 0] //= 2
    axes.imshow(image, cmap="gray")
    labels = smaller(prediction, sharp=True)
    for label, colour in enumerate(_palette(row["classes"]).values(), start=1):
        if (labels == label).any():
            axes.contour(labels == label, levels=[0.5], colors=[colour], linewidths=0.7)


def smaller(image: np.ndarray, sharp: bool = False) -> np.ndarray:
    """Return an image (H, W) or (H, W, 3) as uint8 whose longer side has at most ``LONGEST`` pixels.

    Args:
        image: uint8, or float from 0 to 1.
        sharp: Take single pixels, as labels need it, in place of means.
    """
    image = np.asarray(image)
    scaled = np.clip(image, 0, 1) * 255 if image.dtype.kind == "f" else image
    step = -(-max(image.shape[:2]) // LONGEST)
    size = -(-image.shape[1] // step), -(-image.shape[0] // step)
    way = Image.Resampling.NEAREST if sharp else Image.Resampling.BOX
    return np.asarray(Image.fromarray(scaled.astype(np.uint8)).resize(size, way))


def axial(truth: np.ndarray, affine: np.ndarray) -> tuple[Any, ...]:
    """Return the index of the axial slice with the most foreground, the first of several.

    Args:
        truth: Label map, 3D; foreground above 0.
        affine: Array axes to world axes (right, anterior, superior), (4, 4).
    """
    axis = int(np.argmax(np.abs(np.asarray(affine)[2, :3])))
    foreground = (np.asarray(truth) > 0).sum(axis=tuple(other for other in range(3) if other != axis))
    return tuple(int(np.argmax(foreground)) if place == axis else slice(None) for place in range(3))


def coloured(truth: np.ndarray, prediction: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3), float 0 to 1: true positives white, false positives magenta, false negatives green."""
    truth, prediction = np.asarray(truth) > 0, np.asarray(prediction) > 0
    image = np.zeros((*truth.shape, 3))
    image[truth & prediction] = WHITE
    image[~truth & prediction] = MAGENTA
    image[truth & ~prediction] = LIME
    image[~inside] = OUTSIDE
    return image


def _score(truth: np.ndarray, prediction: np.ndarray, inside: np.ndarray) -> str:
    """Return the DSC of all foreground classes as one."""
    truth, prediction = ((np.asarray(label) > 0).astype(np.uint8) for label in (truth, prediction))
    counted = evaluation.counts(truth, prediction, 2, mask=inside)[1]
    dsc = evaluation.metrics(counted, ("dsc",))["dsc"]
    return "DSC undefined" if np.isnan(dsc) else f"DSC {dsc:.3f}"


def _shortened(text: str, length: int = 14) -> str:
    """Keep both ends of an id: those of DSB 2018 have 64 characters."""
    return text if len(text) <= length else f"{text[: length - 6]}…{text[-5:]}"
