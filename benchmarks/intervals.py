"""Do intervals cover and tests keep their level? By simulation: the truth is known, the question asked 20,000 times.

``uv run benchmarks/intervals.py`` takes ten to fifteen minutes of one core. Nothing depends on the machine: the same
versions give the same figures. With 2,000 repeats chance would decide: their standard error is .5 points, and
percentile intervals of 33 cases cover .4 more than they must. For the same reason --quick has no targets.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from record import Figure, arguments, finish

from rareseg import evaluation
from rareseg.evaluation.bootstrap import percentile_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Draws the values of so many repeats, (cases, repeats)."""
MEAN = 0.8
"""Of the simulated per-case DSC, beta-distributed with parameters 8 and 2."""
AT_ONCE = 500
"""Repeats that share a pass over the resamples, which are the same for all of them."""


def cases(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Return per-case values."""
    return generator.beta(8, 2, shape)


def grouped(generator: np.random.Generator, groups: int, size: int, repeats: int) -> np.ndarray:
    """Return values (groups * size, repeats) that are alike within groups; their mean is ``MEAN`` too."""
    spread = generator.uniform(-0.1, 0.1, (groups, size, repeats))
    return (cases(generator, groups, 1, repeats) + spread).reshape(groups * size, repeats)


def covered(draw: Draw, truth: float, groups: np.ndarray | None, repeats: int, seed: int) -> float:
    """Return how many 95% intervals hold the truth, in percent.

    Args:
        draw: The question's values.
        truth: Mean of what is drawn.
        groups: Group of each case; None: no groups.
        repeats: Number of intervals.
        seed: Of the draws.
    """
    generator, found = np.random.default_rng(seed), []
    while len(found) < repeats:
        means = evaluation.resampled_means(draw(generator, min(AT_ONCE, repeats)), groups)
        intervals = [percentile_interval(column) for column in means.T]
        found += [low <= truth <= high for low, high in intervals]
    return 100 * float(np.mean(found))


def share(found: Callable[[np.random.Generator], bool], repeats: int, seed: int) -> float:
    """Return how often something happens, in percent."""
    generator = np.random.default_rng(seed)
    return 100 * float(np.mean([found(generator) for _ in range(repeats)]))


def coverage(repeats: int) -> Iterator[Figure]:
    """Yield the coverage of 95% intervals, which must lie between 93% and 97%."""
    forty = np.repeat(np.arange(40), 4)

    def of(number: int) -> Draw:
        return lambda g, count: cases(g, number, count)

    def in_groups(g: np.random.Generator, count: int) -> np.ndarray:
        return grouped(g, 40, 4, count)

    questions: dict[str, tuple[Draw, float, np.ndarray | None]] = {
        f"mean of {number} cases": (of(number), MEAN, None) for number in (33, 41, 122)
    }
    questions["difference of two losses on 41 cases"] = (lambda g, count: of(41)(g, count) - of(41)(g, count), 0, None)
    questions["mean of 40 groups of 4 cases"] = (in_groups, MEAN, forty)
    for seed, (question, asked) in enumerate(questions.items()):
        percent = covered(*asked, repeats, seed)
        yield Figure(f"coverage of 95 % intervals, {question}, %, at least", percent, 93, at_least=True)
        yield Figure(f"coverage of 95 % intervals, {question}, %, at most", percent, 97)
    few = covered(of(20), MEAN, None, repeats, 90)
    yield Figure("coverage of 95 % intervals, mean of 20 cases, %", few)
    wrongly = covered(in_groups, MEAN, None, repeats, 91)
    yield Figure("coverage of 95 % intervals, 40 groups of 4 cases drawn as single cases, %", wrongly)


def sizes(repeats: int) -> Iterator[Figure]:
    """Yield how often tests at the 5% level find a difference where there is none; 4% to 6%."""
    questions: dict[str, Callable[[np.random.Generator], bool]] = {}
    for number in (41, 122):
        questions[f"signed-rank test of {number} cases"] = lambda g, n=number: (
            evaluation.signed_rank(cases(g, n), cases(g, n)).p < 0.05
        )
        questions[f"rank-sum test of {number} cases"] = lambda g, n=number: (
            evaluation.rank_sum(cases(g, n), cases(g, n)).p < 0.05
        )
    for seed, (question, asked) in enumerate(questions.items(), start=100):
        found = share(asked, repeats, seed)
        yield Figure(f"size at 5 %, {question}, %, at least", found, 4, at_least=True)
        yield Figure(f"size at 5 %, {question}, %, at most", found, 6)
    yield Figure("any of five signed-rank tests of 41 cases after Holm, %", share(_family, repeats, 200), 6)
    yield Figure("size at 5 %, Iman-Davenport over 6 blocks and 6 losses, %", share(_friedman, repeats, 201))


def _family(generator: np.random.Generator) -> bool:
    reference = cases(generator, 41)
    p = [evaluation.signed_rank(cases(generator, 41), reference).p for _ in range(5)]
    return bool((evaluation.holm(p) < 0.05).any())


def _friedman(generator: np.random.Generator) -> bool:
    return evaluation.friedman(generator.random((6, 6))).f_p < 0.05


def main() -> int:
    """Simulate, print, record."""
    options = arguments(__doc__).parse_args()
    repeats = 200 if options.quick else 20_000
    how = (
        f"{repeats} simulated repeats per figure; per-case values beta(8, 2), losses independent; percentile bootstrap "
        "with 10,000 resamples; standard error of a share near 95 % or 5 %: 0.15 points with 20,000 repeats"
    )
    figures = (figure for part in (coverage, sizes) for figure in part(repeats))
    if options.quick:
        figures = (replace(figure, target=None) for figure in figures)
    return finish("intervals", how, figures, options)


if __name__ == "__main__":
    raise SystemExit(main())
