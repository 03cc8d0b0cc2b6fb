"""Ours beside published: printed cells, which belongs to which, ranks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rareseg.evaluation import compare, from_csv, to_csv
from rareseg.evaluation.published import arguments, as_fraction, half_unit

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def published(name):
    return from_csv((PUBLISHED / f"{name}.csv").read_text(encoding="utf-8"))


PRINTED = [  # text, unit, fraction, half a unit
    pytest.param("82.84", "percent", 0.8284, 0.00005, id="percent"),
    pytest.param("82.40", "percent", 0.824, 0.00005, id="trailing zero"),
    pytest.param("0.909", "fraction", 0.909, 0.0005, id="fraction"),
    pytest.param("612", "count", 612, 0.5, id="count"),
    pytest.param("2e-6", "probability", 2e-6, 5e-7, id="exponent"),
    pytest.param("", "percent", np.nan, np.nan, id="never seen"),
]


@pytest.mark.parametrize(("text", "unit", "value", "half"), PRINTED)
def test_printed_numbers_are_read_exactly(text, unit, value, half):
    np.testing.assert_equal((as_fraction(text, unit), half_unit(text, unit)), (value, half))


def test_arguments_are_told_from_other_tokens():
    note = "flag=outlier (9.07 below);epsilon=0.50;omega=10;best;expected=392, from code;against=dice"
    assert arguments(note) == {"epsilon": 0.5, "omega": 10}
    assert arguments("pool=batch;gamma=0.1") == {"pool": "batch", "gamma": 0.1}
    assert arguments("") == {}


CELL = {
    "dataset": "isic2018",
    "network": "unet",
    "loss": "adaptive_log",
    "arguments": "",
    "metric": "jaccard",
    "class": "foreground",
    "ours": 0.78,
    "low": 0.76,
    "high": 0.80,
    "cases": 519,
    "run": "r",
    "data": "real",
    "protocol": "paper",
}

MATCHES = [  # published table, what differs from CELL, text of the printed cell
    pytest.param("table3", {}, "77.69", id="plain"),
    pytest.param("table3", {"dataset": "drive", "metric": "dsc"}, "81.41", id="dsc is f1"),
    pytest.param("table3", {"metric": "iou"}, "77.69", id="iou is jaccard"),
    pytest.param("table3", {"metric": "precision"}, "", id="metric not printed"),
    pytest.param("table3", {"loss": "tversky", "class": "lesion"}, "", id="class not printed"),
    pytest.param("table1", {"arguments": "epsilon=0.5;omega=10"}, "82.43", id="any data set and network"),
    pytest.param("table1", {"arguments": "omega=10.0;epsilon=0.50;gamma=0.1"}, "82.43", id="numbers, not text"),
    pytest.param("table1", {"arguments": "epsilon=0.5"}, "", id="too few arguments"),
    pytest.param("table2", {"arguments": "gamma=0.1"}, "82.43", id="0.1 is 0.10"),
    pytest.param("ufl_table1", {"dataset": "drive", "loss": "", "metric": "train", "class": ""}, "", id="expected=16"),
]


@pytest.mark.parametrize(("name", "change", "text"), MATCHES)
def test_the_printed_cell_of_ours_is_found(name, change, text):
    network = {"network": ""} if name == "ufl_table1" else {}
    row = compare(pd.DataFrame([CELL | change | network]), published(name)).iloc[0]
    assert row["published_text"] == text
    assert (row["verdict"] == "no_reference") == (text == "")


def test_uncertainty_unit_and_note_come_along():
    ours = CELL | {"dataset": "kits19", "loss": "unified_focal_asymmetric", "metric": "dsc", "class": "tumour"}
    row = compare(pd.DataFrame([ours | {"ours": 0.6, "low": 0.5, "high": 0.62}]), published("ufl_table6")).iloc[0]
    assert row[["published", "published_uncertainty", "unit", "difference"]].tolist() == [
        0.634,
        0.079,
        "fraction",
        -0.034,
    ]
    assert row["note"] == "stated in the text;best"
    assert row["verdict"] == "overlap"


def test_counts_keep_their_unit():
    ours = CELL | {"dataset": "cvc_clinicdb", "network": "", "loss": "", "metric": "images", "class": ""}
    table = published("ufl_table1")
    right = compare(pd.DataFrame([ours | {"ours": 612.0, "low": 612.0, "high": 612.0}]), table).iloc[0]
    assert (right["unit"], right["published"], right["verdict"]) == ("count", 612, "match")
    wrong = compare(pd.DataFrame([ours | {"ours": 611.0, "low": 611.0, "high": 611.0}]), table).iloc[0]
    assert wrong["verdict"] == "lower"


def test_rows_come_in_published_order_and_are_ranked_by_block():
    losses = ["own_loss", "adaptive_log", "focal", "dice"]
    values = [0.5, 0.7, 0.7, np.nan]
    ours = pd.DataFrame([CELL | {"loss": loss, "ours": value} for loss, value in zip(losses, values, strict=True)])
    table = compare(ours, published("table3"))
    assert table["loss"].tolist() == ["dice", "focal", "adaptive_log", "own_loss"]
    assert table["rank"].fillna(0).tolist() == [0, 1, 1, 3]
    assert table["published_rank"].fillna(0).tolist() == [3, 1, 2, 0]


def test_a_cell_that_two_printed_cells_claim_is_refused():
    twice = pd.concat([published("table3")] * 2)
    with pytest.raises(ValueError, match="2 published cells match isic2018/unet/adaptive_log//jaccard/foreground"):
        compare(pd.DataFrame([CELL]), twice)


REFUSED = [  # ours, published, sentence
    pytest.param(
        lambda: (pd.DataFrame([CELL]).drop(columns="low"), "table3"), "our table lacks the column 'low'", id="ours"
    ),
    pytest.param(lambda: (pd.DataFrame([CELL, CELL]), "table3"), "two of our cells share one place", id="twice"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_wrong_tables_are_refused(make, sentence):
    ours, name = make()
    with pytest.raises(ValueError, match=sentence):
        compare(ours, published(name))


PUBLISHED_FAULTS = [
    pytest.param(lambda table: table.drop(columns="note"), "published table lacks the column 'note'", id="column"),
    pytest.param(lambda table: table.assign(value=table["value"].astype(float)), "must be text", id="numbers"),
    pytest.param(lambda table: table.assign(value="82,84"), "'82,84' is not a number", id="decimal comma"),
    pytest.param(lambda table: table.assign(uncertainty="nan"), "unet/jaccard.*'nan' is not a number", id="no number"),
]


@pytest.mark.parametrize(("spoil", "sentence"), PUBLISHED_FAULTS)
def test_wrong_published_tables_are_refused(spoil, sentence):
    with pytest.raises(ValueError, match=sentence):
        compare(pd.DataFrame([CELL]), spoil(published("table3")))


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.csv")), ids=lambda path: path.stem)
def test_every_published_number_can_be_read(path):
    table = published(path.stem)
    assert len(table)
    for text, unit in zip(table["value"], table["unit"], strict=True):
        assert np.isnan(as_fraction(text, unit)) == (text == "")


def test_published_tables_survive_reading_and_writing():
    assert to_csv(published("table3")).replace('"', "") == (PUBLISHED / "table3.csv").read_text().replace('"', "")
