"""Tests between losses, against worked numbers, brute force, and independent libraries."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.evaluation import (
    friedman,
    holm,
    improvement,
    kendall,
    marker,
    rank_sum,
    signed_rank,
    spearman,
    tau_interval,
)

X = np.array([0.80, 0.82, 0.78, 0.90, 0.71, 0.65, 0.88, 0.93])
Y = np.array([0.779, 0.832, 0.737, 0.862, 0.699, 0.598, 0.813, 0.900])

# Jaccard of Table 3 of Kaul et al., order jaccard, dice, tversky, focal, combo, adaptive_log.
TABLE3 = {
    "isic unet": (72.96, 69.34, 74.18, 79.17, 75.87, 77.69),
    "isic focusnet": (72.28, 71.92, 77.63, 82.78, 78.63, 82.84),
    "dsb unet": (73.64, 64.57, 77.72, 78.82, 78.24, 79.71),
    "dsb focusnet": (74.97, 77.82, 77.28, 78.73, 79.35, 81.37),
    "drive unet": (65.37, 67.79, 66.18, 68.96, 67.42, 69.23),
    "drive focusnet": (64.67, 64.71, 68.66, 69.57, 68.34, 70.96),
}


def test_s1_friedman_over_the_six_blocks():
    found = friedman(np.array([*TABLE3.values(), (np.nan, 1, 2, 3, 4, 5)]))
    assert found.blocks == 6
    np.testing.assert_allclose(found.mean_ranks, [5.5, 5, 4.166667, 2, 3.166667, 1.166667], atol=1e-6)
    assert found.chi2 == pytest.approx(24.857143, abs=1e-6)
    assert found.chi2_p == pytest.approx(1.484673e-4, rel=1e-6)
    assert found.f == pytest.approx(24.166667, abs=1e-6)
    assert found.f_p == pytest.approx(7.8907e-9, rel=1e-4)
    assert found.critical_difference == pytest.approx(3.078034, abs=1e-6)


def test_friedman_at_its_limits():
    for losses, blocks in ((3, 5), (6, 7)):  # of the second, chi-square is a rounding below its greatest
        same_order = friedman(np.tile(np.arange(losses, dtype=float), (blocks, 1)))
        assert (same_order.f, same_order.f_p) == (math.inf, 0)
    one_swap = np.tile(np.arange(6.0), (200, 1))
    one_swap[0, :2] = 1, 0
    assert math.isfinite(friedman(one_swap).f)
    all_tied = friedman(np.ones((5, 3)))
    assert (all_tied.chi2, all_tied.chi2_p, all_tied.f_p) == (0, 1, 1)
    with pytest.raises(ValueError, match="at least 3 losses and 5 complete blocks, got 6 and 4"):
        friedman(np.array([*TABLE3.values()])[:4])


@pytest.mark.parametrize(
    ("dataset", "tau", "rho"),
    [("isic", 0.866667, 0.942857), ("dsb", 0.6, 0.771429), ("drive", 0.6, 0.771429)],
)
def test_s2_order_of_two_networks(dataset, tau, rho):
    unet, focusnet = (np.array(TABLE3[f"{dataset} {network}"]) for network in ("unet", "focusnet"))
    assert kendall(unet, focusnet).tau == pytest.approx(tau, abs=1e-6)
    assert spearman(unet, focusnet) == pytest.approx(rho, abs=1e-6)


BY_SWAPS = [  # order against 1 2 3 4 5 6, tau, one-sided exact p
    pytest.param((2, 1, 4, 3, 6, 5), 9 / 15, 0.068056, id="S3 three swaps"),
    pytest.param((2, 1, 4, 3, 5, 6), 11 / 15, 0.027778, id="S3 two swaps"),
    pytest.param((2, 1, 3, 4, 5, 6), 13 / 15, 1 / 120, id="S3 one swap, S2 ISIC"),
    pytest.param((1, 2, 3, 4, 5, 6), 1, 1 / 720, id="same"),
]


@pytest.mark.parametrize(("order", "tau", "p"), BY_SWAPS)
def test_s3_exact_p_of_kendalls_tau(order, tau, p):
    found = kendall(np.arange(6), np.array(order))
    assert found.tau == pytest.approx(tau)
    assert found.p_agrees == pytest.approx(p, abs=1e-6)
    against = kendall(np.arange(6), -np.array(order))
    assert against.tau == pytest.approx(-tau)
    assert against.p_opposed == pytest.approx(p, abs=1e-6)


def test_more_than_eight_losses_take_random_orders():
    found = kendall(np.arange(24), np.arange(24))
    assert found == (1, 1 / 10_000, 1)
    assert kendall(np.arange(24), np.arange(24)) == found
    assert kendall(np.arange(9), np.array([4, 8, 1, 5, 0, 7, 2, 6, 3])).p_agrees > 0.5


@pytest.mark.parametrize("y", [[1, 1, 1], [np.nan, np.nan, 1]], ids=["constant", "one value"])
def test_there_is_no_order_of_equal_or_single_values(y):
    assert np.isnan(kendall(np.arange(3), np.array(y))).all()
    assert np.isnan(spearman(np.arange(3), np.array(y)))


def test_s4_holm():
    np.testing.assert_allclose(holm([0.02, 0.03, 6e-10, 5e-11, 0.02, 1e-4]), [0.06, 0.06, 3e-9, 3e-10, 0.06, 4e-4])
    np.testing.assert_allclose(holm([0.04, np.nan, 0.7, 0.6]), [0.12, np.nan, 1, 1])


def test_s5_paired_and_unpaired():
    assert signed_rank(X, Y) == (2, pytest.approx(0.0234375), 8)
    statistic, p, n = rank_sum(X, Y)
    assert (statistic, p, n) == (pytest.approx(0.682637, abs=1e-6), pytest.approx(0.494837, abs=1e-6), 8)
    assert improvement(X, Y) == 7 / 8


@pytest.mark.parametrize("test", [signed_rank, rank_sum])
def test_cases_without_a_value_are_left_out_pairwise(test):
    with_holes = np.append(X, [np.nan, 0.3]), np.append(Y, [0.2, np.nan])
    assert test(*with_holes) == test(X, Y)
    assert np.isnan(test(np.array([np.nan]), np.array([1.0])).p)
    assert test(X, X).p == 1
    with pytest.raises(ValueError, match=r"over the same cases, got shapes \(8,\) and \(7,\)"):
        test(X, Y[1:])


@pytest.mark.parametrize(
    ("differences", "statistic", "p"),
    [
        pytest.param([1, 2, -3], 3, 1, id="even"),
        pytest.param([1, 1, 1, 0], 0, 0.25, id="tied and zero"),
        pytest.param([1, -1, 2, 3, 3], 1.5, 0.1875, id="two ties"),
    ],
)
def test_small_signed_rank_by_hand(differences, statistic, p):
    x = np.array(differences, dtype=float)
    assert signed_rank(x, np.zeros_like(x)) == (statistic, p, len(differences))


@pytest.mark.parametrize("n", [3, 5, 7, 14, 40, 60])
def test_signed_rank_equals_an_independent_library(n):
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(n)
    for scale in (2, 1000):  # with ties and zeros, and almost without
        x, y = generator.integers(0, scale, (2, n)) + generator.integers(0, 2, (2, n))
        if (x != y).any():
            assert signed_rank(x, y)[:2] == pytest.approx(tuple(stats.wilcoxon(x, y)), rel=1e-10)
            assert rank_sum(x, y)[:2] == pytest.approx(tuple(stats.ranksums(x, y)), rel=1e-10)


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_equals_an_independent_library_and_its_formulas(ties):
    stats = pytest.importorskip("scipy.stats")
    table = np.random.default_rng(1).integers(0, 4 if ties else 10**6, (9, 4)).astype(float)
    found = friedman(table)
    assert (found.chi2, found.chi2_p) == pytest.approx(tuple(stats.friedmanchisquare(*table.T)), rel=1e-10)
    n, k = table.shape
    if not ties:  # Demsar 2006, section 3.2.2
        chi2 = 12 * n / (k * (k + 1)) * (np.sum(found.mean_ranks**2) - k * (k + 1) ** 2 / 4)
        assert found.chi2 == pytest.approx(chi2, rel=1e-10)
    assert found.f == pytest.approx((n - 1) * found.chi2 / (n * (k - 1) - found.chi2), rel=1e-10)
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(k * (k + 1) / (6 * n)), rel=1e-3)  # its table 5


def test_improvement_counts_ties_half():
    assert improvement(np.array([1, 2, 3, np.nan]), np.array([1, 1, 4, 0])) == 0.5
    assert np.isnan(improvement(np.array([np.nan]), np.array([0.0])))


@pytest.mark.parametrize(("p", "text"), [(0.0005, "***"), (0.001, "**"), (0.02, "*"), (0.05, ""), (np.nan, "")])
def test_markers_begin_below_their_limits(p, text):
    assert marker(p) == text


def test_interval_of_tau():
    ours = X[:, np.newaxis] + np.array([0, 0.1, 0.2, 0.3])
    assert tau_interval(ours, np.array([1, 2, 3, 4])) == (1, 1)
    low, high = tau_interval(np.stack([X, Y, X[::-1], Y[::-1]], axis=1), np.array([1, 2, 3, 4]))
    assert -1 <= low < high <= 1


SMALL = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=5)


@given(SMALL)
def test_tau_and_its_p_equal_brute_force(values):
    x, y = np.array(values).T
    found = kendall(x, y)

    def agreement(y):
        return sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in itertools.combinations(range(len(x)), 2))

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found.tau)
        return
    all_orders = [agreement(np.array(order)) for order in itertools.permutations(y)]
    assert found.p_agrees == pytest.approx(np.mean(np.array(all_orders) >= agreement(y)))
    assert found.p_opposed == pytest.approx(np.mean(np.array(all_orders) <= agreement(y)))


@given(SMALL)
def test_order_equals_an_independent_library(values):
    stats = pytest.importorskip("scipy.stats")
    x, y = np.array(values).T
    if np.ptp(x) and np.ptp(y):
        assert kendall(x, y).tau == pytest.approx(stats.kendalltau(x, y).statistic, rel=1e-10)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-10, abs=1e-10)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p):
    adjusted, p = holm(p), np.array(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * p.size) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_holm_equals_an_independent_library():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).random(20) ** 3
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])
