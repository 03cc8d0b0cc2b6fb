"""Tests between losses on the same cases, across blocks, and between our order and the published one.

Everything works on per-case values; cases without a value (NaN) are left out pairwise. Imports SciPy, which takes
seconds: ``rareseg.evaluation`` loads this module when one of its functions is first asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from rareseg.evaluation.bootstrap import percentile_interval, resampled_means

LEVEL = 0.05
"""Below this p a difference counts as one."""
FEWEST_LOSSES, FEWEST_BLOCKS = 3, 5
"""From which on Friedman's test is made."""
MARKERS = ((0.001, "***"), (0.01, "**"), (LEVEL, "*"))
_ALL_SIGNS = 13  # cases up to which SciPy tries all signs too
_ALL_PERMUTATIONS = 8  # losses up to which every order is tried; 9! orders of 36 pairs would take a gigabyte
_RANDOM_PERMUTATIONS = 9_999
_ROUNDING = 1e-9  # of chi-square; one block that differs takes far more from it


class PairTest(NamedTuple):
    """Statistic and two-sided p of a test, and the number of cases that both losses have a value for."""

    statistic: float
    p: float
    n: int


class Friedman(NamedTuple):
    """Losses compared across blocks.

    Attributes:
        blocks: Number of complete blocks.
        mean_ranks: Mean rank of each loss, 1 is best, shape (losses,).
        chi2: Friedman's chi-square with ``losses - 1`` degrees of freedom, corrected for ties, and its p.
        f: Iman and Davenport's F with ``losses - 1`` and ``(losses - 1)(blocks - 1)`` degrees of freedom, and its p.
        critical_difference: Nemenyi: mean ranks further apart than this differ at the 5% level.
    """

    blocks: int
    mean_ranks: np.ndarray
    chi2: float
    chi2_p: float
    f: float
    f_p: float
    critical_difference: float


class Order(NamedTuple):
    """Kendall's tau-b of two lists of values with one-sided p: of a tau as high, and of one as low, by chance."""

    tau: float
    p_agrees: float
    p_opposed: float


def _pairwise(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the cases that both have."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"per-case values must be two lists over the same cases, got shapes {x.shape} and {y.shape}")
    both = ~(np.isnan(x) | np.isnan(y))
    return x[both], y[both]


def rank_sum(x: np.ndarray, y: np.ndarray) -> PairTest:
    """Wilcoxon's rank-sum test (normal approximation), as Yeung et al. 2022 use it; blind to the pairing of cases.

    Args:
        x: Per-case values of one loss, shape (cases,).
        y: Per-case values of the other on the same cases.

    Raises:
        ValueError: The two are not lists of one length.
    """
    x, y = _pairwise(x, y)
    if not x.size:
        return PairTest(math.nan, math.nan, 0)
    result = stats.ranksums(x, y)
    return PairTest(float(result.statistic), float(result.pvalue), x.size)


def signed_rank(x: np.ndarray, y: np.ndarray) -> PairTest:
    """Wilcoxon's signed-rank test of paired cases; p is 1 where all differences are 0. Arguments as ``rank_sum``.

    As ``scipy.stats.wilcoxon``: exact up to 13 cases, and up to 50 without ties; beyond, a normal approximation.
    """
    x, y = _pairwise(x, y)
    if not x.size:
        return PairTest(math.nan, math.nan, 0)
    if np.array_equal(x, y):
        return PairTest(0.0, 1.0, x.size)
    if x.size <= _ALL_SIGNS:
        return PairTest(*_exact_signed_rank(x - y), x.size)
    result = stats.wilcoxon(x, y)
    return PairTest(float(result.statistic), float(result.pvalue), x.size)


def _exact_signed_rank(differences: np.ndarray) -> tuple[float, float]:
    """Return statistic and p by trying all signs; SciPy takes seconds for the same where differences are tied."""
    differences = differences[differences != 0]
    ranks = stats.rankdata(np.abs(differences))
    signs = np.arange(2**ranks.size)[:, np.newaxis] >> np.arange(ranks.size) & 1
    sums, observed = signs @ ranks, (differences > 0) @ ranks
    p = 2 * min(np.mean(sums <= observed), np.mean(sums >= observed))
    return float(min(observed, ranks.sum() - observed)), float(min(p, 1))


def improvement(x: np.ndarray, reference: np.ndarray) -> float:
    """Return the share of cases in which ``x`` is above ``reference``, ties half. Arguments as ``rank_sum``.

    Source: Agarwal et al. 2021, rliable, arXiv 2108.13264 (there over runs, here over cases).
    """
    x, reference = _pairwise(x, reference)
    return float(np.mean((x > reference) + 0.5 * (x == reference))) if x.size else math.nan


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjust p-values of one family by Holm's step-down method; NaN stays and does not count as a comparison."""
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def marker(p: float) -> str:
    """Return ``***``, ``**`` or ``*`` for an adjusted p below 0.001, 0.01, 0.05, else nothing."""
    return next((text for limit, text in MARKERS if p < limit), "")


def friedman(table: np.ndarray) -> Friedman:
    """Compare losses over blocks by their ranks; blocks with a missing value are left out.

    Source: Demsar 2006, JMLR 7, sections 3.2.2 and 3.2.3. Blocks that share a data set are not independent.

    Args:
        table: One value per block and loss, higher is better, shape (blocks, losses).

    Raises:
        ValueError: There are fewer than 3 losses or 5 complete blocks.
    """
    table = np.asarray(table, dtype=np.float64)
    table = table[~np.isnan(table).any(axis=1)]
    n, k = table.shape
    if k < FEWEST_LOSSES or n < FEWEST_BLOCKS:
        raise ValueError(
            f"a Friedman test needs at least {FEWEST_LOSSES} losses and {FEWEST_BLOCKS} complete blocks, "
            f"got {k} and {n}"
        )
    mean_ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    if np.ptp(table, axis=1).max() == 0:
        chi2, chi2_p = 0.0, 1.0
    else:
        chi2, chi2_p = (float(value) for value in stats.friedmanchisquare(*table.T))
    greatest = n * (k - 1)  # which chi-square has, but for rounding, where every block has the same order
    room = greatest - chi2
    f = (n - 1) * chi2 / room if room > _ROUNDING * greatest else math.inf
    f_p = float(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))
    q = float(stats.studentized_range.ppf(1 - LEVEL, k, np.inf)) / math.sqrt(2)
    return Friedman(n, mean_ranks, chi2, chi2_p, f, f_p, q * math.sqrt(k * (k + 1) / (6 * n)))


def _signs(values: np.ndarray) -> np.ndarray:
    """Return the order of every pair: (..., n) -> (..., n (n - 1) / 2), values -1, 0, 1."""
    first, second = np.triu_indices(values.shape[-1], k=1)
    return np.sign(values[..., first] - values[..., second])


def _tau(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return tau-b along the last axis; NaN where one side is constant."""
    signs_x, signs_y = _signs(x), _signs(y)
    scale = np.sqrt(np.sum(signs_x**2, axis=-1) * np.sum(signs_y**2, axis=-1))
    agreement = np.sum(signs_x * signs_y, axis=-1)
    return np.divide(agreement, scale, out=np.full(np.shape(scale), np.nan), where=scale > 0)


def kendall(x: np.ndarray, y: np.ndarray) -> Order:
    """Compare two orders of the same losses by tau-b, with p from permutations.

    Exact over all permutations up to 8 losses, else from 9,999 random ones (``default_rng(0)``).

    Args:
        x: One value per loss, shape (losses,).
        y: The other value per loss; losses that lack one are left out.
    """
    x, y = _pairwise(x, y)
    if x.size < 2:
        return Order(math.nan, math.nan, math.nan)
    if x.size <= _ALL_PERMUTATIONS:
        permuted = y[np.array(list(itertools.permutations(range(y.size))))]
    else:
        permuted = np.random.default_rng(0).permuted(np.tile(y, (_RANDOM_PERMUTATIONS, 1)), axis=1)
        permuted = np.concatenate([y[np.newaxis], permuted])
    # Ties stay ties under a permutation, so that the integer numerator of tau decides and nothing is rounded.
    agreement = _signs(permuted) @ _signs(x)
    observed = _signs(y) @ _signs(x)
    tau = float(_tau(x, y))
    if math.isnan(tau):
        return Order(math.nan, math.nan, math.nan)
    return Order(tau, float(np.mean(agreement >= observed)), float(np.mean(agreement <= observed)))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rank correlation, NaN where one side is constant. Arguments as ``kendall``."""
    x, y = (stats.rankdata(values) for values in _pairwise(x, y))
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def tau_interval(
    values: np.ndarray, published: np.ndarray, groups: Sequence[object] | np.ndarray | None = None
) -> tuple[float, float]:
    """Return the bootstrap interval of tau by drawing our cases again.

    Args:
        values: Our per-case values, shape (cases, losses).
        published: Published value of each loss, shape (losses,).
        groups: Group of each case, see ``bootstrap.resampled_totals``.
    """
    means = resampled_means(values, groups)
    return percentile_interval(_tau(means, np.broadcast_to(published, means.shape)))
