"""Losses of a block, each against each and each against a reference, on the same cases.

Per-case values come as a table with the columns ``dataset, network, loss, arguments, metric, class, case,
group, value``.
A block is what shares the columns ``blocks``; its rows are told apart by the columns ``rows``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rareseg.evaluation.statistics import holm, improvement, rank_sum, signed_rank, tau_interval

BLOCKS = ("dataset", "network", "metric", "class")
ROWS = ("loss",)
PAIRS_COLUMNS = ("block", "loss_a", "loss_b", "n", "p_rank_sum", "p_signed_rank", "p_signed_rank_holm", "improvement")


def joined(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Join text columns by ``/`` into the name of a block (``isic2018/unet/jaccard/foreground``) or of a row."""
    names = ["/".join(row) for row in frame[list(columns)].itertuples(index=False)]
    return pd.Series(names, index=frame.index, dtype=object)


def pairs(values: pd.DataFrame, *, rows: Sequence[str] = ROWS, blocks: Sequence[str] = BLOCKS) -> pd.DataFrame:
    """Compare every two losses of each block.

    Args:
        values: Per-case values, see the module.
        rows: Columns that name a row of a block.
        blocks: Columns that name a block.

    Returns:
        One row per pair: block, loss_a, loss_b, n (cases that both have), p_rank_sum, p_signed_rank,
        p_signed_rank_holm (over all pairs of the block), improvement (probability that loss_a is above loss_b).
    """
    parts = [_block_pairs(name, wide) for name, wide, _ in _blocks(values, rows, blocks)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(PAIRS_COLUMNS))


def against_reference(
    values: pd.DataFrame, reference: str, *, rows: Sequence[str] = ROWS, blocks: Sequence[str] = BLOCKS
) -> pd.DataFrame:
    """Test every loss of each block against the reference by the signed-rank test, with Holm's adjustment per block.

    Args:
        values: Per-case values, see the module.
        reference: Value of one of the ``rows`` columns, such as ``adaptive_log``; blocks in which not exactly one row
            has it are left out.
        rows: Columns that name a row of a block.
        blocks: Columns that name a block.

    Returns:
        Columns block, row, p_raw, p_adjusted; the reference itself has none.
    """
    parts = [pd.DataFrame(columns=["block", "row", "p_raw", "p_adjusted"])]
    for name, wide, _ in _blocks(values, rows, blocks):
        named = [row for row in wide if reference == row or reference in str(row).split("/")]
        if len(named) != 1:
            continue
        others = [row for row in wide if row != named[0]]
        p = np.array([signed_rank(wide[row].to_numpy(), wide[named[0]].to_numpy()).p for row in others])
        parts.append(pd.DataFrame({"block": name, "row": others, "p_raw": p, "p_adjusted": holm(p)}))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def order_intervals(
    values: pd.DataFrame, table: pd.DataFrame, *, rows: Sequence[str] = ROWS, blocks: Sequence[str] = BLOCKS
) -> dict[str, tuple[float, float]]:
    """Return the bootstrap interval of Kendall's tau of every block, our order with the published one.

    Args:
        values: Per-case values, see the module.
        table: ``table_long``; rows without a published value are left out.
        rows: Columns that name a row of a block.
        blocks: Columns that name a block.
    """
    published = table["published"].set_axis([joined(table, blocks), joined(table, rows)]).dropna()
    found = {}
    for name, wide, groups in _blocks(values, rows, blocks):
        known = [row for row in wide if (name, row) in published.index]
        references = published.loc[[(name, row) for row in known]].to_numpy(dtype=float)
        found[name] = tau_interval(wide[known].to_numpy(), references, groups.to_numpy())
    return found


def _blocks(
    values: pd.DataFrame, rows: Sequence[str], blocks: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    """Yield each block's name, its per-case values, one line per case and one column per row, and the cases' groups."""
    values = values.assign(row=joined(values, rows), block=joined(values, blocks))
    for name, block in values.groupby("block", sort=False):
        wide = block.pivot(index="case", columns="row", values="value")
        groups = block.drop_duplicates("case").set_index("case")["group"]
        yield str(name), wide[block["row"].unique()], groups[wide.index]


def _block_pairs(block: str, wide: pd.DataFrame) -> pd.DataFrame:
    """Compare every two columns of per-case values."""
    compared = []
    for a, b in itertools.combinations(wide, 2):
        x, y = wide[a].to_numpy(), wide[b].to_numpy()
        paired = signed_rank(x, y)
        compared.append((block, a, b, paired.n, rank_sum(x, y).p, paired.p, np.nan, improvement(x, y)))
    frame = pd.DataFrame(compared, columns=list(PAIRS_COLUMNS))
    return frame.assign(p_signed_rank_holm=holm(frame["p_signed_rank"].to_numpy(dtype=float)))
