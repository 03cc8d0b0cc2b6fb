"""Layout: where each cell of ``table_long`` stands in the papers' own table, and what it says there.

Networks, losses and arguments head the rows, data sets, metrics and classes the columns; what has one value only is
left out. That gives the papers' tables without naming one (two swept arguments and one metric: a matrix).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

Head = tuple[str, ...]
Record = Mapping[str, Any]

NAMES = {
    "isic2018": "ISIC 2018",
    "dsb2018": "DSB 2018",
    "drive": "DRIVE",
    "cvc_clinicdb": "CVC-ClinicDB",
    "bus2017": "BUS2017",
    "brats2020": "BraTS20",
    "kits19": "KiTS19",
    "unet": "U-Net",
    "attention_unet": "Attention U-Net",
    "focusnet": "FocusNet",
    "jaccard": "Jaccard",
    "dice": "Dice",
    "tversky": "Tversky",
    "focal": "Focal",
    "combo": "Combo",
    "adaptive_log": "Adaptive log",
    "cross_entropy": "Cross entropy",
    "focal_tversky": "Focal Tversky",
    "unified_focal": "Unified focal",
    "unified_focal_symmetric": "Unified focal (symmetric)",
    "unified_focal_asymmetric": "Unified focal (asymmetric)",
    "hybrid_focal": "Hybrid focal",
    "generalised_dice": "Generalised Dice",
    "asymmetric_similarity": "Asymmetric similarity",
    "dice_focal": "Dice and focal",
    "topk": "Top-k",
    "dice_topk": "Dice and top-k",
    "generalised_cross_entropy": "Generalised cross entropy",
    "log_cosh_dice": "Log-cosh Dice",
    "exponential_log": "Exponential log",
    "boundary": "Boundary",
    "wasserstein_dice": "Wasserstein Dice",
    "recall": "Recall",
    "precision": "Precision",
    "specificity": "TNR",
    "f1": "F1",
    "dsc": "DSC",
    "auc": "AUC",
    "hd95": "HD95",
    "assd": "ASSD",
    "kidney": "Kidney",
    "tumour": "Tumour",
    "mean": "Mean of classes",
    "hec": "Kidney and tumour",
}

DECIMALS = {"percent": 2, "fraction": 3}  # where a table has no published value to take the digits from
UNFINISHED = ("failed", "not_run")  # verdicts of cells without a value of ours
MISSING = "–"  # noqa: RUF001 - a dash, which is no minus sign


def name(key: str) -> str:
    """Return how a key of a configuration is printed; unknown ones stay as they are, ``unet/dice`` is two of them."""
    return ", ".join(NAMES.get(part, part) for part in key.split("/") if part)


@dataclass(frozen=True)
class Grid:
    """Where each cell of a table stands.

    Attributes:
        side: Keys whose values head the rows, outermost first.
        top: Keys whose values head the columns, outermost first.
        rows: Heads of the rows, in order.
        columns: Heads of the columns, in order.
        cells: The row of ``table_long`` that stands at (head of row, head of column).
        compared: See `compared`.
    """

    side: list[str]
    top: list[str]
    rows: list[Head]
    columns: list[Head]
    cells: dict[tuple[Head, Head], Record]
    compared: bool


def compared(long: pd.DataFrame) -> bool:
    """Return whether a published value stands beside any cell; a table of one's own has none."""
    return bool(long["published"].notna().any())


def words(long: pd.DataFrame) -> pd.Series:
    """Return the verdicts that are printed: where nothing was published, only why a cell is empty."""
    verdicts = long["verdict"]
    return verdicts if compared(long) else verdicts.where(verdicts.isin(UNFINISHED), "")


def grid(long: pd.DataFrame) -> Grid:
    """Arrange the rows of ``table_long`` as the paper's table; rows and columns keep their order of appearance."""
    keys = ["dataset", "network", "loss", "arguments", "metric", "class"]
    text = long[keys].astype(object).fillna("").astype(str)
    frame, arguments = _split_arguments(long.assign(**text, verdict=words(long)))
    side = [key for key in ("network", "loss", *arguments) if frame[key].nunique() > 1]
    top = [key for key in ("dataset", "metric", "class") if frame[key].nunique() > 1]
    if not side:  # one run per data set, or a table about the data sets themselves
        side = ["dataset"] if "dataset" in top else ["loss"]
        top = [key for key in top if key not in side]
    if not top and len(side) > 1 and side[-1] in arguments:
        top = [side.pop()]
    top = top or ["metric"]
    places = list(zip(_tuples(frame, side), _tuples(frame, top), strict=True))
    cells = dict(zip(places, frame.to_dict("records"), strict=True))
    if len(cells) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise ValueError(f"table_long has two rows for {', '.join(twice[0] + twice[1])}; expected one row per cell.")
    rows, columns = _heads(row for row, _ in places), _heads(column for _, column in places)
    return Grid(side, top, rows, columns, cells, compared(long))


def _split_arguments(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Give each argument a column of its own where all rows have the same ones, as in a sweep of one loss."""
    parsed = [{item.split("=")[0]: item for item in text.split(";") if item} for text in frame["arguments"]]
    names = list(parsed[0]) if parsed else []
    if not names or any(list(items) != names for items in parsed):
        return frame, ["arguments"]
    return frame.assign(**{key: [items[key] for items in parsed] for key in names}), names


def _tuples(frame: pd.DataFrame, keys: list[str]) -> list[Head]:
    return list(frame[keys].itertuples(index=False, name=None))


def _heads(found: Iterable[Head]) -> list[Head]:
    """Return each head once; heads that share their first part stand together."""
    heads = list(dict.fromkeys(found))
    leaders = list(dict.fromkeys(head[0] for head in heads))
    return sorted(heads, key=lambda head: leaders.index(head[0]))


def with_baselines(layout: Grid, baselines: pd.DataFrame | None) -> Grid:
    """Add a row per baseline; it has one value per data set, metric and class, whatever network or loss.

    Where the rows are data sets each of them has such a row.
    """
    if baselines is None:
        return layout
    keys = ["dataset", "metric", "class"]
    values = {tuple(map(str, key)): value for *key, value in _tuples(baselines, ["baseline", *keys, "ours"])}
    names = [str(found) for found in baselines["baseline"].unique()]
    added = {}
    for found in names:
        for (_, column), record in layout.cells.items():
            value = values.get((found, *(record[key] for key in keys)))
            added[_baseline_head(found, record["dataset"], layout), column] = {"unit": record["unit"], "ours": value}
    rows = dict.fromkeys(row for row, _ in added)
    return replace(layout, rows=[*layout.rows, *rows], cells=layout.cells | added)


def _baseline_head(found: str, dataset: str, layout: Grid) -> Head:
    if "dataset" in layout.side:
        return (f"{found}/{dataset}",)
    return (*("baseline", "", "", "")[: len(layout.side) - 1], found)


@dataclass(frozen=True)
class Cell:
    """What one cell says, with the digits and in the unit of the paper; empty where there is nothing to say."""

    ours: str = ""
    interval: str = ""
    spread: str = ""  # standard deviation over seeds, apart from the interval over cases
    marker: str = ""
    published: str = ""
    difference: str = ""
    verdict: str = ""
    best: bool = False
    published_best: bool = False


def content(record: Record | None, decimals: Mapping[str, int]) -> Cell:
    """Return what the cell of one row of ``table_long`` says."""
    if record is None:
        return Cell()
    unit = record["unit"]
    scale = 100 if unit == "percent" else 1

    def number(key: str) -> str:
        value: Any = record.get(key)
        return "" if pd.isna(value) else f"{value * scale:.{decimals.get(unit, 0)}f}"

    low, high, spread, difference = (number(key) for key in ("low", "high", "seed_sd", "difference"))
    return Cell(
        ours=number("ours") or MISSING,
        interval=f"[{low}, {high}]" if low and high else "",
        spread=f"sd {spread}" if spread else "",
        marker=text_of(record.get("marker")),
        published=text_of(record.get("published_text")),
        difference=difference if not difference or difference.startswith("-") else f"+{difference}",
        verdict=text_of(record.get("verdict")).replace("_", " "),
        best=text_of(record.get("rank")) in ("1", "1.0"),
        published_best=text_of(record.get("published_rank")) in ("1", "1.0"),
    )


def text_of(value: Any) -> str:
    """Return a value as text, nothing for what is missing."""
    return "" if pd.isna(value) else str(value)


def decimals_of(long: pd.DataFrame) -> dict[str, int]:
    """Return digits after the point per unit: the most that the paper prints."""
    decimals = dict(DECIMALS)
    for unit, printed in long.groupby("unit")["published_text"]:
        digits = [len(text.partition(".")[2]) for text in map(text_of, printed) if text]
        decimals[str(unit)] = max(digits, default=decimals.get(str(unit), 0))
    return decimals


def measured(long: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that have a value of ours, or all where none has."""
    found = long[long["ours"].notna()]
    return found if len(found) else long


def data_of(long: pd.DataFrame) -> str:
    """Return ``phantom``, ``subset`` or ``real``: the least real data that any cell was measured on."""
    found = set(measured(long)["data"].dropna())
    return next((kind for kind in ("phantom", "subset") if kind in found), "real")


def beside(title: str, published: bool) -> str:
    """Return a title that says whether published values stand beside ours."""
    return f"{title}: ours beside the published values" if published else title


def subject(compared: bool) -> str:
    """Return what numbers from phantoms or a subset say nothing about."""
    return "the paper" if compared else "the data set itself"


def titled(title: str, data: str) -> str:
    """Return a title that says so where the numbers below it are no reproduction."""
    return title if data == "real" else f"{title} ({data} data, no reproduction)"
