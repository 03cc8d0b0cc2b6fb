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
    pytest.param("pipeline.cache=disk", "", 0, id="cache"),
    pytest.param("evaluation.metrics=[jaccard]", "", 0, id="evaluation"),
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
SWEEP = ["sweep={adaptive_log: {epsilon: [0.3, 0.5], omega: [6, 10]}}", "report.gamma_selection=best_test"]
SWEPT = [  # --only, number of points of a table with this sweep
    ([], 30 + 24),
    (["epsilon=0.5"], 12),
    (["epsilon=.50,omega=10"], 6),
    (["epsilon=0.3,dataset=drive", "loss=dice"], 4 + 6),
]


def test_several_swept_arguments_are_a_product():
    found = grid.points(config.read(TABLE, "paper", [*SWEEP, "grid.dataset=[drive]", "grid.loss=[adaptive_log]"]))
    expected = [f"epsilon={epsilon};omega={omega}" for epsilon in (0.3, 0.5) for omega in (6, 10)]
    assert [point.arguments for point in found if point.network == "unet"] == expected
    assert {(point.settings["loss"]["epsilon"], point.settings["loss"]["omega"]) for point in found} == {
        (epsilon, omega) for epsilon in (0.3, 0.5) for omega in (6.0, 10.0)
    }


@pytest.mark.parametrize(("only", "count"), SWEPT)
def test_swept_arguments_select(only, count):
    assert len(grid.select(grid.points(config.read(TABLE, "paper", SWEEP)), only)) == count


def test_a_sweep_shares_the_run_of_the_usual_value_with_the_table_without_it():
    plain, swept = identities(), identities(*SWEEP)
    assert swept["drive", "unet", "adaptive_log", "epsilon=0.5;omega=10"] == plain["drive", "unet", "adaptive_log", ""]
    assert swept["drive", "unet", "adaptive_log", "epsilon=0.3;omega=6"].startswith(
        "drive-unet-adaptive_log-epsilon0.3-omega6-s0-"
    )


def test_symbols_say_which_argument_a_printed_one_is():
    swapped = grid.points(config.read(TABLE, "paper", ["symbols={table1_rows: gamma, table2: epsilon}"]))
    found = next(point.settings["loss"] for point in swapped if point.loss == "adaptive_log")
    assert (found["gamma"], found["omega"], found["epsilon"]) == (0.5, 10, 0.1)


def test_a_list_of_products_is_their_union_in_order():
    products = (
        "grid=[{dataset: [drive], network: [unet], loss: [dice, focal]}, "
        "{dataset: [drive], network: [focusnet, unet], loss: [dice]}]"
    )
    found = [point.cell[1:3] for point in grid.points(config.read(TABLE, "paper", [products, "report.reference=dice"]))]
    assert found == [("unet", "dice"), ("unet", "focal"), ("focusnet", "dice")]


@pytest.mark.parametrize("table", sorted(path.stem for path in TABLE.parent.glob("*.yaml")))
def test_every_loss_of_every_table_can_be_built(table):
    losses = pytest.importorskip("rareseg.losses")
    settings = [point.settings for point in grid.points(config.read(TABLE.with_name(f"{table}.yaml")))]
    for loss in {str(one["loss"]): one["loss"] for one in settings}.values():
        losses.get({**loss, "from_logits": True})


def test_a_spelt_out_default_is_no_other_run():
    assert identities("losses.focal={alpha: 0.25}") == identities()


@pytest.mark.parametrize(("only", "count"), SELECTIONS)
def test_comma_is_and_and_a_second_only_is_or(only, count):
    assert len(grid.select(grid.points(config.read(TABLE)), only)) == count


@pytest.mark.parametrize(
    ("only", "sentence"),
    [("data=drive", "unknown key `data`"), ("gamma=0.5", "unknown key `gamma`"), ("loss=dise", "has no loss `dise`")],
)
def test_selections_of_what_is_not_there(only, sentence):
    with pytest.raises(ConfigError, match=sentence):
        grid.select(grid.points(config.read(TABLE)), [only])
