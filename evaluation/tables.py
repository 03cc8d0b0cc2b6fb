"""From per-case results of many runs to the table that is printed: ``table_long``.

Three tables come in. ``grid`` says which cells there are, ``runs`` what became of each run, ``results`` what finished
runs measured. ``_points.collect`` brings them together, once; all functions here take what it returns.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from rareseg.evaluation._points import POINT, Point
from rareseg.evaluation.bootstrap import percentile_interval, resampled_totals
from rareseg.evaluation.comparison import compare, rounded
from rareseg.evaluation.overlap import (
    Aggregation,
    Empty,
    canonical,
    case_estimate,
    case_means,
    case_terms,
    pooled_estimate,
)
from rareseg.evaluation.pairing import BLOCKS, ROWS, against_reference, joined
from rareseg.evaluation.statistics import marker
from rareseg.evaluation.verdict import MARGIN

TABLE_COLUMNS = (
    *("table", "dataset", "network", "loss", "arguments", "metric", "class", "unit", "published_text", "published"),
    *("published_uncertainty", "note", "ours", "low", "high", "difference", "seed_sd", "p_raw", "p_adjusted", "marker"),
    *("rank", "published_rank", "verdict", "cases", "seed", "run", "data", "protocol"),
)
SWEEP_COLUMNS = ("block", "loss", "arguments", "ours", "low", "high")
_CELL = (*POINT, "metric", "class")
_MEASURED = ("ours", "low", "high", "seed_sd", "cases", "seed", "run")
Points = Mapping[tuple[str, ...], Point]
_INTEGERS = ("rank", "published_rank", "cases", "n")
_NUMBERS = (
    *("published", "published_uncertainty", "ours", "low", "high", "difference", "seed_sd", "p_raw", "p_adjusted"),
    *("p_rank_sum", "p_signed_rank", "p_signed_rank_holm", "improvement"),
)


@dataclass(frozen=True)
class TableSettings:
    """How a table is made of per-case results.

    Attributes:
        name: What stands in the column ``table``, such as ``table3``.
        reference: Loss that all others are tested against (or the value of another of the ``rows`` columns).
        aggregation: ``case`` averages per-case values, ``pooled`` sums counts over cases first. Batches, measured by
            ``batchwise.batch_metrics``, enter as cases.
        empty: Value where truth and prediction are both empty, see ``overlap.metrics``.
        rows: Columns that name a row of a block.
        blocks: Columns that name a block: ranks, winners and Holm's families stay within.
        margin: Difference from the published value up to which a cell is ``close``.
    """

    name: str
    reference: str = "adaptive_log"
    aggregation: Aggregation = "case"
    empty: Empty = "nan"
    rows: tuple[str, ...] = ROWS
    blocks: tuple[str, ...] = BLOCKS
    margin: float = MARGIN

    def __post_init__(self) -> None:
        """Refuse an aggregation that is not made from counts alone."""
        if self.aggregation not in ("case", "pooled"):
            raise ValueError(f"aggregation must be case or pooled, got {self.aggregation!r}; batches enter as cases")


def expected_cells(
    points: pd.DataFrame, metrics: Mapping[str, Sequence[str]], classes: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the ``grid`` of ``table_long``: every grid point with every metric and class of its data set.

    Args:
        points: dataset, network, loss, arguments, data, protocol, one row per grid point.
        metrics: Metrics per data set, in the order of the columns of the table.
        classes: Class names per data set, ``foreground`` for binary tasks; ``mean`` is that of all foreground classes.
    """
    cells = [
        {**point, "metric": metric, "class": name}
        for point in points.to_dict("records")
        for metric, name in product(metrics[point["dataset"]], classes[point["dataset"]])
    ]
    return pd.DataFrame(cells)


def table_long(grid: pd.DataFrame, points: Points, published: pd.DataFrame, settings: TableSettings) -> pd.DataFrame:
    """Build ``table_long``: one row per expected cell, whatever has run.

    Args:
        grid: Expected cells, all or some of those that were collected.
        points: What ``collect`` made of grid, runs and results.
        published: The published table, all columns text; no rows where there is none.
        settings: How cells are made and compared.

    Returns:
        The columns ``TABLE_COLUMNS`` in the order of the published table. Values are fractions with nine significant
        digits; text that is missing is empty, numbers that are missing are NaN or NA.

    Raises:
        ValueError: Results have no such class or metric, the metric cannot be pooled, or cells do not fit what was
            published (see ``compare``).
    """
    cells = grid[[*_CELL, "data", "protocol"]].reset_index(drop=True)
    ours = _measured(cells, points, settings).astype({"cases": "Int64"}).assign(table=settings.name)
    values = case_values(cells, points, settings)
    tested = against_reference(values, settings.reference, rows=settings.rows, blocks=settings.blocks)
    ours = _with_tests(ours, tested, settings)
    table = compare(ours, published, rows=settings.rows, blocks=settings.blocks, margin=settings.margin)
    return table[list(TABLE_COLUMNS)]


def case_values(grid: pd.DataFrame, points: Points, settings: TableSettings) -> pd.DataFrame:
    """Return the per-case values behind a table, averaged over classes (``mean``) and seeds; input of ``pairs``.

    Args:
        grid: As ``table_long``.
        points: As ``table_long``.
        settings: As ``table_long``.

    Returns:
        dataset, network, loss, arguments, metric, class, case, group, value (NaN where the case has none); one row per
        cell with a finished run and case.
    """
    parts = [pd.DataFrame(columns=[*_CELL, "case", "group", "value"])]
    for cell in grid[list(_CELL)].to_dict("records"):
        point = points[_point_of(cell)]
        if point.finished:
            values = case_means(point.values(cell["metric"], cell["class"], settings.empty))
            part = pd.DataFrame({"case": point.cases, "group": point.groups, "value": values})
            parts.append(part.assign(**cell)[parts[0].columns])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def sweep(grid: pd.DataFrame, points: Points, settings: TableSettings) -> pd.DataFrame:
    """Return our value and interval for every choice of the arguments of a loss, where there is more than one.

    Args:
        grid: As ``table_long``.
        points: As ``table_long``.
        settings: As ``table_long``.

    Returns:
        ``SWEEP_COLUMNS``: block (data set, network, metric, class), loss, arguments, ours, low, high.
    """
    block = [name for name in _CELL if name != "arguments"]
    swept = grid[grid.groupby(block, sort=False)["arguments"].transform("nunique") > 1].reset_index(drop=True)
    measured = _measured(swept, points, settings)
    return rounded(measured.assign(block=joined(swept, BLOCKS))[list(SWEEP_COLUMNS)])


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV text: numbers with nine significant digits, the same bytes for the same table."""
    return rounded(table).to_csv(index=False, lineterminator="\n")


def from_csv(text: str) -> pd.DataFrame:
    """Read what ``to_csv`` wrote, or a published table: text stays text (82.40 keeps its zero), numbers are numbers."""
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    numbers = {name: pd.to_numeric(table[name]).astype("float64") for name in _NUMBERS if name in table}
    integers = {name: pd.to_numeric(table[name]).astype("Int64") for name in _INTEGERS if name in table}
    return table.assign(**numbers, **integers)


def _point_of(cell: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(cell[key] for key in POINT)


def _terms(
    point: Point, cell: Mapping[str, Any], settings: TableSettings
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return what each case adds, (N, ...), and how sums of it become the value of the cell."""
    metric, name = cell["metric"], cell["class"]
    if settings.aggregation == "case":
        return case_terms(case_means(point.values(metric, name, settings.empty))), case_estimate
    if canonical(metric) in point.measured:
        raise ValueError(f"{metric} cannot be pooled from per-case values; take aggregation case")
    return np.moveaxis(point.counts(name), 1, 0), partial(pooled_estimate, name=metric, empty=settings.empty)


def _measured(cells: pd.DataFrame, points: Points, settings: TableSettings) -> pd.DataFrame:
    """Return the cells with what ``_measure`` says of each."""
    measured = [_measure(points[_point_of(cell)], cell, settings) for cell in cells.to_dict("records")]
    return cells.join(pd.DataFrame(measured, index=cells.index, columns=list(_MEASURED)))


def _measure(point: Point, cell: Mapping[str, Any], settings: TableSettings) -> dict[str, Any]:
    """Return value, interval, scatter over seeds and origin of one cell."""
    if not point.finished:
        numbers = dict.fromkeys(("ours", "low", "high", "seed_sd"), np.nan)
        return {**numbers, "cases": pd.NA, "seed": "", "run": ";".join(point.runs)}
    terms, estimate = _terms(point, cell, settings)
    low, high = percentile_interval(estimate(resampled_totals(terms, point.groups)))
    return {
        "ours": float(estimate(terms.sum(axis=0))),
        "low": low,
        "high": high,
        "seed_sd": _seed_deviation(point, cell, settings),
        "cases": int(terms[:, 1].sum()) if settings.aggregation == "case" else len(terms),
        "seed": _ranges(point.seeds),
        "run": ";".join(point.runs),
    }


def _seed_deviation(point: Point, cell: Mapping[str, Any], settings: TableSettings) -> float:
    """Return the standard deviation of the cell's value over seeds, NaN for a single seed."""
    if len(point.seeds) < 2:
        return float("nan")
    values = []
    for index in range(len(point.seeds)):
        terms, estimate = _terms(point.seed(index), cell, settings)
        values.append(estimate(terms.sum(axis=0)))
    return float(np.std(values, ddof=1))


def _ranges(seeds: Iterable[int]) -> str:
    """Write seeds as ``0-4,7``."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _with_tests(ours: pd.DataFrame, tested: pd.DataFrame, settings: TableSettings) -> pd.DataFrame:
    """Add p_raw, p_adjusted and marker."""
    names = ours.assign(block=joined(ours, settings.blocks), row=joined(ours, settings.rows))
    p = names[["block", "row"]].merge(tested, on=["block", "row"], how="left", validate="one_to_one")
    adjusted = p["p_adjusted"].astype("float64").to_numpy()
    return ours.assign(
        p_raw=p["p_raw"].astype("float64").to_numpy(), p_adjusted=adjusted, marker=[marker(value) for value in adjusted]
    )
