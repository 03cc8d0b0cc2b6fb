"""What a table says, in sentences that name test, number of cases, effect and p (after autorank, Herbold 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rareseg.evaluation.overlap import canonical
from rareseg.evaluation.pairing import BLOCKS, ROWS, joined
from rareseg.evaluation.statistics import FEWEST_BLOCKS, FEWEST_LOSSES, LEVEL, Friedman, friedman
from rareseg.evaluation.surface import DISTANCES


def across_blocks(
    table: pd.DataFrame, metric: str, *, rows: Sequence[str] = ROWS, blocks: Sequence[str] = BLOCKS
) -> tuple[list[str], Friedman | None, str]:
    """Compare the rows of a table over all blocks of one metric by Friedman's test.

    Args:
        table: ``table_long``.
        metric: The metric that is looked at; ``f1`` is ``dsc``.
        rows: Columns that name a row of a block.
        blocks: Columns that name a block.

    Returns:
        The names of the rows; the test, None where there are too few of them or of complete blocks; and a sentence.
    """
    table = table[table["metric"].map(canonical) == canonical(metric)]
    named = table.assign(row=joined(table, rows), block=joined(table, blocks))
    wide = named.pivot(index="block", columns="row", values="ours")
    names = [str(name) for name in named["row"].unique()]
    complete = wide[names].dropna()
    if len(names) < FEWEST_LOSSES or len(complete) < FEWEST_BLOCKS:
        return (
            names,
            None,
            (
                f"Friedman's test over blocks needs {FEWEST_LOSSES} losses and {FEWEST_BLOCKS} complete blocks; "
                f"there are {len(names)} and {len(complete)}."
            ),
        )
    found = friedman(complete.to_numpy() * (-1 if metric in DISTANCES else 1))
    # F is infinite where all blocks have the same order, and then says no more than chi-square.
    f = f" and Iman and Davenport's form F {found.f:.2f} (p {_p(found.f_p)})" if math.isfinite(found.f) else ""
    return (
        names,
        found,
        (
            f"Over {found.blocks} blocks, Friedman's test gives chi-square {found.chi2:.2f} (p {_p(found.chi2_p)}){f}; "
            f"mean ranks further apart than {found.critical_difference:.2f} differ at the {100 * LEVEL:g} % level "
            "(Nemenyi). Blocks that share a data set are not independent, so these p are too small."
        ),
    )


def within_blocks(
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    metric: str,
    name: Callable[[str], str] = str,
    *,
    rows: Sequence[str] = ROWS,
    blocks: Sequence[str] = BLOCKS,
) -> list[str]:
    """Say of each block which row is best and how it compares with the next; blocks of one row are left out.

    Args:
        table: ``table_long``.
        pairs: ``pairs`` of the same runs.
        metric: The metric that is looked at; ``f1`` is ``dsc``.
        name: Turns a key into what is printed.
        rows: Columns that name a row of a block.
        blocks: Columns that name a block.
    """
    table = table[table["metric"].map(canonical) == canonical(metric)]
    sentences = []
    for _, block in table.groupby(list(blocks), sort=False):
        ranked = block.assign(row=joined(block, rows)).dropna(subset=["ours"]).sort_values("rank", kind="stable")
        if len(ranked) > 1:
            keys = [key for key in ("dataset", "network", "loss", "class") if key in blocks]
            parts = [str(block[key].iloc[0]) for key in keys]
            where = ", ".join(name(part) for part in parts if part != "foreground")  # of two classes it goes unsaid
            tests = pairs[pairs["block"] == joined(block, blocks).iloc[0]]
            sentences.append(f"{where}: {_best(ranked.to_dict('records'), tests, name)}")
    return sentences


def _best(ranked: list[dict[Any, Any]], tests: pd.DataFrame, name: Callable[[str], str]) -> str:
    first, second = ranked[:2]
    shown = [", ".join(map(name, str(row["row"]).split("/"))) for row in (first, second)]
    sentence = (
        f"over {first['cases']} cases {shown[0]} has the best {name(first['metric'])}, {_value(first)}, "
        f"and {shown[1]} the next, {_value(second)}"
    )
    test = _between(tests, first["row"], second["row"])
    if test is None or pd.isna(test["p_signed_rank_holm"]):
        return f"{sentence}."
    p, better = test["p_signed_rank_holm"], test["improvement"]
    # The probability is that loss_a is above loss_b; of distances the lower is better.
    better = better if (test["loss_a"] == first["row"]) != (first["metric"] in DISTANCES) else 1 - better
    said = "no difference beyond chance" if p >= LEVEL else "a difference"
    return (
        f"{sentence}: {said} by the signed-rank test (p {_p(p)} after Holm over {len(tests)} pairs); on a random case "
        f"the first is better than the second with probability {better:.2f}."
    )


def _between(tests: pd.DataFrame, first: str, second: str) -> dict[Any, Any] | None:
    found = [row for row in tests.to_dict("records") if {row["loss_a"], row["loss_b"]} == {first, second}]
    return found[0] if found else None


def _value(row: dict[Any, Any]) -> str:
    interval = "" if np.isnan(row["low"]) else f" [{row['low']:.4f}, {row['high']:.4f}]"
    return f"{row['ours']:.4f}{interval}"


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 1e-4"
