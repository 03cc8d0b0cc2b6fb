"""Uncertainty by drawing cases again: percentile intervals, and how stable a ranking is.

All functions draw the same indices for the same number of cases, so that results of several losses on the same cases
are paired. Protocol: 10,000 resamples, ``numpy.random.default_rng(0)``, indices ``integers(0, n, (10000, n))``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rareseg.evaluation.overlap import case_estimate, case_terms

RESAMPLES = 10_000
_CHUNK = 2**21  # indices held at a time, 16 MiB; rows drawn in pieces give the same stream as all at once


def resampled_totals(
    terms: np.ndarray, groups: Sequence[object] | np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Sum the terms of cases drawn with replacement.

    Args:
        terms: What each case adds, shape (cases, ...).
        groups: Group of each case; whole groups are drawn then, as many as there are.
        resamples: Number of draws.
        seed: Seed of the generator.

    Returns:
        Sums, float64, shape (resamples, ...); NaN for a single case or group, which says nothing about others.

    Raises:
        ValueError: There is not one group for each case.
    """
    terms = np.asarray(terms, dtype=np.float64)
    units = terms.reshape(len(terms), -1) if groups is None else _group_sums(terms.reshape(len(terms), -1), groups)
    generator = np.random.default_rng(seed)
    totals = np.full((resamples, units.shape[1]), np.nan)
    if len(units) < 2:
        return totals.reshape(resamples, *terms.shape[1:])
    rows = max(1, _CHUNK // len(units))
    for start in range(0, resamples, rows):
        chosen = generator.integers(0, len(units), (min(rows, resamples - start), len(units)))
        for column, unit in enumerate(units.T):
            totals[start : start + rows, column] = unit[chosen].sum(axis=1)
    return totals.reshape(resamples, *terms.shape[1:])


def percentile_interval(estimates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of resampled estimates (resamples,); undefined ones are left out."""
    defined = estimates[~np.isnan(estimates)]
    if not defined.size:
        return np.nan, np.nan
    low, high = np.percentile(defined, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def interval(
    values: np.ndarray, groups: Sequence[object] | np.ndarray | None = None, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of the mean of per-case values; give a difference for a paired interval.

    Args:
        values: Per-case values, shape (cases,), NaN where a case has none.
        groups: Group of each case, see ``resampled_totals``.
        level: Coverage aimed at.
    """
    terms = case_terms(np.asarray(values, dtype=np.float64))
    return percentile_interval(case_estimate(resampled_totals(terms, groups)), level)


def resampled_means(values: np.ndarray, groups: Sequence[object] | np.ndarray | None = None) -> np.ndarray:
    """Return the mean of every loss over the same resamples: (cases, losses) -> (resamples, losses)."""
    return case_estimate(resampled_totals(case_terms(np.asarray(values, dtype=np.float64)), groups))


def stability(values: np.ndarray, groups: Sequence[object] | np.ndarray | None = None) -> np.ndarray:
    """Rank losses by their mean in every resample (rank 1 is the highest mean; negate what is best low).

    Source: Wiesenfarth et al. 2021, challengeR, doi 10.1038/s41598-021-82017-6.

    Args:
        values: Per-case values, shape (cases, losses).
        groups: Group of each case, see ``resampled_totals``.

    Returns:
        Share of resamples, shape (losses, losses); entry (i, r) is loss i at rank r + 1, so (i, 0) is how often it
        wins. Tied losses share the better rank. Resamples in which a loss has no mean are left out; NaN if none is
        left.
    """
    means = resampled_means(values, groups)
    means = means[~np.isnan(means).any(axis=1)]
    losses = means.shape[1]
    if not len(means):
        return np.full((losses, losses), np.nan)
    better = (means[:, np.newaxis, :] > means[:, :, np.newaxis]).sum(axis=2)
    return np.stack([np.bincount(column, minlength=losses) for column in better.T]) / len(means)


def _group_sums(units: np.ndarray, groups: Sequence[object] | np.ndarray) -> np.ndarray:
    """Sum rows of the same group: (cases, terms) -> (groups, terms), groups in sorted order."""
    if len(groups) != len(units):
        raise ValueError(f"got {len(groups)} groups for {len(units)} cases; give one group per case")
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), units.shape[1]))
    np.add.at(sums, place, units)
    return sums
