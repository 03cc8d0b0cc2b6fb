"""From runs and per-case results to table_long and pairs."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rareseg.evaluation import (
    TABLE_COLUMNS,
    TableSettings,
    block_verdicts,
    case_values,
    cell_verdict,
    collect,
    expected_cells,
    from_csv,
    holm,
    interval,
    marker,
    metrics,
    order_intervals,
    pairs,
    rank_sum,
    signed_rank,
    table_long,
    table_verdict,
    tau_interval,
    to_csv,
)

PUBLISHED = from_csv((Path(__file__).parents[2] / "results/published/table3.csv").read_text(encoding="utf-8"))
LOSSES = ("jaccard", "dice", "tversky", "focal", "combo", "adaptive_log")
DATASETS = ("isic2018", "dsb2018", "drive")
SETTINGS = TableSettings("table3")


def long(cells, runs, results, published=PUBLISHED, settings=SETTINGS):
    """Return table_long of three frames."""
    return table_long(cells, collect(cells, runs, results), published, settings)


def per_case(cells, runs, results):
    """Return their values per case."""
    return case_values(cells, collect(cells, runs, results), SETTINGS)


def grid(datasets=DATASETS, networks=("unet", "focusnet"), losses=LOSSES, classes=("foreground",)):
    points = [
        {"dataset": d, "network": n, "loss": loss, "arguments": "", "data": "real", "protocol": "paper"}
        for d, n, loss in product(datasets, networks, losses)
    ]
    names = {key: ["recall", "specificity", "jaccard"] for key in datasets} | {"drive": ["f1", "recall", "jaccard"]}
    return expected_cells(pd.DataFrame(points), names, dict.fromkeys(datasets, classes))


def runs_of(cells, seeds=(0,), state="finished"):
    runs = (
        cells[["dataset", "network", "loss", "arguments"]]
        .drop_duplicates()
        .merge(pd.DataFrame({"seed": seeds}), "cross")
    )
    names = runs["dataset"] + "-" + runs["network"] + "-" + runs["loss"] + "-s" + runs["seed"].astype(str)
    return runs.assign(run=names, state=state)


def results_of(runs, cases=12, classes=("foreground",)):
    """Random counts of 1000 pixels; later losses are better."""
    generator = np.random.default_rng(0)
    parts = []
    for name, loss in zip(runs["run"], runs["loss"], strict=True):
        missed = generator.binomial(80, 0.3 - 0.04 * LOSSES.index(loss), (2, cases, len(classes)))
        table = pd.DataFrame(list(product(range(cases), classes)), columns=["case", "class"])
        table = table.assign(run=name, group="", TP=100 - missed[0].ravel(), FP=missed[1].ravel(), FN=missed[0].ravel())
        parts.append(table.assign(TN=900 - table["FP"], auc=1 - missed[0].ravel() / 100))
    return pd.concat(parts, ignore_index=True)


def small(seeds=(0,), classes=("foreground",), cases=12):
    """One block of six losses: cells, runs, results."""
    cells = grid(("isic2018",), ("unet",), classes=classes)
    runs = runs_of(cells, seeds)
    return cells, runs, results_of(runs, cases, classes)


@pytest.fixture(scope="module")
def table3():
    cells = grid()
    runs = runs_of(cells)
    return cells, runs, results_of(runs)


@pytest.fixture(scope="module")
def table(table3):
    return long(*table3)


def test_table3_has_every_cell_in_the_published_order(table):
    assert tuple(table.columns) == TABLE_COLUMNS
    assert len(table) == 108
    keys = ["dataset", "network", "loss", "metric", "class"]
    pd.testing.assert_frame_equal(table[keys], PUBLISHED[keys])
    assert table["published_text"].tolist() == PUBLISHED["value"].tolist()
    assert set(table["table"]) == {"table3"}
    assert table["cases"].tolist() == [12] * 108


def test_the_same_input_in_any_order_gives_the_same_bytes(table3, table):
    cells, runs, results = table3
    shuffled = runs.sample(frac=1, random_state=1), results.sample(frac=1, random_state=2)
    assert to_csv(long(cells, *shuffled)) == to_csv(table)


def test_seeds_in_any_order_give_the_same_bytes():
    cells, runs, results = small(seeds=(0, 1, 2))
    first, second = (long(cells, listed, results) for listed in (runs, runs[::-1]))
    assert to_csv(first) == to_csv(second)
    assert set(first["seed"]) == {"0-2"}


def test_the_csv_is_the_table(table3, table):
    read = from_csv(to_csv(table))
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    assert [cell_verdict(row) for row in read.to_dict("records")] == table["verdict"].tolist()
    compared = pairs(per_case(*table3))
    compared_again = from_csv(to_csv(compared))
    pd.testing.assert_frame_equal(compared_again, compared, check_dtype=False, rtol=1e-8)
    judged = block_verdicts(read, compared_again)
    assert len(judged) == 18
    assert table_verdict(read, judged).comparable == 108 - read["verdict"].isin(["flagged", "imprecise"]).sum()


def test_values_intervals_tests_and_markers_of_a_block():
    cells, runs, results = small()
    table = long(cells, runs, results).query("metric == 'jaccard'").set_index("loss")
    values = {
        loss: metrics(results.loc[results["run"] == f"isic2018-unet-{loss}-s0", ["TP", "FP", "FN", "TN"]])["jaccard"]
        for loss in LOSSES
    }
    order = np.argsort([str(case) for case in range(12)])  # cases are drawn in the order of their ids as text
    raw = [signed_rank(values[loss], values["adaptive_log"]).p for loss in LOSSES[:-1]]
    for loss in LOSSES:
        assert table.loc[loss, "ours"] == pytest.approx(values[loss].mean(), rel=1e-8)
        assert tuple(table.loc[loss, ["low", "high"]]) == pytest.approx(interval(values[loss][order]), rel=1e-8)
    np.testing.assert_allclose(table["p_raw"], [*raw, np.nan], rtol=1e-8)
    np.testing.assert_allclose(table["p_adjusted"], [*holm(raw), np.nan], rtol=1e-8)
    assert table["marker"].tolist() == [*map(marker, holm(raw)), ""]
    assert "**" in table["marker"].tolist()
    assert table["rank"].tolist() == [6, 5, 4, 3, 2, 1]
    assert table["seed_sd"].isna().all()
    assert set(table["seed"]) == {"0"}


def test_pairs_hold_every_two_losses_of_a_block():
    cells, runs, results = small()
    values = per_case(cells, runs, results)
    assert len(values) == 3 * 6 * 12
    table = pairs(values)
    assert len(table) == 3 * 15
    block = table[table["block"] == "isic2018/unet/jaccard/foreground"]
    wide = values.query("metric == 'jaccard'").pivot(index="case", columns="loss", values="value")
    row = block[(block["loss_a"] == "dice") & (block["loss_b"] == "combo")].iloc[0]
    assert row["n"] == 12
    assert row["p_rank_sum"] == rank_sum(wide["dice"].to_numpy(), wide["combo"].to_numpy()).p
    assert row["p_signed_rank"] == signed_rank(wide["dice"].to_numpy(), wide["combo"].to_numpy()).p
    assert row["improvement"] == np.mean(wide["dice"] > wide["combo"])
    np.testing.assert_allclose(block["p_signed_rank_holm"], holm(block["p_signed_rank"]))


def test_the_order_of_a_block_has_an_interval(table3, table):
    cells, runs, results = table3
    values = per_case(cells, runs, results.assign(group=results["case"] // 3))
    found = order_intervals(values, table)
    judged = block_verdicts(table, pairs(values))
    assert set(found) == set(judged["block"])
    for block, tau in zip(judged["block"], judged["tau"], strict=True):
        low, high = found[block]
        assert -1 <= low <= tau <= high <= 1
    ours = values[(values["dataset"] == "drive") & (values["network"] == "unet") & (values["metric"] == "f1")]
    wide = ours.pivot(index="case", columns="loss", values="value")[list(LOSSES)]
    published = PUBLISHED[(PUBLISHED["dataset"] == "drive") & (PUBLISHED["network"] == "unet")]
    published = published[published["metric"] == "f1"].set_index("loss")["value"].astype(float)[list(LOSSES)]
    expected = tau_interval(wide.to_numpy(), published.to_numpy(), np.asarray(wide.index, int) // 3)
    assert found["drive/unet/f1/foreground"] == expected


def test_nothing_measured_gives_no_pairs():
    cells, runs, results = small()
    values = per_case(cells, runs.assign(state="failed"), results.iloc[:0])
    assert (len(values), len(pairs(values))) == (0, 0)
    assert order_intervals(values, PUBLISHED.rename(columns={"value": "published"})) == {}
    assert list(pairs(values)) == list(pairs(per_case(cells, runs, results)))


def test_failed_and_absent_runs_stay_in_the_table():
    cells, runs, results = small()
    runs.loc[0, "state"] = "failed"
    runs.loc[1, "state"] = "not_run"
    runs = runs.drop(index=2)
    table = long(cells, runs, results).query("metric == 'jaccard'").set_index("loss")
    assert table["verdict"].tolist()[:3] == ["failed", "not_run", "not_run"]
    assert table["run"].tolist()[:3] == ["isic2018-unet-jaccard-s0", "", ""]
    assert table["ours"].isna().tolist() == [True, True, True, False, False, False]
    assert table["rank"].fillna(0).tolist() == [0, 0, 0, 3, 2, 1]
    assert table["cases"].isna().sum() == 3


def test_nothing_run_at_all():
    cells = grid()
    runs = runs_of(cells, state="not_run")
    table = long(cells, runs, pd.DataFrame())
    pd.testing.assert_frame_equal(table, long(cells, runs.iloc[:0], pd.DataFrame()))
    assert set(table["verdict"]) == {"not_run"}
    pd.testing.assert_frame_equal(from_csv(to_csv(table)), table)


def counted(run, *cases, name="foreground", group=""):
    """Rows of one run: TP, FP, FN, TN per case."""
    rows = pd.DataFrame(list(cases), columns=["TP", "FP", "FN", "TN"])
    return rows.assign(run=run, case=[f"c{i}" for i in range(len(cases))], group=group, **{"class": name})


M1, M2, M7 = (3, 2, 1, 10), (8, 0, 0, 8), (0, 0, 0, 16)


def one_cell(runs, *parts, metric="jaccard", name="foreground", **settings):
    """Table of a single cell made of the given runs (id -> state)."""
    cells = grid(("isic2018",), ("unet",), ("dice",)).iloc[:1].assign(metric=metric, **{"class": name})
    listed = pd.DataFrame({"run": list(runs), "state": list(runs.values()), "seed": range(len(runs))})
    listed = listed.assign(dataset="isic2018", network="unet", loss="dice", arguments="")
    return long(cells, listed, pd.concat(parts), settings=TableSettings("t", **settings)).iloc[0]


def test_seeds_are_averaged_per_case_first_and_their_scatter_stands_apart():
    runs = {"a": "finished", "b": "failed", "c": "finished"}
    row = one_cell(runs, counted("a", M1, M2, M7), counted("c", M2, M2, M1))
    assert row["ours"] == pytest.approx((0.75 + 1 + 0.5) / 3)
    assert row["seed_sd"] == pytest.approx(np.std([0.75, 2.5 / 3], ddof=1), rel=1e-8)
    assert (row["seed"], row["run"], row["cases"]) == ("0,2", "a;c", 3)
    assert tuple(row[["low", "high"]]) == pytest.approx(interval(np.array([0.75, 1, 0.5])))


def test_many_seeds_are_written_as_ranges():
    runs = dict.fromkeys("abcde", "finished")
    row = one_cell({**runs, "x": "failed", "f": "finished"}, *[counted(run, M1, M2) for run in "abcdef"])
    assert row["seed"] == "0-4,6"


def test_only_failed_runs_are_named():
    row = one_cell({"a": "failed", "b": "not_run", "c": "failed"}, counted("other", M1))
    assert (row["verdict"], row["run"], row["seed"]) == ("failed", "a;c", "")


AGGREGATES = [  # metric, settings, value, cases
    pytest.param("jaccard", {}, 3 / 4, 2, id="case"),
    pytest.param("jaccard", {"empty": "one"}, 5 / 6, 3, id="case, empty one"),
    pytest.param("jaccard", {"aggregation": "pooled"}, 11 / 14, 3, id="pooled"),
    pytest.param("dsc", {"aggregation": "pooled"}, 22 / 25, 3, id="pooled dsc"),
]


@pytest.mark.parametrize(("metric", "settings", "value", "cases"), AGGREGATES)
def test_aggregation_and_empty_cases(metric, settings, value, cases):
    row = one_cell({"a": "finished"}, counted("a", M1, M2, M7), metric=metric, **settings)
    assert (row["ours"], row["cases"]) == (pytest.approx(value), cases)
    assert row["low"] <= row["ours"] <= row["high"]


def test_pooled_counts_are_resampled_before_the_quotient():
    row = one_cell({"a": "finished"}, counted("a", M1, M2), aggregation="pooled")
    indices = np.random.default_rng(0).integers(0, 2, (10_000, 2))
    values = metrics(np.array([M1, M2])[indices].sum(axis=1))["jaccard"]
    assert tuple(row[["low", "high"]]) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


def test_classes_and_their_mean():
    parts = [counted("a", M1, M2, name="kidney"), counted("a", M2, M7, name="tumour")]
    runs = {"a": "finished"}
    assert one_cell(runs, *parts, name="tumour")["ours"] == 1
    assert one_cell(runs, *parts, name="mean")["ours"] == pytest.approx((0.75 + 1) / 2)
    pooled = one_cell(runs, *parts, name="mean", aggregation="pooled")
    assert pooled["ours"] == pytest.approx((11 / 14 + 1) / 2)
    assert one_cell(runs, *parts, name="kidney", aggregation="pooled")["ours"] == pytest.approx(11 / 14)


def test_a_union_of_classes_is_a_row_of_its_own_and_never_inside_the_mean():
    parts = [counted("a", M1, M2, name="kidney"), counted("a", M2, M7, name="tumour")]
    parts.append(counted("a", M2, M2, name="hec"))
    runs = {"a": "finished"}
    assert one_cell(runs, *parts, name="hec")["ours"] == 1
    assert one_cell(runs, *parts, name="mean")["ours"] == pytest.approx((0.75 + 1) / 2)


def test_batches_enter_as_cases():
    part = counted("a", M1, M2).assign(jaccard=[0.3, 0.4])
    row = one_cell({"a": "finished"}, part, metric="jaccard")
    assert (row["ours"], row["cases"]) == (0.35, 2)


def test_of_distances_the_lowest_is_best():
    cells, runs, results = small()
    cells = cells[cells["metric"] == "jaccard"].assign(metric="hd95")
    table = long(cells, runs, results.assign(hd95=results["FN"]))
    assert table.sort_values("ours")["rank"].tolist() == [1, 2, 3, 4, 5, 6]


def test_groups_are_drawn_whole():
    runs, part = {"a": "finished"}, counted("a", M1, M2, M1, M1, group=["p", "p", "q", ""])
    values = metrics(np.array([M1, M2, M1, M1]))["jaccard"]
    found = tuple(one_cell(runs, part)[["low", "high"]])
    assert found == pytest.approx(interval(values, ["p", "p", "q", "c3"]))
    assert found != pytest.approx(interval(values))


def test_measured_columns_are_metrics_of_their_own_name():
    part = counted("a", M1, M2, M7).assign(auc=[0.75, 1, np.nan])
    row = one_cell({"a": "finished"}, part, metric="auc")
    assert (row["ours"], row["cases"]) == (0.875, 2)
    with pytest.raises(ValueError, match="auc cannot be pooled from per-case values"):
        one_cell({"a": "finished"}, part, metric="auc", aggregation="pooled")
    with pytest.raises(ValueError, match="f1 cannot be pooled from per-case values"):
        one_cell({"a": "finished"}, counted("a", M1).assign(dsc=[0.5]), metric="f1", aggregation="pooled")


def test_a_seed_of_a_point_is_a_point_of_its_own():
    cells, runs, results = small(seeds=(3, 5))
    point = next(iter(collect(cells, runs, results).values()))
    assert (point.seeds, len(point.runs)) == ((3, 5), 2)
    alone = point.seed(1)
    assert (alone.seeds, alone.runs) == ((5,), point.runs[1:])
    assert {array.shape[0] for array in alone.measured.values()} == {1}


def test_rows_and_reference_can_be_arguments():
    cells, runs, results = small()
    named = [f"gamma=0.{i + 1}" for i in range(6)]
    for frame in (cells, runs):
        frame["arguments"] = frame["loss"].map(dict(zip(LOSSES, named, strict=True)))
        frame["loss"] = "adaptive_log"
    settings = TableSettings("table2", reference="gamma=0.6", rows=("arguments",), blocks=("dataset", "metric"))
    table = long(cells, runs, results, PUBLISHED.iloc[:0], settings).query("metric == 'jaccard'")
    assert table["arguments"].tolist() == named
    assert table["p_raw"].notna().tolist() == [True] * 5 + [False]
    assert table["rank"].tolist() == [6, 5, 4, 3, 2, 1]
    assert set(table["verdict"]) == {"no_reference"}


def test_without_one_reference_nothing_is_tested():
    cells, runs, results = small()
    settings = TableSettings("t", reference="unified_focal_asymmetric")
    assert long(cells, runs, results, settings=settings)["p_raw"].isna().all()


SPOILED = [  # what is done to cells, runs, results; sentence
    pytest.param(lambda c, r, v: (c.drop(columns="data"), r, v), "grid lacks the column 'data'", id="grid"),
    pytest.param(lambda c, r, v: (c, r.drop(columns="seed"), v), "runs lacks the column 'seed'", id="runs"),
    pytest.param(lambda c, r, v: (c, r, v.drop(columns="group")), "results lacks the column 'group'", id="results"),
    pytest.param(lambda c, r, v: (c, r.assign(state="done"), v), "unknown state 'done'", id="state"),
    pytest.param(lambda c, r, v: (c, r, v[v["run"] != r["run"][0]]), "is finished but has no rows", id="no rows"),
    pytest.param(lambda c, r, v: (c, r, v.iloc[1:]), "differ in '0'; evaluate all runs", id="a case is missing"),
    pytest.param(lambda c, r, v: (c, r, pd.concat([v, v.iloc[:1]])), "has 13 rows in the results", id="a case twice"),
    pytest.param(
        lambda c, r, v: (c.assign(**{"class": "lesion"}), r, v), "no class 'lesion', only foreground", id="class"
    ),
    pytest.param(
        lambda c, r, v: (c.assign(metric="dice"), r, v.drop_duplicates()), "share one place|'dice' is", id="metric"
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), SPOILED)
def test_tables_that_do_not_fit_are_refused(spoil, sentence):
    with pytest.raises(ValueError, match=sentence):
        long(*spoil(*small()))


def test_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="aggregation must be case or pooled, got 'keras_batch'"):
        TableSettings("t", aggregation="keras_batch")
