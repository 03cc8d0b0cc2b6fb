"""Label maps -> counts -> metrics -> statistics -> verdicts. Arrays and tables in, arrays and tables out; no files.

In the order in which data passes: ``confusion`` (pixels to counts), ``scores`` (AUC, ROC), ``overlap`` (counts to
metrics), ``batchwise`` (metrics of batches), ``surface`` (distances), ``bootstrap`` and ``statistics`` (intervals,
tests, orders), ``tables`` (many runs to one table), ``sweeps`` (which arguments), ``pairing`` (loss against loss),
``published`` (printed cells), ``comparison`` and ``verdict`` (ours against published), ``claims`` (the papers'
sentences) and ``evidence`` (what they are judged by), ``conclusions`` (ours). ``baselines`` does without a network.
Start reading at ``tables.table_long``.
"""

from __future__ import annotations

import importlib
from typing import Any

from rareseg.evaluation.baselines import best_otsu, best_threshold, otsu
from rareseg.evaluation.batchwise import batch_metrics
from rareseg.evaluation.bootstrap import interval, resampled_means, resampled_totals, stability
from rareseg.evaluation.confusion import COUNTS, FOREGROUND, HEC, MEAN, counts
from rareseg.evaluation.overlap import METRICS, aggregate, mean_of_defined, metrics
from rareseg.evaluation.scores import auc, pooled_auc, pooled_auc_error, roc_points, score_histogram
from rareseg.evaluation.surface import DISTANCES, surface_distances

_LATER = {  # SciPy and pandas take seconds to import and the command line must answer within two
    "_points": ("collect",),
    "statistics": (
        *("friedman", "holm", "improvement", "kendall", "marker", "rank_sum", "signed_rank", "spearman"),
        "tau_interval",
    ),
    "pairing": ("against_reference", "order_intervals", "pairs"),
    "comparison": ("compare",),
    "evidence": ("Evidence",),
    "published": ("published_rows",),
    "claims": ("CLAIMS", "judge", "printed"),
    "verdict": ("block_verdicts", "cell_verdict", "table_verdict", "winner"),
    "tables": (
        *("TABLE_COLUMNS", "TableSettings", "case_values", "expected_cells", "from_csv", "sweep", "table_long"),
        "to_csv",
    ),
    "sweeps": ("choose",),
    "conclusions": ("across_blocks", "within_blocks"),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = [  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]
    "COUNTS",
    "DISTANCES",
    "FOREGROUND",
    "HEC",
    "MEAN",
    "METRICS",
    "aggregate",
    "auc",
    "batch_metrics",
    "best_otsu",
    "best_threshold",
    "counts",
    "interval",
    "mean_of_defined",
    "metrics",
    "otsu",
    "pooled_auc",
    "pooled_auc_error",
    "resampled_means",
    "resampled_totals",
    "roc_points",
    "score_histogram",
    "stability",
    "surface_distances",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    """Import the module of a name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the later names too."""
    return sorted({*globals(), *__all__})
