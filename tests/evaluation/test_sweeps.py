"""Which arguments become the row of a table, and what sweep.csv holds."""

import numpy as np
import pandas as pd
import pytest

from rareseg.evaluation import TableSettings, choose, collect, interval, sweep

KEY = {"dataset": "drive", "network": "unet", "loss": "unified_focal"}
GAMMAS = [f"gamma=0.{step}" for step in (3, 1, 2)]


def points(**more):
    swept = pd.DataFrame({"arguments": GAMMAS}).assign(**KEY)
    return pd.concat([swept, swept[:1].assign(loss="dice", arguments="")], ignore_index=True).assign(
        data="real", **more
    )


def values(**means):
    """Two cases per choice, the means as given by the last digit of gamma."""
    cells = [(f"gamma=0.{name[1:]}", mean + step) for name, mean in means.items() for step in (-0.1, 0.1)]
    return pd.DataFrame(cells, columns=["arguments", "value"]).assign(**KEY)


CHOICES = [  # mean per gamma, number asked for, chosen
    pytest.param({"_1": 0.7, "_2": 0.8, "_3": 0.75}, None, "gamma=0.2", id="best mean"),
    pytest.param({"_1": 0.7, "_2": 0.8, "_3": 0.8}, None, "gamma=0.2", id="ties go to the smaller"),
    pytest.param({"_2": 0.1}, None, "gamma=0.2", id="the only one finished"),
    pytest.param({"_1": np.nan, "_3": 0.1}, None, "gamma=0.3", id="one without a defined case"),
    pytest.param({"_1": 0.7, "_2": 0.8}, 0.1, "gamma=0.1", id="a number"),
]


@pytest.mark.parametrize(("means", "only", "chosen"), CHOICES)
def test_one_choice_per_loss(means, only, chosen):
    found = choose(points(), values(**means), only)
    assert found["arguments"].tolist() == [chosen, ""]
    assert set(found["data"]) == {"real"}


def test_data_sets_are_decided_apart():
    both = pd.concat([points(), points().assign(dataset="bus2017")], ignore_index=True)
    scores = pd.concat([values(_1=0.9, _2=0.8), values(_1=0.8, _2=0.9).assign(dataset="bus2017")])
    assert choose(both, scores)["arguments"].tolist() == ["gamma=0.1", "", "gamma=0.2", ""]


def test_the_smallest_argument_stands_for_a_loss_of_which_nothing_is_finished():
    assert choose(points(), values())["arguments"].tolist() == ["gamma=0.1", ""]


def test_a_number_that_no_choice_has_is_refused():
    with pytest.raises(ValueError, match=r"drive/unet/unified_focal: no one choice .* 0.5, there are gamma=0.3, gamma"):
        choose(points(), values(), 0.5)


def test_sweep_has_every_choice_and_leaves_out_what_is_not_swept():
    grid = points(metric="dsc", protocol="paper", **{"class": "foreground"})
    runs = grid.assign(run=["c", "a", "b", "d"], seed=0, state=["finished", "failed", "finished", "finished"])
    counted = pd.DataFrame({"case": ["x", "y", "z"], "TP": 1, "FP": [0, 1, 2], "FN": 0, "TN": 5, "group": ""})
    results = pd.concat([counted.assign(run=run, **{"class": "foreground"}) for run in "cbd"])
    found = sweep(grid, collect(grid, runs, results), TableSettings("t"))
    assert list(found) == ["block", "loss", "arguments", "ours", "low", "high"]
    assert found["arguments"].tolist() == GAMMAS
    assert set(found["block"]) == {"drive/unet/dsc/foreground"}
    dsc = np.array([1, 2 / 3, 1 / 2])
    assert found["ours"].tolist() == [
        pytest.approx(dsc.mean()),
        pytest.approx(np.nan, nan_ok=True),
        pytest.approx(dsc.mean()),
    ]
    assert tuple(found.loc[0, ["low", "high"]]) == pytest.approx(interval(dsc))
    assert sweep(grid[3:], collect(grid, runs, results), TableSettings("t")).empty
