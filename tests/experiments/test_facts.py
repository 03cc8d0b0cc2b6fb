"""UFL's Table 1 from phantoms: what it says is what the files hold."""

from pathlib import Path

import numpy as np
import pytest

from rareseg import datasets
from rareseg.experiments import config, facts, grid, stored

CONFIGS = Path(__file__).parents[2] / "configs"
ASKED = {"kits19": (5, 32), "drive": (8, 48)}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts")
    table = config.read(CONFIGS / "ufl_table1.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RARESEG_CACHE", str(folder / "cache"))
        found, opened = [], {}
        for key, (cases, size) in ASKED.items():
            root = datasets.make_phantoms(key, folder / key, cases=cases, size=size)
            found += facts.facts(key, root, grid.settings_of(table, key))
            opened[key] = datasets.open(key, root)
        yield found, opened


def value(cells, key, metric, name=""):
    return next(one["ours"] for one in cells if (one["dataset"], one["metric"], one["class"]) == (key, metric, name))


def test_counts_sizes_and_shares_are_those_of_the_files(cells):
    found, opened = cells
    for key, dataset in opened.items():
        assert value(found, key, "images") == len(dataset.cases)
        assert sum(value(found, key, part) for part in ("train", "validation", "test")) == len(dataset.cases)
    assert [value(found, "kits19", f"input_size_{axis}") for axis in (1, 2, 3)] == [80, 160, 160]
    slices = np.mean([case.shape[0] for case in opened["kits19"].cases])
    assert value(found, "kits19", "original_size_3") == slices
    tumours = [np.mean(case.read_label() == 2) for case in opened["kits19"].cases]
    assert value(found, "kits19", "foreground", "tumour") == pytest.approx(np.mean(tumours))


def test_they_stand_beside_the_published_ones_and_phantoms_are_not_real(cells):
    published = stored.published("ufl_table1")
    long = facts.table(cells[0], "ufl_table1", published, "paper")
    assert set(long["data"]) == {"phantom"}
    row = long[(long["dataset"] == "kits19") & (long["metric"] == "images")].iloc[0]
    assert (row["published"], row["ours"], row["verdict"]) == (204, 5, "not_real")
    real = facts.table([{**one, "data": "real"} for one in cells[0]], "ufl_table1", published, "paper")
    chosen = real[(real["dataset"] == "kits19") & (real["metric"] == "input_size_1")].iloc[0]
    assert chosen["difference"] == 0
