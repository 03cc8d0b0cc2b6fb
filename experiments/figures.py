"""Figures: learning curves, ROC curves, published against measured cells.

In: frames and arrays. Out: each figure as ``.svg`` and ``.png``; two calls with the same input give the same bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from rareseg.experiments import ink
from rareseg.experiments.layout import Grid, Head, data_of, grid, name


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
    with matplotlib.rc_context(ink.RC):
        figure = ink.new(3.4 * len(panels), 3.5, title, data)
        for axes, (column, label) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for position, loss in enumerate(histories):
                if (history := finished.get(loss)) is not None:
                    _curve(axes, history["epoch"], history[column], ink.style(loss, position), position)
            axes.set(title=label, xlabel="Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            if column == "loss":
                _log_where_possible(axes)
            else:
                axes.set_ylim(0, 1)
        ink.legend(figure, {loss: ink.label_of(loss, loss in finished) for loss in histories})
        return ink.write(figure, path)


def _curve(axes: Axes, x: Any, y: Any, look: ink.Style, position: int) -> None:
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
    with matplotlib.rc_context(ink.RC):
        figure = ink.new(7.2, 3.9 + 0.17 * -(-len(curves) // 3), title, data)
        whole, zoomed = figure.subplots(1, 2)
        for axes in (whole, zoomed):
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=ink.DOTTED)
            for position, (loss, curve) in enumerate(curves.items()):
                if curve is not None:
                    look = ink.style(loss, position)
                    axes.plot(*_thinned(*curve[:2]), color=look.colour, linestyle=look.line, linewidth=1.3)
            axes.set(xlabel="False positive rate", ylabel="True positive rate", aspect="equal")
            axes.locator_params(nbins=5)
        whole.set(xlim=(-0.02, 1), ylim=(0, 1.02), title="All thresholds")
        whole.add_patch(Rectangle((0, 0.8), 0.2, 0.2, fill=False, edgecolor="#666666", linewidth=0.8))
        zoomed.set(xlim=(-0.004, 0.2), ylim=(0.8, 1.004), title="The marked corner")
        labels = {
            loss: ink.label_of(loss, curve is not None) + (f", AUC {curve[2]:.4f}" if curve else "")
            for loss, curve in curves.items()
        }
        ink.legend(figure, labels, markers=False)
        return ink.write(figure, path)


def _thinned(fpr: np.ndarray, tpr: np.ndarray, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Keep points evenly along the curve: 65,536 thresholds make a file of megabytes and no other picture."""
    along = np.sqrt(fpr) + np.asarray(tpr)  # ascends from 0 to 2, whatever the shape; dense where the zoom looks
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], points)).clip(max=len(along) - 1))
    return np.asarray(fpr)[kept], np.asarray(tpr)[kept]


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
    with matplotlib.rc_context(ink.RC):
        height = lines * (0.17 * len(layout.rows) + 0.8) + 0.9
        figure = ink.new(max(5.5, 2.5 * columns + 1.5), height, title, data_of(long))
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        for axes, column in zip(panels, layout.columns, strict=False):
            _dumbbells(axes, layout, column)
        for axes in panels[len(layout.columns) :]:
            axes.set_visible(False)
        ours = Line2D([], [], color="#444444", linewidth=1.3, marker="o", markersize=4.5)
        paper = Line2D([], [], color="none", marker="D", markersize=4.5, mfc="white", mec="black")
        handles = {"ours with 95 % interval (missing: no finished run)": ours}
        if layout.compared:
            handles["published"] = paper
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=2)
        return ink.write(figure, path)


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
        look = ink.style(record["loss"], position)
        axes.plot([ours, published], [place, place], color="#bbbbbb", linewidth=0.8, zorder=1)
        axes.plot([low, high], [place, place], color=look.colour, linewidth=1.3, zorder=2)
        axes.plot(ours, place, color=look.colour, marker="o", markersize=4.5, zorder=3)
        axes.plot(published, place, marker="D", markersize=4.5, mfc="white", mec="black", mew=0.8, zorder=4)
    axes.set_title(" · ".join(map(name, column)))
    axes.set_xlabel(" in ".join(filter(None, (subject, {"percent": "%"}.get(unit, "")))))
    axes.set_yticks(places, [" · ".join(filter(None, map(name, row))) for row in layout.rows])
    axes.set_ylim(places[-1] + 0.7, -0.7)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="y", length=0)


def missing(title: str, reason: str, path: Path) -> tuple[Path, Path]:
    """Draw that there is nothing to draw, and why."""
    with matplotlib.rc_context(ink.RC):
        figure = ink.new(5, 2.4, title, "real")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, reason, ha="center", va="center", color="#666666")
        return ink.write(figure, path)
