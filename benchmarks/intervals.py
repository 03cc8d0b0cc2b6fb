"""Do intervals cover and tests keep their level? By simulation: the truth is known, and the question asked 2,000 times.

``uv run benchmarks/intervals.py`` takes about ten minutes of one core. Nothing depends on the machine: the same
versions give the same figures.
"""

from collections.abc import Callable, Iterator

import numpy as np
from record import Figure, arguments, finish

from rareseg import evaluation

MEAN = 0.8
"""Of the simulated per-case DSC, beta-distributed with parameters 8 and 2."""


def cases(generator: np.random.Generator, number: int) -> np.ndarray:
    """Return per-case values, shape (number,)."""
    return generator.beta(8, 2, number)


def grouped(generator: np.random.Generator, groups: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values that are alike within groups, and the group of each; their mean is ``MEAN`` too."""
    centre = generator.beta(8, 2, groups)
    spread = generator.uniform(-0.1, 0.1, (groups, size))
    return (centre[:, np.newaxis] + spread).ravel(), np.repeat(np.arange(groups), size)


def covers(interval: tuple[float, float], truth: float) -> bool:
    """Return whether an interval holds the truth."""
    return interval[0] <= truth <= interval[1]


def share(found: Callable[[np.random.Generator], bool], repeats: int, seed: int) -> float:
    """Return how often something happens, in percent."""
    generator = np.random.default_rng(seed)
    return 100 * float(np.mean([found(generator) for _ in range(repeats)]))


def coverage(repeats: int) -> Iterator[Figure]:
    """Yield the coverage of 95% intervals, which must lie between 93% and 97%."""
    questions: dict[str, Callable[[np.random.Generator], bool]] = {
        f"mean of {number} cases": lambda g, number=number: covers(evaluation.interval(cases(g, number)), MEAN)
        for number in (33, 41, 122)
    }
    questions["difference of two losses on 41 cases"] = lambda g: covers(
        evaluation.interval(cases(g, 41) - cases(g, 41)), 0
    )
    questions["mean of 40 groups of 4 cases"] = lambda g: covers(evaluation.interval(*grouped(g, 40, 4)), MEAN)
    for seed, (question, asked) in enumerate(questions.items()):
        found = share(asked, repeats, seed)
        yield Figure(f"coverage of 95 % intervals, {question}, %, at least", found, 93, at_least=True)
        yield Figure(f"coverage of 95 % intervals, {question}, %, at most", found, 97)
    found = share(lambda g: covers(evaluation.interval(cases(g, 20)), MEAN), repeats, 90)
    yield Figure("coverage of 95 % intervals, mean of 20 cases, %", found)
    values = share(lambda g: covers(evaluation.interval(grouped(g, 40, 4)[0]), MEAN), repeats, 91)
    yield Figure("coverage of 95 % intervals, 40 groups of 4 cases drawn as single cases, %", values)


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
    repeats = 200 if options.quick else 2_000
    how = (
        f"{repeats} simulated repeats per figure; per-case values beta(8, 2), losses independent; percentile bootstrap "
        "with 10,000 resamples; standard error of a share near 95 % or 5 %: 0.5 points with 2,000 repeats"
    )
    figures = (figure for part in (coverage, sizes) for figure in part(repeats))
    return finish("intervals", how, figures, options)


if __name__ == "__main__":
    raise SystemExit(main())
