"""Which of several choices of a loss's arguments becomes its row of a table."""

from __future__ import annotations

import math

import pandas as pd

from rareseg.evaluation.overlap import mean_of_defined
from rareseg.evaluation.published import arguments

_LOSS = ("dataset", "network", "loss")


def choose(points: pd.DataFrame, values: pd.DataFrame, only: float | None = None) -> pd.DataFrame:
    """Keep one choice of arguments per data set, network and loss: the one with the best mean.

    Ties go to the smaller argument. Where nothing is finished, the smallest stands for the loss.

    Args:
        points: One row per grid point: dataset, network, loss, arguments such as ``gamma=0.5``; more columns are kept.
        values: Per-case values of one metric, higher is better, as ``case_values`` returns them: of validation cases,
            or of test cases for what could at best have been reached.
        only: Take the choice with this number as argument instead, whatever the values are.

    Returns:
        The rows of ``points`` that were chosen, in their order.

    Raises:
        ValueError: Not exactly one choice of a loss has the number ``only``.
    """
    means = {
        key: float(mean_of_defined(group["value"].to_numpy(dtype=float)))
        for key, group in values.groupby([*_LOSS, "arguments"], sort=False)
    }
    kept = []
    for key, choices in points.groupby(list(_LOSS), sort=False):
        texts = list(choices["arguments"].unique())
        if only is not None and len(texts) > 1:
            chosen = _equal(texts, only, "/".join(map(str, key)))
        else:
            chosen = min(texts, key=lambda text: (-_known(means.get((*key, text))), _numbers(text)))
        kept += list(choices.index[choices["arguments"] == chosen])
    return points.loc[sorted(kept, key=points.index.get_loc)]


def _equal(texts: list[str], only: float, where: str) -> str:
    found = [text for text in texts if only in arguments(text).values()]
    if len(found) != 1:
        raise ValueError(f"{where}: no one choice of arguments has the number {only:g}, there are {', '.join(texts)}")
    return found[0]


def _known(mean: float | None) -> float:
    return -math.inf if mean is None or math.isnan(mean) else mean


def _numbers(text: str) -> list[float]:
    return [value for value in arguments(text).values() if isinstance(value, float)]
