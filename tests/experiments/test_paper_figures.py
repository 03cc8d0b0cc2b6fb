"""The papers' figures from stored files: copied, drawn, or drawn as missing."""

import pandas as pd
import pytest

from rareseg import evaluation
from rareseg.experiments import main, options, paper_figures


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder with the figures of one table and the sweep of another; no report is made anew."""
    monkeypatch.setattr(paper_figures, "_report", lambda *_: 0)
    folder = tmp_path / "results"
    (folder / "runs").mkdir(parents=True)
    figures = folder / "table3" / "figures"
    figures.mkdir(parents=True)
    for kind in ("svg", "png"):
        (figures / f"roc-isic2018-unet.{kind}").write_text(f"<{kind}>")
    swept = folder / "ufl_table3"
    swept.mkdir()
    block, loss = "drive/unet/dsc/foreground", "unified_focal_asymmetric"
    rows = [(block, loss, f"gamma=0.{step}", 0.8, 0.7, 0.9) for step in range(1, 10)]
    columns = ["block", "loss", "arguments", "ours", "low", "high"]
    (swept / "sweep.csv").write_text(evaluation.to_csv(pd.DataFrame(rows, columns=columns)))
    long = pd.DataFrame(
        {"dataset": "drive", "loss": ["dice", "combo"], "metric": "dsc", "ours": [0.7, None], "data": "phantom"}
    )
    (swept / "table_long.csv").write_text(evaluation.to_csv(long))
    return folder


def test_what_is_stored_is_drawn_and_the_rest_is_missing(results, capsys):
    assert main("figures", ["--results", str(results), "--profile", "demo"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "ALL, Fig. 2a: ROC, ISIC 2018, from table3" in lines["all-2a"]
    assert "missing: scripts/reproduce_ufl_table6.py has not been run" in lines["ufl-6"]
    folder = results / "figures"
    assert (folder / "all-2a.svg").read_text() == "<svg>"
    assert "not run: scripts/reproduce_table3.py" in (folder / "all-2b.svg").read_text()
    assert lines["ufl-3"].endswith("UFL, Fig. 3: DSC over gamma, from ufl_table3")
    swept = (folder / "ufl-3.svg").read_text()
    assert "phantom" in swept
    assert "Combo (not run)" in swept
    assert swept.count(">not run</text>") == 2  # the two other data sets
    names = {*paper_figures.COMPUTED, *(one.name for one in paper_figures.DRAWN), "ufl-3"}
    assert {path.stem for path in folder.iterdir()} == names


def test_two_calls_write_equal_bytes(results):
    arguments = ["--results", str(results), "--profile", "demo"]
    main("figures", arguments)
    first = {path.name: path.read_bytes() for path in (results / "figures").iterdir()}
    main("figures", arguments)
    assert {path.name: path.read_bytes() for path in (results / "figures").iterdir()} == first


def test_computed_figures_come_from_the_clone(results, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(options, "root", lambda: tmp_path / "elsewhere")
    assert main("figures", ["--results", str(results)]) == 0
    assert "left out: family.svg lies in the clone's docs/losses" in capsys.readouterr().out


def test_a_case_goes_to_the_tables_that_have_it(results, monkeypatch, capsys):
    for table, case in (("table3", "a"), ("ufl_table3", "b")):
        (results / table / "splits").mkdir()
        (results / table / "splits" / "set.csv").write_text(f"case,group,part\n{case},{case},test\n")
    asked = []
    monkeypatch.setattr(paper_figures, "_report", lambda table, _, __, case: asked.append((table, case)))
    assert main("figures", ["--results", str(results), "--case", "b"]) == 0
    assert sorted(asked) == [("table3", ""), ("ufl_table3", "b")]
    assert main("figures", ["--results", str(results), "--case", "typo"]) == 2
    assert f"--case typo: no table in {results} has a test case of this name" in capsys.readouterr().err
    assert len(asked) == 2


def test_without_runs_one_sentence_says_what_to_do(tmp_path, capsys):
    assert main("figures", ["--results", str(tmp_path)]) == 2
    assert "holds no runs. Run a table first" in capsys.readouterr().err
