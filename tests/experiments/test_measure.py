"""Hours from what was measured."""

import pytest

from rareseg.experiments import cost, measure

KNOWN = cost.Cost(
    shape=(8, 8), channels=1, classes=2, batch=4, epochs=2, steps=10, validated=8, windows=6, voxels=64, macs=1
)


@pytest.mark.parametrize(
    ("sample", "ahead", "training"),
    [
        (0.1, False, 10 * (0.5 + 0.4)),
        (0.1, True, 10 * 0.5),  # the next batch is ready before the step ends
        (0.2, True, 10 * 0.8),  # the step waits for it
        (0.0, True, 10 * 0.5),
    ],
)
def test_seconds_of_a_run(sample, ahead, training):
    found = {"start": 9.0, "step": 0.5, "test": 0.25, "sample": sample, "peak_mib": 100, "ahead": ahead}
    validation, prediction = 2 * (2 * 0.25 + 8 * sample), 2 * 0.25
    assert measure.run_seconds(KNOWN, found) == pytest.approx(training + validation + prediction)
