"""Figures that compare losses: per-case values, stability of ranks, critical differences, sweeps, matrices.

In: frames and arrays, as ``rareseg.evaluation`` computes them. Out: as ``figures``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rareseg import evaluation
from rareseg.experiments import ink
from rareseg.experiments.layout import data_of, grid, name

MISSING = "not run"
FARTHEST = 60
"""Cases beyond the whiskers that each loss shows; of 40,000 patches all would be a file of megabytes."""
ON_BLUE = "#fdfdfd"  # not quite white, which is the colour of the paper


def distributions(
    values: pd.DataFrame, title: str, path: Path, *, data: str, metric: str, groups: Sequence[str] | None = None
) -> tuple[Path, Path]:
    """Draw per-case values of each loss: box plots, profiles, and how often each loss takes each rank.

    Args:
        values: One column per loss and one row per case, NaN where a case has no value; a column of NaN alone is a loss
            without a finished run.
        title: Data set and network.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.
        metric: What the values are.
        groups: Group of each case, see ``evaluation.stability``.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    with matplotlib.rc_context(ink.RC):
        figure = ink.new(10.2, 1.35 + 0.24 * values.shape[1], title, data)
        boxes, profile, ranks = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
        _boxes(boxes, values, metric)
        _profiles(profile, values, metric)
        _ranks(ranks, -values if metric in evaluation.DISTANCES else values, groups)
        return ink.write(figure, path)


def _boxes(axes: Axes, values: pd.DataFrame, metric: str) -> None:
    """Boxes hold the middle half of the cases, whiskers 90%; the line is the median, the point the mean."""
    for place, loss in enumerate(values):
        found, look = values[loss].dropna().to_numpy(), ink.style(loss, place)
        if not found.size:
            axes.text(0.01, place, MISSING, va="center", color="#777777", transform=axes.get_yaxis_transform())
            continue
        low, first, median, third, high = np.percentile(found, [5, 25, 50, 75, 95])
        axes.plot([low, high], [place, place], color=look.colour, linewidth=0.9)
        axes.barh(place, third - first, left=first, height=0.56, color=look.colour, alpha=0.35)
        axes.plot([median, median], [place - 0.28, place + 0.28], color=look.colour, linewidth=1.8)
        axes.plot(found.mean(), place, "o", markersize=3.4, color=look.colour)
        outside = found[(found < low) | (found > high)]
        farthest = outside[np.argsort(-np.abs(outside - median), kind="stable")[:FARTHEST]]
        axes.plot(farthest, np.full(farthest.size, place), "|", markersize=4, color=look.colour)
    axes.set_yticks(range(values.shape[1]), [name(loss) for loss in values])
    axes.set(
        ylim=(values.shape[1] - 0.4, -0.6),
        xlabel=f"{name(metric)} of a case",
        title="Cases (box: middle half, whiskers: 90 %)",
    )
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _profiles(axes: Axes, values: pd.DataFrame, metric: str) -> None:
    highest = max(float(values.fillna(0).to_numpy().max()), 1.0) if metric in evaluation.DISTANCES else 1.0
    thresholds = np.linspace(0, highest, 101)
    for place, loss in enumerate(values):
        found, look = values[loss].dropna().to_numpy(), ink.style(loss, place)
        if found.size:
            share = (found[:, np.newaxis] > thresholds).mean(axis=0)
            axes.plot(thresholds, share, color=look.colour, linestyle=look.line, linewidth=1.2)
    axes.set(
        xlim=(0, highest), ylim=(0, 1.02), title="Profile", xlabel=f"{name(metric)} above", ylabel="Share of cases"
    )


def _ranks(axes: Axes, values: pd.DataFrame, groups: Sequence[str] | None) -> None:
    """Shade the share of resamples in which a loss takes a rank; the highest value is the first."""
    axes.set_title("Rank in 10,000 resamples")
    known = [loss for loss in values if values[loss].notna().any()]
    shares = np.zeros((values.shape[1], len(known)))
    if len(known) > 1:
        found = np.nan_to_num(evaluation.stability(values[known].to_numpy(), groups))  # nothing known, nothing drawn
        shares[[list(values).index(loss) for loss in known]] = found
    for (loss, rank), share in np.ndenumerate(shares):
        if share == 0:
            continue
        axes.barh(loss, 0.94, left=rank + 0.53, height=0.86, color=ink.BLUE, alpha=float(share), linewidth=0)
        if share >= 0.005:
            colour = ON_BLUE if share > 0.5 else "#000000"
            axes.text(rank + 1, loss, f"{100 * share:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
    axes.set(xlim=(0.4, max(len(known), 1) + 0.6), ylim=(values.shape[1] - 0.4, -0.6), xlabel="Rank (share in %)")
    axes.set_xticks(range(1, len(known) + 1, 1 + len(known) // 13))
    axes.set_yticks(range(values.shape[1]), [""] * values.shape[1])
    axes.grid(visible=False)
    axes.tick_params(length=0)


def critical_differences(
    losses: Sequence[str], mean_ranks: np.ndarray, difference: float, title: str, path: Path, *, data: str
) -> tuple[Path, Path]:
    """Draw mean ranks; losses under one bar are closer than the critical difference (Demsar 2006, Fig. 1).

    Args:
        losses: Their keys.
        mean_ranks: Mean rank of each, 1 is best, shape (losses,).
        difference: Nemenyi's critical difference at 5%.
        title: Which table and blocks.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    order = np.argsort(mean_ranks, kind="stable")
    ranks, names = np.asarray(mean_ranks)[order], [name(str(losses[place])) for place in order.tolist()]
    bars = _cliques(ranks, difference)
    with matplotlib.rc_context({**ink.RC, "axes.grid": False}):
        figure = ink.new(7.2, 1.5 + 0.2 * (len(names) / 2 + len(bars)), title, data)
        axes = figure.subplots()
        first = -0.55 - 0.32 * len(bars)
        for place, (rank, label) in enumerate(zip(ranks, names, strict=True)):
            left = place < len(names) / 2
            level = first - 0.55 * (place if left else len(names) - 1 - place)
            edge = 0.7 if left else len(names) + 0.3
            axes.plot([rank, rank, edge], [0, level, level], color="#000000", linewidth=0.8)
            text = f"{label}  {rank:.2f}" if left else f"{rank:.2f}  {label}"
            axes.text(edge + (-0.05 if left else 0.05), level, text, ha="right" if left else "left", va="center")
        for place, (low, high) in enumerate(bars):
            level = -0.3 - 0.32 * place
            axes.plot([low - 0.05, high + 0.05], [level, level], color=ink.RED, linewidth=2.6)
        axes.plot([1, 1 + difference], [0.75, 0.75], color="#000000", linewidth=1.4, marker="|", markersize=6)
        axes.text(1 + difference / 2, 0.9, f"critical difference {difference:.2f}", ha="center", va="bottom")
        axes.set(xlim=(-0.9, len(names) + 1.9), ylim=(first - 0.55 * (len(names) // 2) - 0.2, 1.5), yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.plot([1, len(names)], [0, 0], color="#000000", linewidth=0.8)
        for rank in range(1, len(names) + 1):
            axes.plot([rank, rank], [0, 0.12], color="#000000", linewidth=0.8)
            axes.text(rank, 0.2, str(rank), ha="center", va="bottom")
        axes.set_xticks([])
        return ink.write(figure, path)


def _cliques(ranks: np.ndarray, difference: float) -> list[tuple[float, float]]:
    """Return the longest runs of ascending mean ranks that are no further apart than the critical difference."""
    runs: list[tuple[float, float]] = []
    for low in ranks:
        high = float(ranks[ranks <= low + difference].max())
        if high > low and (not runs or high > runs[-1][1]):
            runs.append((float(low), high))
    return runs


def over_gamma(
    panels: Mapping[str, Mapping[str, Mapping[float, float] | float | None]], title: str, path: Path, *, data: str
) -> tuple[Path, Path]:
    """Draw DSC over gamma, one panel per data set; losses that are not swept are level lines (UFL, Fig. 3).

    Args:
        panels: Per data set and loss a value, or values by gamma; None or NaN where a run is missing.
        title: Which tables.
        path: Where to write, without suffix.
        data: ``real``, ``subset`` or ``phantom``.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    losses = list(dict.fromkeys(loss for panel in panels.values() for loss in panel))
    finished = dict.fromkeys(losses, False)
    with matplotlib.rc_context(ink.RC):
        figure = ink.new(max(6.4, 3.2 * len(panels)), 3.6, title, data)
        for axes, (dataset, panel) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            gammas = sorted({gamma for found in panel.values() if isinstance(found, Mapping) for gamma in found})
            few = -(-len(gammas) // 3)  # markers of a level line, shifted from loss to loss
            for place, loss in enumerate(losses):
                found, look = panel.get(loss), ink.style(loss, place)
                swept = isinstance(found, Mapping)
                points = dict(sorted(found.items())) if swept else dict.fromkeys(gammas, found)
                values = np.array(list(points.values()), float)  # NaN in place of None
                if np.isnan(values).all():
                    continue
                finished[loss] = True
                axes.plot(
                    list(points),
                    values,
                    color=look.colour,
                    linestyle=look.line,
                    linewidth=1.3,
                    marker=look.marker,
                    markersize=4,
                    markevery=1 if swept else (place % few, few),
                )
            if not axes.lines:
                axes.text(0.5, 0.5, MISSING, transform=axes.transAxes, ha="center", color="#777777")
            axes.set(title=name(dataset), xlabel="gamma", ylabel="DSC")
        ink.legend(figure, {loss: ink.label_of(loss, finished[loss]) for loss in losses})
        return ink.write(figure, path)


def heat(long: pd.DataFrame, title: str, path: Path) -> tuple[Path, Path]:
    """Draw a table of two swept arguments as heat maps on one scale each: published, where there is such, and ours.

    Args:
        long: The frame behind ``table_long.csv``.
        title: Which table.
        path: Where to write, without suffix.

    Returns:
        The two files, ``.svg`` and ``.png``.
    """
    layout = grid(long)
    with matplotlib.rc_context({**ink.RC, "axes.grid": False}):
        size = 0.62 * len(layout.columns), 0.36 * len(layout.rows)
        shown = ["published", "ours"] if layout.compared else ["ours"]
        figure = ink.new(len(shown) * size[0] + 1.6, size[1] + 1.2, title, data_of(long))
        for axes, column in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown, strict=True):
            values = np.array(
                [
                    [
                        float(layout.cells[row, head].get(column, np.nan)) if (row, head) in layout.cells else np.nan
                        for head in layout.columns
                    ]
                    for row in layout.rows
                ]
            )
            _matrix(axes, 100 * values, column.capitalize())
            axes.set_xticks(range(len(layout.columns)), [head[-1].partition("=")[2] for head in layout.columns])
            axes.set_yticks(range(len(layout.rows)), [head[-1].partition("=")[2] for head in layout.rows])
            axes.set(xlabel=layout.columns[0][-1].partition("=")[0])
        figure.axes[0].set_ylabel(layout.rows[0][-1].partition("=")[0])
        return ink.write(figure, path)


def _matrix(axes: Axes, values: np.ndarray, label: str) -> None:
    """Shade cells from the lowest to the highest value and print each."""
    low, span = (np.nanmin(values), np.nanmax(values) - np.nanmin(values)) if not np.isnan(values).all() else (0, 1)
    for (row, column), value in np.ndenumerate(values):
        share = 0 if np.isnan(value) else float(0.08 + 0.87 * (value - low) / (span or 1))
        axes.barh(row, 0.96, left=column - 0.48, height=0.94, color=ink.BLUE, alpha=share, linewidth=0)
        text = MISSING if np.isnan(value) else f"{value:.2f}"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=6.5, color=ON_BLUE if share > 0.55 else "#000000"
        )
    axes.set(title=f"{label}, in %", xlim=(-0.55, values.shape[1] - 0.45), ylim=(values.shape[0] - 0.45, -0.55))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
