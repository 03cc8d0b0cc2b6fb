"""Verdicts of cells, blocks and tables, from the worked examples."""

import itertools

import numpy as np
import pandas as pd
import pytest

from rareseg.evaluation import block_verdicts, cell_verdict, table_verdict, winner

CELL = {
    "published_text": "82.84",
    "unit": "percent",
    "published": 0.8284,
    "published_uncertainty": np.nan,
    "note": "",
    "ours": 0.8310,
    "low": 0.8202,
    "high": 0.8411,
    "cases": 519,
    "run": "isic2018-unet-dice-s0-0",
    "data": "real",
    "protocol": "paper",
}
UNFINISHED = {"ours": np.nan, "low": np.nan, "high": np.nan, "cases": pd.NA}
FULL = {"published_text": "0.803", "unit": "fraction", "published": 0.803, "published_uncertainty": 0.006}
TUMOUR = {
    "published_text": "0.634",
    "unit": "fraction",
    "published": 0.634,
    "published_uncertainty": 0.079,
    "cases": 41,
}


def measured(ours, low, high):
    return {"ours": ours, "low": low, "high": high}


CELLS = [  # what differs from CELL, verdict
    pytest.param({}, "match", id="in the interval"),
    pytest.param(measured(0.8450, 0.8360, 0.8540), "close", id="within the margin"),
    pytest.param(measured(0.8600, 0.8500, 0.8700), "higher", id="above"),
    pytest.param(measured(0.7900, 0.7800, 0.8000), "lower", id="below"),
    pytest.param(FULL | measured(0.770, 0.745, 0.798), "overlap", id="overlap DRIVE"),
    pytest.param(TUMOUR | measured(0.500, 0.410, 0.590), "overlap", id="overlap tumour"),
    pytest.param(TUMOUR | measured(0.50, 0.38, 0.62), "imprecise", id="wide interval"),
    pytest.param({"cases": 8}, "imprecise", id="few cases"),
    pytest.param({"cases": 0, "ours": np.nan, "low": np.nan, "high": np.nan}, "imprecise", id="no case defined"),
    pytest.param({"low": np.nan, "high": np.nan}, "imprecise", id="no interval"),
    pytest.param({"published": np.nan, "published_text": "", "data": "phantom"}, "no_reference", id="empty"),
    pytest.param({"data": "phantom", "ours": 0.8284}, "not_real", id="phantom though equal"),
    pytest.param({"data": "subset"}, "not_real", id="subset"),
    pytest.param({"protocol": "other"}, "other_protocol", id="protocol"),
    pytest.param({"note": "best;flag=specificity_implausible"}, "flagged", id="flagged"),
    pytest.param({"note": "flag=outlier (9.07 below)"}, "match", id="a flag that does not matter"),
    pytest.param(UNFINISHED, "failed", id="failed"),
    pytest.param(UNFINISHED | {"run": ""}, "not_run", id="not run"),
    pytest.param(UNFINISHED | {"run": "", "data": "phantom"}, "not_run", id="not run on phantoms"),
    pytest.param(measured(0.83, 0.82845, 0.84), "match", id="half a digit below"),
    pytest.param(measured(0.83, 0.82846, 0.84), "close", id="more than half a digit below"),
    pytest.param(measured(0.8484, 0.84, 0.86), "close", id="exactly the margin"),
    pytest.param(measured(0.70, 0.60, 0.80), "lower", id="exactly as wide as allowed"),
]


@pytest.mark.parametrize(("change", "verdict"), CELLS)
def test_the_first_rule_that_applies_gives_the_verdict(change, verdict):
    assert cell_verdict(CELL | change) == verdict


def test_the_margin_is_a_setting():
    assert cell_verdict(CELL | measured(0.8450, 0.8360, 0.8540), margin=0.01) == "higher"


LOSSES = ("jaccard", "dice", "tversky", "focal")


def block(ours, published, **columns):
    """Rows of one block as they stand in table_long."""
    frame = pd.DataFrame({"loss": LOSSES[: len(ours)], "ours": ours, "published": published})
    frame = frame.assign(dataset="isic2018", network="unet", metric="jaccard", data="real", note="", **{"class": "all"})
    for rank, value in (("rank", "ours"), ("published_rank", "published")):
        frame[rank] = frame[value].rank(ascending=False, method="min").astype("Int64")
    return frame.assign(**columns)


def all_pairs(p):
    a, b = zip(*itertools.combinations(LOSSES, 2), strict=True)
    return pd.DataFrame({"block": "isic2018/unet/jaccard/all", "loss_a": a, "loss_b": b, "p_signed_rank_holm": p})


BLOCKS = [  # ours, published, changed columns, p of all pairs, winner, order
    pytest.param((1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4), {}, 0.01, "same", "agrees", id="same"),
    pytest.param((1, 2, 4, 3), (0.1, 0.2, 0.3, 0.4), {}, 0.05, "tied", "unclear", id="tied"),
    pytest.param((1, 2, 4, 3), (0.1, 0.2, 0.3, 0.4), {}, 0.049, "different", "unclear", id="different"),
    pytest.param((1, 2, 4, 3), (0.1, 0.2, 0.3, 0.4), {}, np.nan, "undecided", "unclear", id="no p"),
    pytest.param((1, 2, 4, 3), (0.1, 0.2, 0.3, 0.4), {"class": "organ"}, 0.01, "undecided", "unclear", id="no test"),
    pytest.param((1, 2, 4, 3), (0.1, 0.2, 0.3, 0.3), {}, 0.01, "same", "unclear", id="one of two published bests"),
    pytest.param((4, 3, 2, 1), (0.1, 0.2, 0.3, 0.4), {}, 0.01, "different", "opposed", id="opposed"),
    pytest.param((1, 2, 3, 4), (0.1, 0.2, np.nan, 0.4), {}, 0.01, "undecided", "undecided", id="no reference"),
    pytest.param((1, np.nan, 3, 4), (0.1, 0.2, 0.3, 0.4), {}, 0.01, "undecided", "undecided", id="not run"),
    pytest.param((1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4), {"data": "phantom"}, 0.01, "undecided", "undecided", id="phantom"),
    pytest.param((1, 2, 3), (0.1, 0.2, 0.3), {}, 0.01, "same", "undecided", id="three losses"),
    pytest.param((1,), (0.1,), {}, 0.01, "none", "undecided", id="one row"),
]


@pytest.mark.parametrize(("ours", "published", "columns", "p", "expected_winner", "expected_order"), BLOCKS)
def test_winner_and_order_of_a_block(ours, published, columns, p, expected_winner, expected_order):
    rows = block(ours, published, **columns)
    assert winner(rows, all_pairs(p)) == expected_winner
    assert block_verdicts(rows, all_pairs(p))["order"].item() == expected_order


def test_every_block_is_judged_once_and_in_order():
    table = pd.concat([block((1, 2, 3, 4), (1, 2, 3, 4), dataset="drive"), block((1, 2, 4, 3), (4, 2, 1, 4))])
    judged = block_verdicts(table, all_pairs(0.5))
    assert judged["block"].tolist() == ["drive/unet/jaccard/all", "isic2018/unet/jaccard/all"]
    assert judged["winner"].tolist() == ["same", "tied"]
    assert judged["best"].tolist() == ["focal", "tversky"]
    assert judged["published_best"].tolist() == ["focal", "jaccard;focal"]
    assert judged["order"].tolist() == ["agrees", "unclear"]
    assert judged["tau"].tolist() == [1, pytest.approx(-0.547723, abs=1e-6)]
    assert judged["spearman"].tolist() == [pytest.approx(1), pytest.approx(-0.632456, abs=1e-6)]


def test_rows_and_blocks_can_be_other_columns():
    rows = block((1, 2, 3), (1, 2, 3)).assign(loss="adaptive_log", arguments=["gamma=0.1", "gamma=0.2", "gamma=0.3"])
    judged = block_verdicts(rows, all_pairs(0.5), rows=("arguments",), blocks=("dataset", "metric"))
    assert judged[["block", "best"]].iloc[0].tolist() == ["isic2018/jaccard", "gamma=0.3"]


def table(**verdicts):
    """A table with so many cells of each verdict; cells without a reference have no published value."""
    cells = [name for name, number in verdicts.items() for _ in range(number)]
    flags = ["flag=jaccard_above_recall" if name == "flagged" else "" for name in cells]
    published = [np.nan if name == "no_reference" else 0.8 for name in cells]
    return pd.DataFrame({"verdict": cells, "note": flags, "published": published})


def judged(winners="", orders=""):
    words = {"s": "same", "t": "tied", "d": "different", "u": "undecided", "n": "none"}
    return pd.DataFrame(
        {
            "winner": [words[letter] for letter in winners],
            "order": [
                {"a": "agrees", "o": "opposed", "-": "unclear"}[letter] for letter in orders.ljust(len(winners), "-")
            ],
        }
    )


TABLES = [  # cells by verdict, winners, orders, verdict
    pytest.param({"match": 3, "no_reference": 4}, "ss", "", "undecided", id="too few references"),
    pytest.param({"match": 3, "no_reference": 3}, "ss", "", "reproduced", id="half of the references"),
    pytest.param({"match": 2, "not_run": 3}, "ss", "", "undecided", id="too few comparable"),
    pytest.param({"match": 2, "not_run": 2, "flagged": 6}, "ss", "", "reproduced", id="flagged cells are no gap"),
    pytest.param({"flagged": 3}, "", "", "undecided", id="nothing comparable"),
    pytest.param({"not_real": 9}, "uu", "", "undecided", id="phantoms"),
    pytest.param({"match": 2, "overlap": 1, "close": 1, "higher": 1}, "sd", "aa", "reproduced", id="four of five"),
    pytest.param({"match": 4, "lower": 1}, "", "", "reproduced", id="no winners to decide"),
    pytest.param({"match": 4, "lower": 1}, "un", "", "reproduced", id="no winner decided"),
    pytest.param({"match": 4, "lower": 1}, "sdd", "", "partly reproduced", id="other winners"),
    pytest.param({"match": 4, "lower": 1}, "ss", "o", "partly reproduced", id="one opposed"),
    pytest.param({"match": 79, "lower": 21}, "s", "", "partly reproduced", id="79 percent"),
    pytest.param({"match": 1, "higher": 1}, "dd", "oo", "partly reproduced", id="half agree"),
    pytest.param({"match": 4, "higher": 5}, "sd", "", "not reproduced", id="four of nine agree"),
    pytest.param({"match": 1, "higher": 2}, "std", "", "partly reproduced", id="winners alone"),
    pytest.param({"match": 1, "higher": 2}, "sd", "", "not reproduced", id="half of the winners alone"),
    pytest.param({"match": 1, "higher": 2}, "sssdd", "", "not reproduced", id="three of five winners alone"),
    pytest.param({"match": 1, "higher": 2}, "sss", "o", "not reproduced", id="winners but opposed"),
    pytest.param({"match": 1, "higher": 2}, "uu", "", "not reproduced", id="nothing for it"),
]


@pytest.mark.parametrize(("cells", "winners", "orders", "verdict"), TABLES)
def test_verdict_of_a_table(cells, winners, orders, verdict):
    assert table_verdict(table(**cells), judged(winners, orders)).verdict == verdict


def test_the_numbers_behind_a_verdict():
    cells = table(match=2, close=1, lower=1, flagged=1, no_reference=2)
    assert table_verdict(cells, judged("stdun", "ao"))[1:] == (7, 5, 4, 3, 3, 2, 1)
