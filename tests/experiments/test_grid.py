from pathlib import Path

import pytest

from rareseg.experiments import config, grid
from rareseg.experiments.config import ConfigError

TABLE = Path(__file__).parents[2] / "configs" / "table3.yaml"


def identities(*settings, fingerprint="data", backend="tensorflow"):
    points = grid.points(config.read(TABLE, "paper", list(settings)))
    return {point.cell: grid.identity(point, fingerprint, backend) for point in points}


CHANGES = [  # --set, the part of a cell that it concerns
    pytest.param("losses.tversky.delta=0.8", "tversky", 6, id="one loss"),
    pytest.param("networks.unet={name: unet_all, filters: 16}", "unet", 18, id="one network"),
    pytest.param("datasets.drive.split.seed=1", "drive", 12, id="one data set"),
    pytest.param("training.epochs=51", "", 36, id="training"),
    pytest.param("evaluation.metrics=[dsc]", "", 0, id="evaluation"),
    pytest.param("report.margin=0.01", "", 0, id="report"),
]


@pytest.mark.parametrize(("setting", "concerned", "count"), CHANGES)
def test_a_changed_value_changes_exactly_the_runs_that_it_concerns(setting, concerned, count):
    before, after = identities(), identities(setting)
    changed = [cell for cell in before if before[cell] != after[cell]]
    assert len(changed) == count
    assert all(not concerned or concerned in cell for cell in changed)


def test_data_and_backend_are_part_of_a_run():
    assert not set(identities().values()) & set(identities(fingerprint="other").values())
    assert not set(identities().values()) & set(identities(backend="jax").values())


def test_ids_are_readable_and_different():
    found = identities()
    assert len(set(found.values())) == 36
    assert found["drive", "unet", "adaptive_log", ""].startswith("drive-unet-adaptive_log-s0-")


SELECTIONS = [
    ([], 36),
    (["dataset=drive"], 12),
    (["dataset=drive,network=unet"], 6),
    (["dataset=drive", "loss=dice"], 16),
    (["seed=0"], 36),
]


@pytest.mark.parametrize(("only", "count"), SELECTIONS)
def test_comma_is_and_and_a_second_only_is_or(only, count):
    assert len(grid.select(grid.points(config.read(TABLE)), only)) == count


@pytest.mark.parametrize(
    ("only", "sentence"), [("data=drive", "unknown key `data`"), ("loss=dise", "has no loss `dise`")]
)
def test_selections_of_what_is_not_there(only, sentence):
    with pytest.raises(ConfigError, match=sentence):
        grid.select(grid.points(config.read(TABLE)), [only])
