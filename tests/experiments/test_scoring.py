"""What is counted, in 3D and with several classes: read back from the files that are written."""

import dataclasses
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from rareseg import datasets, evaluation, pipeline
from rareseg.experiments import cases, config, grid, scoring

CONFIGS = Path(__file__).parents[2] / "configs"


def forward(images):
    """Return logits of three classes: brighter is a higher one."""
    bright = images[..., 0]
    return np.stack([np.zeros_like(bright), 4 * (bright - 1), 8 * (bright - 2)], axis=-1).astype("float32")


@pytest.fixture(scope="module")
def kits(tmp_path_factory):
    """Six volumes of three classes, prepared as in profile demo, and their settings."""
    folder = tmp_path_factory.mktemp("kits")
    points = grid.points(config.read(CONFIGS / "ufl_table6.yaml", "demo"))
    settings = points[0].settings
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RARESEG_CACHE", str(folder / "cache"))
        root = datasets.make_phantoms("kits19", folder / "kits19", cases=6, size=32)
        yield cases.open_cases("kits19", root, settings), settings


@pytest.fixture(scope="module")
def scored(kits, tmp_path_factory):
    opened, settings = kits
    folder = tmp_path_factory.mktemp("scored")
    chosen = settings["evaluation"] | {"hec": True, "auc": True, "distances": True, "parts": ["validation", "test"]}
    drawing = cases.pipeline_settings(settings)
    scoring.score(forward, opened, opened.parts(settings), chosen, drawing, folder)
    return folder, pd.read_csv(folder / "cases.csv", dtype={"class": str})


def test_every_case_of_both_parts_has_a_row_for_each_class(kits, scored):
    opened, settings = kits
    parts = opened.parts(settings)
    expected = {
        (part, case.id, name) for part in ("validation", "test") for case in parts[part] for name in ("1", "2", "hec")
    }
    assert set(scored[1][["part", "case", "class"]].itertuples(index=False, name=None)) == expected
    assert opened.classes == ("background", "kidney", "tumour")


def test_label_maps_are_nifti_on_the_grid_of_the_files_and_hold_what_was_counted(kits, scored):
    opened, settings = kits
    folder, rows = scored
    tested = opened.parts(settings)["test"]
    assert len(list((folder / "predictions").iterdir())) == len(tested)
    for case in tested:
        source = opened.originals[case.id]
        stored = nibabel.load(folder / "predictions" / f"{case.id}.nii.gz")
        assert stored.affine == pytest.approx(source.affine, abs=1e-5)
        predicted = np.asarray(stored.dataobj).transpose(source.order)
        truth = source.read_label()
        counted = evaluation.counts(truth, predicted, 3)
        whole = evaluation.counts((truth > 0).astype(int), (predicted > 0).astype(int), 2)[1]
        found = rows[(rows["case"] == case.id)].set_index("class")
        for name, expected in (("1", counted[1]), ("2", counted[2]), ("hec", whole)):
            assert found.loc[name, list(evaluation.COUNTS)].tolist() == expected.tolist()
        distances = evaluation.surface_distances(truth == 1, predicted == 1, source.spacing)
        assert found.loc["1", "hd95"] == pytest.approx(distances["hd95"], nan_ok=True)


def test_areas_change_no_label(kits, tmp_path):
    """Labels go to the grid of the files by nearest neighbour, whether or not probabilities go with them."""
    opened, settings = kits
    coarse = dataclasses.replace(cases.pipeline_settings(settings), size=(16, 24, 20), cache="none")
    parts = {"test": pipeline.prepare_all(list(opened.originals.values()), coarse)}
    for auc in (False, True):
        chosen = settings["evaluation"] | {"auc": auc, "parts": ["test"]}
        scoring.score(forward, opened, parts, chosen, coarse, tmp_path / str(auc))
    without, with_areas = (pd.read_csv(tmp_path / str(auc) / "cases.csv") for auc in (False, True))
    pd.testing.assert_frame_equal(without.drop(columns="auc"), with_areas.drop(columns="auc"))


def test_areas_are_one_class_against_the_rest(scored):
    folder, rows = scored
    assert rows.loc[rows["class"] != "hec", "auc"].between(0, 1).all()
    assert rows.loc[rows["class"] == "hec", "auc"].isna().all()
    with np.load(folder / "scores.npz") as stored:
        assert sorted(stored.files) == ["histogram_1", "histogram_2"]
        foreground = [int(stored[name][1].sum()) for name in stored.files]
    tested = rows[rows["part"] == "test"]
    for name, pixels in zip(("1", "2"), foreground, strict=True):
        assert pixels == tested.loc[tested["class"] == name, ["TP", "FN"]].to_numpy().sum()


def test_batches_are_those_of_the_related_code():
    draw = np.random.default_rng(0)
    maps = [(draw.random((4, 4, 2)), draw.integers(0, 2, (4, 4))) for _ in range(5)]
    batches = scoring.Batchwise(2, 2)
    for probabilities, truth in maps:
        batches.add("validation", probabilities, truth)
    batches.add("test", *maps[0])
    rows = batches.rows()
    assert [row[:4] for row in rows] == [*(["validation", number, "", 1] for number in range(3)), ["test", 3, "", 1]]
    for row, members in zip(rows, (maps[:2], maps[2:4], maps[4:], maps[:1]), strict=True):
        scores, truth = np.stack([one[0][..., 1] for one in members]), np.stack([one[1] for one in members])
        assert row[4:] == list(map(evaluation.batch_metrics(scores, truth).get, scoring.Batchwise.METRICS))


def test_a_signal_ends_scoring_between_two_cases_and_nothing_is_complete(kits, tmp_path):
    opened, settings = kits
    calls = iter([None, None, InterruptedError("stopped")])

    def go_on():
        if error := next(calls):
            raise error

    drawing, parts = cases.pipeline_settings(settings), opened.parts(settings)
    chosen = settings["evaluation"] | {"parts": ["train"]}
    with pytest.raises(InterruptedError, match="stopped"):
        scoring.score(forward, opened, parts, chosen, drawing, tmp_path / "scored", go_on)
    assert not (tmp_path / "scored" / "cases.csv").exists()
