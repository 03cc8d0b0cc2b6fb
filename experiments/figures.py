"""Figures: learning curves, ROC curves, example segmentations, published against measured cells.

In: frames and arrays. Out: each figure as ``.svg`` and ``.png``; two calls with the same input give the same bytes.
Pictures from phantoms or subsets say so in their titles. A loss has the same colour, line and marker in all figures;
one without a finished run keeps its place in the legend, with the words "not run".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from rareseg.experiments.layout import Grid, Head, data_of, grid, name, titled

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "rareseg",  # element ids come from it, by default they are random
    "svg.fonttype": "path",  # looks the same where the font is missing
    "image.interpolation": "nearest",
}
RC_PICTURES: dict[Any, Any] = {**RC, "axes.grid": False, "font.size": 7}
DPI = 150


class Style(NamedTuple):
    """How a loss is drawn."""

    colour: str
    line: Any  # a matplotlib line style
    marker: str


# Colours of Okabe and Ito, which stay apart for the colour-blind; line and marker tell them apart in grey.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
DASHED, DOTTED, MIXED, LONG = (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2))
STYLES = {
    "adaptive_log": Style(RED, "-", "o"),
    "jaccard": Style(SKY, LONG, "s"),
    "dice": Style(BLUE, DASHED, "^"),
    "tversky": Style(GREEN, MIXED, "D"),
    "focal": Style(ORANGE, "-", "v"),
    "combo": Style(PINK, DASHED, "P"),
    "cross_entropy": Style(BLACK, DOTTED, "X"),
    "focal_tversky": Style(GREEN, DOTTED, "<"),
    "unified_focal_asymmetric": Style(BLACK, "-", "*"),
    "unified_focal_symmetric": Style(BLACK, DASHED, "h"),
    "unified_focal": Style(BLACK, "-", "*"),
    "hybrid_focal": Style(ORANGE, DASHED, ">"),
    "generalised_dice": Style(BLUE, DOTTED, "1"),
    "asymmetric_similarity": Style(GREEN, LONG, "2"),
    "dice_focal": Style(PINK, "-", "3"),
    "topk": Style(ORANGE, DOTTED, "4"),
    "dice_topk": Style(PINK, DOTTED, "+"),
    "log_cosh_dice": Style(BLUE, "-", "x"),
    "generalised_cross_entropy": Style(SKY, "-", "d"),
    "exponential_log": Style(RED, DASHED, "p"),
    "boundary": Style(SKY, DOTTED, "H"),
    "wasserstein_dice": Style(BLUE, MIXED, "|"),
}
UNKNOWN = (Style("#666666", "-", "o"), Style("#666666", DASHED, "s"), Style("#666666", DOTTED, "^"))


def style(loss: str, position: int = 0) -> Style:
    """Return how a loss is drawn; losses that are not in the table are grey, and differ by ``position``."""
    return STYLES.get(loss, UNKNOWN[position % len(UNKNOWN)])


def learning_curves(
    histories: Mapping[str, pd.DataFrame | None], title: str, path: Path, *, data: str
) -> tuple[Path, Path]:
    """Draw loss and Jaccard against epochs, one line per loss (ALL, Fig. 3).

    Args:
        histories: Per loss the frame behind ``history.csv``, or None where the run is missing.
        title: Data set and network.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    finished = {loss: history for loss, history in histories.items() if history is not None and len(history)}
    panels = [("loss", "Training loss, each in its own units"), ("jaccard", "Training Jaccard")]
    if any(history["val_jaccard"].notna().any() for history in finished.values()):
        panels.append(("val_jaccard", "Validation Jaccard"))
    with matplotlib.rc_context(RC):
        figure = _figure(3.4 * len(panels), 3.5, title, data)
        for axes, (column, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for position, loss in enumerate(histories):
                if (history := finished.get(loss)) is not None:
                    _curve(axes, history["epoch"], history[column], style(loss, position), position)
            axes.set(title=label, xlabel="Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            if column == "loss":
                _log_where_possible(axes)
            else:
                axes.set_ylim(0, 1)
        _legend_of_losses(figure, {loss: _label(loss, loss in finished) for loss in histories})
        return _write(figure, path)


def _curve(axes: Axes, x: Any, y: Any, look: Style, position: int) -> None:
    """Draw a line with a few markers, shifted from loss to loss so that they do not hide each other."""
    step = max(1, len(x) // 8)
    axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.line,
        linewidth=1.3,
        marker=look.marker,
        markersize=4,
        markevery=(position * step // 6 % step, step),
    )


def _log_where_possible(axes: Axes) -> None:
    """Losses differ by orders of magnitude; some start at zero or below, where a logarithm has no place."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.ones(1)])
    if np.nanmin(values) > 0 and np.nanmax(values) > 10 * np.nanmin(values):
        axes.set_yscale("log")


def roc(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, float] | None], title: str, path: Path, *, data: str
) -> tuple[Path, Path]:
    """Draw ROC curves, whole and zoomed to the corner that matters (ALL, Fig. 2).

    Args:
        curves: Per loss false positive rates, true positive rates (both ascending from 0 to 1) and the area under the
            curve; None where the run is missing.
        title: Data set and network.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    with matplotlib.rc_context(RC):
        figure = _figure(7.2, 3.9 + 0.17 * -(-len(curves) // 3), title, data)
        whole, zoomed = figure.subplots(1, 2)
        for axes in (whole, zoomed):
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=DOTTED)
            for position, (loss, curve) in enumerate(curves.items()):
                if curve is not None:
                    look = style(loss, position)
                    axes.plot(*_thinned(*curve[:2]), color=look.colour, linestyle=look.line, linewidth=1.3)
            axes.set(xlabel="False positive rate", ylabel="True positive rate", aspect="equal")
            axes.locator_params(nbins=5)
        whole.set(xlim=(-0.02, 1), ylim=(0, 1.02), title="All thresholds")
        whole.add_patch(Rectangle((0, 0.8), 0.2, 0.2, fill=False, edgecolor="#666666", linewidth=0.8))
        zoomed.set(xlim=(-0.004, 0.2), ylim=(0.8, 1.004), title="The marked corner")
        labels = {
            loss: _label(loss, curve is not None) + (f", AUC {curve[2]:.4f}" if curve else "")
            for loss, curve in curves.items()
        }
        _legend_of_losses(figure, labels, markers=False)
        return _write(figure, path)


def _thinned(fpr: np.ndarray, tpr: np.ndarray, points: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Keep points evenly along the curve: 65,536 thresholds make a file of megabytes and no other picture."""
    along = np.asarray(fpr) + np.asarray(tpr)  # ascends from 0 to 2, whatever the shape of the curve
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], points)).clip(max=len(along) - 1))
    return np.asarray(fpr)[kept], np.asarray(tpr)[kept]


WHITE, MAGENTA, LIME, OUTSIDE = (1.0, 1.0, 1.0), (0.93, 0.0, 0.75), (0.25, 0.85, 0.25), (0.35, 0.35, 0.35)


def examples(
    rows: Sequence[Mapping[str, Any]], title: str, path: Path, *, data: str, metric: str = "dsc"
) -> tuple[Path, Path]:
    """Draw example segmentations: image, truth, one column per loss (UFL, Fig. 4 to 6).

    Args:
        rows: One mapping per case: ``id``; ``image`` (H, W, 3) or (H, W), uint8 or float 0 to 1; ``truth`` (H, W),
            foreground above 0; ``predictions``, per loss (H, W) or None where the run is missing; where there is one
            ``mask`` (H, W), bool, outside of which nothing counts.
        title: Data set and network.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.
        metric: ``dsc`` or ``jaccard``, printed below each prediction.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    losses = list(dict.fromkeys(loss for row in rows for loss in row["predictions"]))
    width = 1.15
    heights = [width * row["truth"].shape[0] / row["truth"].shape[1] for row in rows]
    with matplotlib.rc_context(RC_PICTURES):
        figure = _figure(width * (2 + len(losses)) + 0.5, sum(heights) + 0.17 * len(rows) + 0.85, title, data)
        panels = figure.subplots(len(rows), 2 + len(losses), squeeze=False, gridspec_kw={"height_ratios": heights})
        for row, line in zip(rows, panels, strict=True):
            _example(line, row, losses, metric)
        for axes, label in zip(panels[0], ["Image", "Truth", *map(name, losses)], strict=True):
            axes.set_title(label.replace(" (", "\n("), fontsize=8)
        signs = {"true positive": WHITE, "false positive": MAGENTA, "false negative": LIME, "true negative": (0, 0, 0)}
        if any(row.get("mask") is not None for row in rows):
            signs["outside the mask"] = OUTSIDE
        handles = [
            Patch(facecolor=colour, edgecolor="#444444", linewidth=0.5, label=sign) for sign, colour in signs.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), panels.shape[1]))
        return _write(figure, path)


def _example(line: Iterable[Axes], row: Mapping[str, Any], losses: list[str], metric: str) -> None:
    """Draw one case: image, truth, predictions."""
    image, truth, *predictions = line
    inside = np.ones(row["truth"].shape, bool) if row.get("mask") is None else np.asarray(row["mask"], bool)
    image.imshow(row["image"], cmap="gray")
    image.set_ylabel(_shortened(str(row["id"])), fontsize=6.5)
    truth.imshow(coloured(row["truth"], row["truth"], inside))
    for axes, loss in zip(predictions, losses, strict=True):
        prediction = row["predictions"].get(loss)
        if prediction is None:
            axes.imshow(np.full((*row["truth"].shape, 3), 0.95))
            axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color="#666666")
            continue
        axes.imshow(coloured(row["truth"], prediction, inside))
        axes.set_xlabel(_score(row["truth"], prediction, inside, metric), fontsize=6.5, labelpad=2)
    for axes in (image, truth, *predictions):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color="#999999", linewidth=0.4)


def coloured(truth: np.ndarray, prediction: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3), float 0 to 1: true positives white, false positives magenta, false negatives green."""
    truth, prediction = np.asarray(truth) > 0, np.asarray(prediction) > 0
    image = np.zeros((*truth.shape, 3))
    image[truth & prediction] = WHITE
    image[~truth & prediction] = MAGENTA
    image[truth & ~prediction] = LIME
    image[~inside] = OUTSIDE
    return image


def _score(truth: np.ndarray, prediction: np.ndarray, inside: np.ndarray, metric: str) -> str:
    truth, prediction = (np.asarray(label)[inside] > 0 for label in (truth, prediction))
    shared, either = np.sum(truth & prediction), np.sum(truth | prediction)
    above, below = {"dsc": (2 * shared, shared + either), "jaccard": (shared, either)}[metric]
    return f"{name(metric)} {above / below:.3f}" if below else f"{name(metric)} undefined"


def _shortened(text: str, length: int = 14) -> str:
    """Keep both ends of an id: those of DSB 2018 have 64 characters."""
    return text if len(text) <= length else f"{text[: length - 6]}…{text[-5:]}"


def cells(long: pd.DataFrame, title: str, path: Path) -> tuple[Path, Path]:
    """Draw ours with its interval beside the published value, one panel per column of the table.

    Args:
        long: The frame behind ``table_long.csv``.
        title: Which table.
        path: Where to write, without suffix.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    layout = grid(long)
    columns = 4 if len(layout.columns) % 4 == 0 else min(3, len(layout.columns))
    lines = -(-len(layout.columns) // columns)
    with matplotlib.rc_context(RC):
        height = lines * (0.17 * len(layout.rows) + 0.8) + 0.9
        figure = _figure(max(5.5, 2.5 * columns + 1.5), height, title, data_of(long))
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        for axes, column in zip(panels, layout.columns, strict=False):
            _dumbbells(axes, layout, column)
        for axes in panels[len(layout.columns) :]:
            axes.set_visible(False)
        ours = Line2D([], [], color="#444444", linewidth=1.3, marker="o", markersize=4.5)
        paper = Line2D([], [], color="none", marker="D", markersize=4.5, mfc="white", mec="black")
        labels = ["ours with 95 % interval (missing: no finished run)", "published"]
        figure.legend([ours, paper], labels, loc="outside lower center", ncols=2)
        return _write(figure, path)


def _dumbbells(axes: Axes, layout: Grid, column: Head) -> None:
    """Draw one column of the table; rows of different networks stand apart by an empty line."""
    networks = [row[0] if len(row) > 1 else "" for row in layout.rows]
    places = np.arange(len(layout.rows)) + np.cumsum([False, *(a != b for a, b in itertools.pairwise(networks))])
    unit = subject = ""
    for position, (row, place) in enumerate(zip(layout.rows, places, strict=True)):
        record = layout.cells.get((row, column))
        if record is None:
            continue
        unit, subject = record["unit"], "" if "metric" in layout.top else name(record["metric"])
        scale = 100 if unit == "percent" else 1
        ours, low, high, published = (scale * float(record[key]) for key in ("ours", "low", "high", "published"))
        look = style(record["loss"], position)
        axes.plot([ours, published], [place, place], color="#bbbbbb", linewidth=0.8, zorder=1)
        axes.plot([low, high], [place, place], color=look.colour, linewidth=1.3, zorder=2)
        axes.plot(ours, place, color=look.colour, marker="o", markersize=4.5, zorder=3)
        axes.plot(published, place, marker="D", markersize=4.5, mfc="white", mec="black", mew=0.8, zorder=4)
    axes.set_title(" · ".join(map(name, column)))
    axes.set_xlabel(" in ".join(filter(None, (subject, {"percent": "%"}.get(unit, "")))))
    axes.set_yticks(places, [" · ".join(map(name, row)) for row in layout.rows])
    axes.set_ylim(places[-1] + 0.7, -0.7)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="y", length=0)


# Shared by all figures ------------------------------------------------------------------------------------------------


def _figure(width: float, height: float, title: str, data: str) -> Figure:
    """Return an empty figure; width and height in inches."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.06)
    figure.suptitle(titled(title, data), fontsize=10)
    return figure


def _label(loss: str, finished: bool) -> str:
    return name(loss) if finished else f"{name(loss)} (not run)"


def _legend_of_losses(figure: Figure, labels: Mapping[str, str], markers: bool = True) -> None:
    """Put one legend below all panels, where it hides no curve."""
    handles = []
    for position, (loss, label) in enumerate(labels.items()):
        look = style(loss, position)
        marker = look.marker if markers else None
        handles.append(
            Line2D(
                [], [], color=look.colour, linestyle=look.line, linewidth=1.3, marker=marker, markersize=4, label=label
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), handlelength=3.5)


def _write(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure whole or not at all: under another name first, then renamed."""
    files = path.with_name(f"{path.name}.svg"), path.with_name(f"{path.name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once for both files, which halves the time
    title = figure.get_suptitle()
    metadata = {"svg": {"Title": title, "Date": None}, "png": {"Title": title}}
    for file in files:
        kind = file.suffix[1:]
        unfinished = file.with_name(f".{file.name}.tmp")
        figure.savefig(unfinished, format=kind, dpi=DPI, metadata=metadata[kind])
        unfinished.replace(file)
    return files
