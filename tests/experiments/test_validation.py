"""Validation sees each case once, whatever the batches; by windows it sees what prediction gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rareseg import datasets, pipeline
from rareseg.experiments import cases, config, grid
from rareseg.experiments.sections import Training
from rareseg.experiments.session import Session
from rareseg.experiments.validation import Validation

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK = {"name": "unet_ufl", "filters": 2, "depth": 2}
LOSS = {"name": "dice"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Five small ultrasound pictures of 32 x 32."""
    folder = tmp_path_factory.mktemp("bus")
    settings = ["datasets.bus2017.size=[32, 32]"]
    point = grid.points(config.read(CONFIGS / "ufl_table4.yaml", "demo", settings))[0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RARESEG_CACHE", str(folder / "cache"))
        root = datasets.make_phantoms("bus2017", folder / "bus2017", cases=5, size=48)
        opened = cases.open_cases("bus2017", root, point.settings)
        yield opened.prepared, replace(cases.pipeline_settings(point.settings), batch_size=2)


def made(side):
    found = Session(NETWORK, 0, (side, side, 3), 2, Training.model_validate({}).model_dump(mode="json"), [LOSS])
    found.reset(LOSS)
    return found


@pytest.fixture(scope="module")
def session():
    return made(32)


@pytest.fixture(scope="module")
def windowed():
    return made(16)


def test_every_case_counts_once_and_alike_though_the_last_batch_is_smaller(prepared, session):
    samples, drawing = prepared
    loss, counts = Validation(session, samples, drawing, 0)(3)
    alone = [session.test(case.image[None], case.label[None]) for case in samples]
    assert loss == pytest.approx(np.mean([one for one, _ in alone]), rel=1e-5)
    assert counts.tolist() == np.sum([one for _, one in alone], axis=0).tolist()


def test_fixed_windows_are_the_same_in_every_epoch_and_others_are_not(prepared, windowed):
    samples, drawing = prepared
    windows = replace(drawing, analysis="crop", patch=(16, 16), overlap=(8, 8))
    results = {}
    for crops in ("fixed", "per_epoch"):
        look = Validation(windowed, samples, replace(windows, validation_crops=crops), 0)
        results[crops] = [look(epoch)[1].tolist() for epoch in range(4)]
    assert len(set(map(str, results["fixed"]))) == 1
    assert len(set(map(str, results["per_epoch"]))) > 1


def test_whole_cases_are_judged_by_what_their_windows_give_together(prepared, windowed):
    samples, drawing = prepared
    windows = replace(drawing, analysis="crop", patch=(16, 16), overlap=(8, 8), validation_crops="whole")
    loss, counts = Validation(windowed, samples, windows, 0)(0)
    forward = windowed.predictor.predict_on_batch
    labels = list(pipeline.predict_many(forward, samples, windows, grid="network"))
    truths = [np.asarray(case.label) for case in samples]
    expected = [sum(int(((t == 1) & (p == 1)).sum()) for t, p in zip(truths, labels, strict=True))]
    expected += [sum(int(((t != 1) & (p == 1)).sum()) for t, p in zip(truths, labels, strict=True))]
    expected += [sum(int(((t == 1) & (p != 1)).sum()) for t, p in zip(truths, labels, strict=True))]
    assert counts.tolist() == [expected]
    assert 0 < loss < 1
