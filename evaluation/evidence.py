"""What claims are judged by: values, tests, sweeps and histories of any number of tables, looked up by name.

Every look-up either answers or raises ``MissingError`` with a sentence that says what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rareseg.evaluation.confusion import FOREGROUND
from rareseg.evaluation.overlap import canonical
from rareseg.evaluation.published import arguments

REACHED = 0.95
"""Share of the last Jaccard from which on a network counts as having reached its level."""


class MissingError(LookupError):
    """What a claim needs and is not there, as a sentence."""


class Block(NamedTuple):
    """Where values are compared; ``name`` is the class."""

    dataset: str
    network: str
    metric: str
    name: str = FOREGROUND

    @classmethod
    def of(cls, text: str) -> Block:
        """Read ``drive/unet/dsc/foreground``, as in the column ``block`` of ``pairs`` and ``sweep``."""
        dataset, network, metric, name = (text.split("/") + [""] * 4)[:4]
        return cls(dataset, network, canonical(metric), name)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What claims are judged by.

    Attributes:
        long: Rows of ``table_long`` of any number of tables: table, dataset, network, loss, arguments, metric, class,
            ours, data.
        pairs: Rows of ``pairs`` of the same tables.
        sweep: Rows of ``sweep`` of the same tables.
        histories: Rows of ``history.csv`` of all runs (epoch, jaccard, val_jaccard) with dataset, network, loss, seed.
        name: Turns a key such as ``adaptive_log`` into what is printed.
    """

    long: pd.DataFrame
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    sweep: pd.DataFrame = field(default_factory=pd.DataFrame)
    histories: pd.DataFrame = field(default_factory=pd.DataFrame)
    name: Callable[[str], str] = str

    def value(self, block: Block, loss: str, tables: Collection[str]) -> float:
        """Return our value of a loss in a block of the given tables."""
        found = [row for row in self._rows if row["table"] in tables and row["loss"] == loss and _at(row) == block]
        return self._real(found, f"{self.name(loss)} on {self.where(block)}")

    def values(self, block: Block, losses: Sequence[str], tables: Collection[str]) -> dict[str, float]:
        """Return our value of each loss in a block of the given tables."""
        return {loss: self.value(block, loss, tables) for loss in losses}

    def swept(self, table: str, metric: str) -> dict[str, float]:
        """Return our value of every row of a table, by the arguments of its loss."""
        rows = [row for row in self._rows if row["table"] == table and canonical(row["metric"]) == metric]
        found = {row["arguments"]: row for row in rows}
        if not found:
            raise MissingError(f"{table} has not been run")
        return {text: self._real([row], f"{text} in {table}") for text, row in found.items()}

    def p(self, block: Block, first: str, second: str) -> float:
        """Return the rank-sum p between two losses of a block."""
        for row in self.pairs.to_dict("records"):
            found = {row["loss_a"], row["loss_b"]} == {first, second} and Block.of(row["block"]) == block
            if found and pd.notna(row["p_rank_sum"]):
                return float(row["p_rank_sum"])
        raise MissingError(f"no test of {self.name(first)} against {self.name(second)} on {self.where(block)}")

    def over_gamma(self, block: Block, loss: str, gammas: Sequence[float]) -> list[float]:
        """Return our value of a loss for each gamma; whether it is real says the row of the table."""
        self.value(block, loss, self._tables)
        found = {
            arguments(row["arguments"]).get("gamma"): row["ours"]
            for row in self.sweep.to_dict("records")
            if row["loss"] == loss and Block.of(row["block"]) == block
        }
        lost = [gamma for gamma in gammas if pd.isna(found.get(gamma))]
        if lost:
            raise MissingError(f"no value of {self.name(loss)} with gamma={lost[0]:g} on {self.where(block)}")
        return [float(found[gamma]) for gamma in gammas]

    def reached(self, block: Block, loss: str) -> float:
        """Return the first epoch with 95% of the last Jaccard, of validation where there is any; median over seeds."""
        keys = {"dataset": block.dataset, "network": block.network, "loss": loss}
        self.value(block, loss, self._tables)
        runs = self.histories
        for key, wanted in keys.items():
            runs = runs[runs[key] == wanted] if len(runs) else runs
        if not len(runs):
            raise MissingError(f"no history of {self.name(loss)} on {self.where(block)}")
        return float(np.median([_first_epoch(run) for _, run in runs.groupby("seed")]))

    def where(self, block: Block) -> str:
        """Return how a block is printed: data set, network, and class where there are several."""
        shown = (block.dataset, block.network, *([block.name] if block.name != FOREGROUND else []))
        return ", ".join(map(self.name, shown))

    @cached_property
    def _rows(self) -> list[dict[Any, Any]]:
        return self.long.to_dict("records")

    @property
    def _tables(self) -> set[str]:
        return {row["table"] for row in self._rows}

    def _real(self, rows: Sequence[dict[Any, Any]], what: str) -> float:
        """Return the value of a row that was measured on real data."""
        measured = [row for row in rows if not pd.isna(row["ours"])]
        if not measured:
            raise MissingError(f"no finished run of {what}")
        if measured[0]["data"] != "real":
            raise MissingError(f"{what} was measured on {measured[0]['data']} data")
        return float(measured[0]["ours"])


def _at(row: dict[Any, Any]) -> Block:
    return Block(row["dataset"], row["network"], canonical(row["metric"]), row["class"])


def _first_epoch(run: pd.DataFrame) -> int:
    """Return the first epoch with ``REACHED`` of the last Jaccard."""
    run = run.sort_values("epoch")
    values = run["val_jaccard"] if run["val_jaccard"].notna().any() else run["jaccard"]
    return int(run["epoch"][values >= REACHED * values.dropna().iloc[-1]].iloc[0])
