"""Ours against published: a word for each cell, each block, and the whole table.

Pure functions of the rows of ``table_long.csv`` and ``pairs.csv``: the same files give the same words. Values are
fractions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from rareseg.evaluation.pairing import BLOCKS, ROWS, joined
from rareseg.evaluation.published import half_unit
from rareseg.evaluation.statistics import LEVEL, Order, kendall, spearman

MARGIN = 0.02
AGREEING = ("match", "overlap", "close")
COMPARABLE = (*AGREEING, "higher", "lower")
FLAGS = ("jaccard_above_recall", "jaccard_below_bound", "specificity_implausible")

_FEWEST_CASES = 10
_WIDEST_HALF = 0.10
_SHORTEST_ORDER = 4  # losses; three come in the published order by chance in one case of six
_ROUNDING = 1e-9  # of sums of decimal fractions; far below half a unit of any printed digit


class TableVerdict(NamedTuple):
    """Verdict of a table and the numbers of cells and blocks behind it.

    Attributes:
        verdict: ``undecided``, ``reproduced``, ``partly reproduced`` or ``not reproduced``.
        cells: All cells of the table.
        references: Cells with a published value.
        comparable: Cells that agree or are higher or lower.
        agreeing: Cells with verdict match, overlap or close.
        decided: Blocks whose winner is same, tied or different.
        won: Blocks whose winner is same or tied.
        opposed: Blocks whose order is opposed.
    """

    verdict: str
    cells: int
    references: int
    comparable: int
    agreeing: int
    decided: int
    won: int
    opposed: int


def cell_verdict(row: Mapping[Hashable, Any], margin: float = MARGIN) -> str:
    """Return the verdict of one cell: the first rule that applies.

    Args:
        row: A row of ``table_long``. ``run`` names what was tried; ``cases`` is missing unless something finished.
        margin: Difference up to which a cell is ``close``.
    """
    ours, low, high = row["ours"], row["low"], row["high"]
    published, uncertainty = row["published"], row["published_uncertainty"]
    unfinished = bool(pd.isna(row["cases"]))
    cases = 0 if unfinished else row["cases"]
    digit = half_unit(row["published_text"], row["unit"]) + _ROUNDING
    rules = (
        ("no_reference", pd.isna(published)),
        ("failed", unfinished and row["run"] != ""),
        ("not_run", unfinished),
        ("not_real", row["data"] != "real"),
        ("other_protocol", row["protocol"] != "paper"),
        ("flagged", is_flagged(row["note"])),
        # Written so that an interval that could not be computed is imprecise too.
        ("imprecise", cases < _FEWEST_CASES or not (high - low) / 2 <= _WIDEST_HALF + _ROUNDING),
        ("match", low - digit <= published <= high + digit),
        ("overlap", published - uncertainty <= high + _ROUNDING and low - _ROUNDING <= published + uncertainty),
        ("close", abs(ours - published) <= margin + _ROUNDING),
        ("higher", ours > published),
    )
    return next((name for name, applies in rules if applies), "lower")


def is_flagged(note: str) -> bool:
    """Return whether a note marks its printed cell as impossible or implausible."""
    return any(f"flag={flag}" in note for flag in FLAGS)


def block_verdicts(
    table: pd.DataFrame, pairs: pd.DataFrame, *, rows: Sequence[str] = ROWS, blocks: Sequence[str] = BLOCKS
) -> pd.DataFrame:
    """Judge winner and order of every block.

    Args:
        table: ``table_long``.
        pairs: ``pairs`` of the same runs, for the tests between our best loss and the published best.
        rows: Columns that name a row of a block, usually the loss.
        blocks: Columns that name a block.

    Returns:
        One row per block: block, best, published_best (several joined by ``;``), winner (``same``, ``tied``,
        ``different``, ``undecided``; ``none`` for a block of one row), order (``agrees``, ``opposed``, ``unclear``,
        ``undecided``), tau, p_agrees, p_opposed, spearman.
    """
    judged = []
    for _, block in table.groupby(list(blocks), sort=False):
        names = joined(block, rows)
        ours, published = _usable(block).to_numpy(dtype=float).T
        tau = kendall(ours, published)
        judged.append(
            {
                "block": joined(block, blocks).iloc[0],
                "best": ";".join(names[block["rank"] == 1]),
                "published_best": ";".join(names[block["published_rank"] == 1]),
                "winner": winner(block, pairs, rows=rows, blocks=blocks),
                "order": _order(tau, len(ours)),
                **tau._asdict(),
                "spearman": spearman(ours, published),
            }
        )
    return pd.DataFrame(judged)


def winner(
    block: pd.DataFrame, pairs: pd.DataFrame, *, rows: Sequence[str] = ROWS, blocks: Sequence[str] = BLOCKS
) -> str:
    """Say whether our best loss of a block is the published best; arguments as ``block_verdicts``, one block.

    It is ``undecided`` where a row lacks a value or no test between the two is known.
    """
    if len(block) < 2:
        return "none"
    if len(_usable(block)) < len(block):
        return "undecided"
    names = joined(block, rows)
    ours, published = set(names[block["rank"] == 1]), set(names[block["published_rank"] == 1])
    if ours & published:
        return "same"
    pairs = pairs[pairs["block"] == joined(block, blocks).iloc[0]]
    between = [
        p
        for a, b, p in zip(pairs["loss_a"], pairs["loss_b"], pairs["p_signed_rank_holm"], strict=True)
        if pd.notna(p) and ((a in ours and b in published) or (b in ours and a in published))
    ]
    if not between:
        return "undecided"
    return "tied" if any(p >= LEVEL for p in between) else "different"


def table_verdict(table: pd.DataFrame, judged: pd.DataFrame) -> TableVerdict:
    """Return the verdict of a table: the first rule that applies.

    Args:
        table: ``table_long``.
        judged: The ``block_verdicts`` of it.
    """
    referenced = table[table["published"].notna()]
    unflagged = referenced[~referenced["note"].map(is_flagged).astype(bool)]
    comparable = int(table["verdict"].isin(COMPARABLE).sum())
    agreeing = int(table["verdict"].isin(AGREEING).sum())
    won = int(judged["winner"].isin(("same", "tied")).sum())
    decided = won + int((judged["winner"] == "different").sum())
    opposed = int((judged["order"] == "opposed").sum())
    if 2 * len(referenced) < len(table) or 2 * comparable < len(unflagged) or comparable == 0:
        verdict = "undecided"
    elif 5 * agreeing >= 4 * comparable and 2 * won >= decided and not opposed:
        verdict = "reproduced"
    elif 2 * agreeing >= comparable or (decided and 3 * won >= 2 * decided and not opposed):
        verdict = "partly reproduced"
    else:
        verdict = "not reproduced"
    return TableVerdict(verdict, len(table), len(referenced), comparable, agreeing, decided, won, opposed)


def _order(tau: Order, losses: int) -> str:
    """Say whether so many losses come in the published order, by Kendall's tau-b and its one-sided exact p."""
    if losses < _SHORTEST_ORDER:
        return "undecided"
    if tau.p_agrees < LEVEL:
        return "agrees"
    return "opposed" if tau.p_opposed < LEVEL else "unclear"


def _usable(block: pd.DataFrame) -> pd.DataFrame:
    """Return ours and published of the rows that have both, measured on real data."""
    return block.loc[block["data"] == "real", ["ours", "published"]].dropna()
