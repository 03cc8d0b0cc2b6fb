"""Put the published value, its rank and a verdict beside each of our cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rareseg.evaluation.pairing import BLOCKS, ROWS
from rareseg.evaluation.published import as_fraction, match, published_rows
from rareseg.evaluation.surface import DISTANCES
from rareseg.evaluation.verdict import MARGIN, cell_verdict

OUR_COLUMNS = (
    *("dataset", "network", "loss", "arguments", "metric", "class"),
    *("ours", "low", "high", "cases", "run", "data", "protocol"),
)
_DIGITS = 9
_NO_CELL = {"value": "", "uncertainty": "", "unit": "fraction", "note": ""}


def compare(
    ours: pd.DataFrame,
    published: pd.DataFrame,
    *,
    rows: Sequence[str] = ROWS,
    blocks: Sequence[str] = BLOCKS,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Compare our cells with the published ones.

    Args:
        ours: One row per cell with dataset, network, loss, arguments (text such as ``epsilon=0.5;omega=10``, empty for
            none), metric, class, ours, low, high (fractions), cases (missing unless a run finished), run (text, empty
            unless a run was tried), data (real, subset, phantom), protocol (paper, other). More columns are kept.
        published: A published table, every column text (``from_csv``).
        rows: Columns that name a row of a block.
        blocks: Columns that name a block; ranks are taken within it.
        margin: Difference up to which a cell is ``close``.

    Returns:
        Our rows in the order of the published table (those it lacks come last), with unit, published_text, published,
        published_uncertainty, note, difference, rank, published_rank and verdict. Numbers have nine significant digits.

    Raises:
        ValueError: Our table lacks a column, two of our cells share one place, or a published number cannot be read.
    """
    missing = [column for column in OUR_COLUMNS if column not in ours]
    if missing:
        raise ValueError(f"our table lacks the column {missing[0]!r}; expected {', '.join(OUR_COLUMNS)}")
    repeated = ours.duplicated([*blocks, *rows])
    if repeated.any():
        raise ValueError(f"two of our cells share one place: {ours.loc[repeated, [*blocks, *rows]].iloc[0].tolist()}")
    table = _with_published(ours, published)
    table["difference"] = table["ours"] - table["published"]
    table = rounded(table)
    sign = np.where(table["metric"].isin(DISTANCES), 1, -1)  # of distances the lowest is best
    for column, value in (("rank", "ours"), ("published_rank", "published")):
        ranks = table.assign(**{value: sign * table[value]}).groupby(list(blocks), dropna=False)[value]
        table[column] = ranks.rank(method="min").astype("Int64")
    table["verdict"] = [cell_verdict(row, margin) for row in table.to_dict("records")]
    return table


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Round every number to nine significant digits, so that a table and its CSV are the same table."""
    numbers = table.select_dtypes("float64").columns
    return table.assign(**{str(name): table[name].map(_significant) for name in numbers})


def _significant(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _with_published(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Add the printed cells and sort by their order."""
    printed = published_rows(published)
    places = [match(cell, printed) for cell in ours.to_dict("records")]
    found = [_NO_CELL if place is None else printed[place] for place in places]
    table = ours.assign(
        unit=[cell["unit"] for cell in found],
        published_text=[cell["value"] for cell in found],
        published=[as_fraction(cell["value"], cell["unit"]) for cell in found],
        published_uncertainty=[as_fraction(cell["uncertainty"], cell["unit"]) for cell in found],
        note=[cell["note"] for cell in found],
    )
    last = len(printed)
    order = np.argsort([last if place is None else place for place in places], kind="stable")
    return table.iloc[order].reset_index(drop=True)
