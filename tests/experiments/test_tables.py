import io
import shutil
import subprocess
from importlib.resources import files

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from rareseg.evaluation import compare
from rareseg.experiments import tables
from rareseg.experiments.layout import data_of, grid
from rareseg.experiments.markdown import escaped

TABLES = ["table1", "table2", "table3", "table4", "ufl_table2", "ufl_table3", "ufl_table4", "ufl_table5", "ufl_table6"]
HEADING = {
    "title": "Table 3 of Kaul et al.",
    "verdict": "undecided: 0 of 108 cells comparable",
    "notes": ["DRIVE: a leak_of the split & more, 100 %."],
    "hardware": "2 cores, 8 GB",
    "backend": "tensorflow 2.21",
}


def published(table):
    return pd.read_csv(str(files("rareseg.published") / f"{table}.csv"), dtype=str, keep_default_na=False)


def long_frame(table="table3", data="phantom"):
    """Made-up results beside the published ones: the n-th cell of the file has 0.5 + n / 1000."""
    cells = published(table)
    ours = cells[["dataset", "network", "loss", "metric", "class"]].assign(
        arguments=[
            ";".join(part for part in note.split(";") if part[:4] in ("epsi", "omeg", "gamm")) for note in cells["note"]
        ],
        ours=[0.5 + place / 1000 for place in range(len(cells))],
        table=table,
        seed_sd=float("nan"),
        p_raw=0.5,
        p_adjusted=0.5,
        marker="",
        seed="0",
        run="a",
        data=data,
        protocol="other",
    )
    ours = ours.assign(low=ours["ours"] - 0.01, high=ours["ours"] + 0.02)
    ours["cases"] = pd.array([12] * len(ours), dtype="Int64")
    rows, blocks = ["loss", "arguments"], ["dataset", "network", "metric", "class"]
    return compare(ours, cells, rows=rows, blocks=blocks)


def cell_of(frame, **keys):
    """Return the mask of one cell."""
    return (frame[list(keys)] == pd.Series(keys)).all(axis=1)


def changed(frame, values, **keys):
    """Return the frame with other values in the cells that the keys name."""
    frame = frame.copy()
    for column, value in values.items():
        frame.loc[cell_of(frame, **keys), column] = value
    return frame


def printed(renderable, width=120):
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


LAYOUTS = [  # table, keys of the rows, keys of the columns, rows, columns
    pytest.param("table1", ["epsilon"], ["omega"], 4, 6, id="two swept arguments are a matrix"),
    pytest.param("table2", ["gamma"], ["metric"], 6, 1, id="one swept argument"),
    pytest.param("table3", ["network", "loss"], ["dataset", "metric"], 12, 9, id="ALL table 3"),
    pytest.param("table4", ["network", "loss"], ["metric"], 3, 3, id="one data set"),
    pytest.param("ufl_table2", ["loss"], ["metric"], 8, 4, id="one network"),
    pytest.param("ufl_table6", ["loss"], ["metric", "class"], 8, 8, id="two classes"),
]


@pytest.mark.parametrize(("table", "side", "top", "rows", "columns"), LAYOUTS)
def test_layout_follows_from_what_varies(table, side, top, rows, columns):
    layout = grid(long_frame(table))
    assert (layout.side, layout.top) == (side, top)
    assert (len(layout.rows), len(layout.columns)) == (rows, columns)


def test_a_table_about_data_sets_has_a_row_for_each():
    cells = published("ufl_table1")
    frame = cells.assign(arguments="", ours=1.0, published=1.0, verdict="match", unit="count")
    layout = grid(frame)
    assert layout.side == ["dataset"]
    assert ("kits19",) in layout.rows


def test_columns_come_in_the_order_of_the_paper():
    drive = [head[1] for head in grid(long_frame()).columns if head[0] == "drive"]
    assert drive == ["f1", "recall", "jaccard"]


def test_columns_of_a_data_set_stand_together_in_any_order_of_rows():
    frame = long_frame().sort_values("metric", kind="stable", ignore_index=True)
    datasets = [head[0] for head in grid(frame).columns]
    assert datasets == ["drive"] * 3 + ["isic2018"] * 3 + ["dsb2018"] * 3


def test_two_rows_for_one_cell_are_refused_by_name():
    frame = long_frame()
    with pytest.raises(ValueError, match="two rows for unet, jaccard, isic2018, recall"):
        grid(pd.concat([frame, frame[:1]]))


def test_wide_has_every_number_in_its_cell():
    frame = changed(long_frame(), {"marker": "**", "seed_sd": 0.0123}, dataset="drive", network="unet", loss="dice")
    wide = tables.wide(frame).set_index(["network", "loss"])
    place = published("table3")
    number = place.index[cell_of(place, dataset="dsb2018", network="focusnet", loss="combo", metric="recall")][0]
    ours = 50 + number / 10
    assert wide.loc[("focusnet", "combo"), "dsb2018 recall ours"] == f"{ours:.2f} [{ours - 1:.2f}, {ours + 2:.2f}]"
    assert wide.loc[("focusnet", "combo"), "dsb2018 recall published"] == "80.65"
    assert wide.loc[("unet", "dice"), "drive recall published"] == "74.10"
    assert wide.loc[("unet", "dice"), "drive recall ours"].endswith("] sd 1.23 **")
    assert set(wide["data"]) == {"phantom"}


def test_fractions_are_printed_as_fractions():
    wide = tables.wide(long_frame("ufl_table5")).set_index("loss")
    assert wide.loc["cross_entropy", "dsc ours"] == "0.500 [0.490, 0.520]"
    assert wide.loc["unified_focal_asymmetric", "dsc published"] == "0.787"


def test_markdown_puts_best_marker_and_verdict_into_the_cell():
    keys = {"dataset": "isic2018", "network": "focusnet", "loss": "adaptive_log", "metric": "jaccard"}
    frame = changed(long_frame(data="real"), {"marker": "***", "verdict": "close"}, **keys)
    text = tables.markdown(frame, HEADING)
    (line,) = [line for line in text.splitlines() if line.startswith("| FocusNet | Adaptive log |")]
    assert line.split(" | ")[4] == r"**60.10**\*\*\* [59.10, 62.10]<br>paper **82.84**<br>close"
    (worse,) = [line for line in text.splitlines() if line.startswith("| FocusNet | Dice |")]
    assert "**" not in worse


def test_markdown_says_what_the_numbers_are():
    text = tables.markdown(long_frame(), HEADING)
    for expected in ("phantom", "no reproduction", "| Hardware | 2 cores, 8 GB |", "| Seeds | 0 |", "ISIC 2018 12"):
        assert expected in text
    assert "108 cells: 108 not real." in text
    assert r"leak\_of" in text


def test_real_results_are_not_called_phantoms():
    frame = long_frame(data="real")
    assert "phantom" not in tables.markdown(frame, HEADING) + tables.latex(frame, HEADING)


def test_a_missing_run_is_a_dash_and_a_word():
    missing = {"ours": float("nan"), "low": float("nan"), "high": float("nan"), "verdict": "not_run", "rank": pd.NA}
    frame = changed(long_frame(), missing, dataset="drive", network="unet", loss="combo", metric="f1")
    (line,) = [line for line in tables.markdown(frame, HEADING).splitlines() if line.startswith("| U-Net | Combo |")]
    assert line.split(" | ")[8] == "–<br>paper 79.26<br>not run"  # noqa: RUF001


@pytest.fixture
def baselines():
    places = published("table3")[["dataset", "metric", "class"]].drop_duplicates()
    values = {"all background": 0.0, "best threshold": 0.25}
    return pd.concat([places.assign(baseline=baseline, ours=value) for baseline, value in values.items()])


def test_baselines_stand_below_the_losses(baselines):
    rows = [
        line for line in tables.markdown(long_frame(), HEADING, baselines).splitlines() if line.startswith("| base")
    ]
    assert rows[0].startswith("| baseline | all background | 0.00 |")
    assert rows[1].count("25.00") == 9


def test_a_baseline_fills_every_column_of_a_sweep():
    frame = long_frame("table2")
    baseline = frame[:1][["dataset", "metric", "class"]].assign(baseline="best threshold", ours=0.5)
    assert "| best threshold | 50.00 |" in tables.markdown(frame, HEADING, baseline)


def test_where_rows_are_data_sets_each_has_baselines_of_its_own():
    table = long_frame("ufl_table5")
    one = table[cell_of(table, loss="unified_focal_asymmetric", metric="dsc")]
    frame = pd.concat([one, one.assign(dataset="drive")])
    thresholds = frame[["dataset", "metric", "class"]].assign(baseline="best threshold", ours=[0.2, 0.7])
    text = tables.markdown(frame, HEADING, thresholds)
    assert "| best threshold, BraTS20 | 0.200 |" in text
    assert "| best threshold, DRIVE | 0.700 |" in text
    (block,) = [part for part in tables.console(frame, HEADING, thresholds).renderables if isinstance(part, Table)]
    assert block.title == "\nevery cell: not real"  # names neither of the two


RENDERED = [tables.markdown, tables.latex, lambda *given: printed(tables.console(*given))]


def own_frame():
    """Return a table of one's own, with one run that failed."""
    nothing = {"published": float("nan"), "published_text": "", "verdict": "no_reference", "protocol": "paper"}
    frame = long_frame("ufl_table2", "real").assign(**nothing, published_rank=pd.NA)
    missing = {"ours": float("nan"), "low": float("nan"), "high": float("nan"), "verdict": "failed"}
    return changed(frame, missing, loss="dice")


@pytest.mark.parametrize("render", RENDERED)
def test_a_table_of_ones_own_speaks_of_no_paper(render):
    text = render(own_frame(), {"title": "Mine"}).replace("a4paper", "A4")
    for word in ("paper", "published", "reference", "verdict"):
        assert word not in text
    assert "32 cells: 4 failed." in text
    assert "[0.49" in text.replace("\n", "")


def test_wide_text_of_ones_own_has_no_verdict_but_of_what_is_missing():
    found = tables.wide(own_frame()).set_index("loss")["dsc verdict"]
    assert found["dice"] == "failed"
    assert set(found.drop("dice")) == {""}


def test_several_numbers_of_seeds_are_told_as_such():
    frame = changed(long_frame(), {"seed": "0-2"}, network="unet")
    assert "| Seeds | 0-2 or 0, by row |" in tables.markdown(frame, HEADING)


def test_no_sign_means_anything_in_markdown():
    assert escaped("[a](b) ~~c~~ &amp; *d*") == r"\[a\](b) \~\~c\~\~ \&amp; \*d\*"


def test_latex_escapes_and_closes_what_it_opens(baselines):
    text = tables.latex(long_frame(), HEADING, baselines)
    assert text.startswith("% Run pdflatex twice")
    assert r"leak\_of the split \& more, 100 \%." in text
    assert text.count("{") == text.count("}")
    for environment in ("document", "longtable"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if "&" in line]
    assert {line.count("&") for line in lines} == {10}  # two heads and nine cells
    assert r"\textbf{60.10}" in body


def test_latex_heads_span_their_columns():
    text = tables.latex(long_frame(), HEADING)
    assert r" &  & \multicolumn{3}{c}{ISIC 2018} & \multicolumn{3}{c}{DSB 2018}" in text
    assert r"\cmidrule(lr){3-5} \cmidrule(lr){6-8} \cmidrule(lr){9-11}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("table", ["table1", "table3", "ufl_table6"])
def test_latex_compiles_alone(tmp_path, table):
    (tmp_path / "table.tex").write_text(tables.latex(long_frame(table), HEADING), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:]


def test_console_shows_ours_beside_the_papers_in_120_columns(baselines):
    frame = changed(long_frame(), {"marker": "***"}, network="unet")
    text = printed(tables.console(frame, HEADING, baselines), width=200)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    for ours, paper in zip(frame["ours"], frame["published_text"], strict=True):
        assert f"{ours * 100:.2f}" in text
        assert paper in text
    titles = [line for line in text.splitlines() if line.startswith(("ISIC 2018", "DSB 2018", "DRIVE"))]
    assert len(titles) == 3
    assert all("phantom" in title and "every cell: not real" in title for title in titles)


def test_console_shows_verdicts_where_they_differ():
    frame = changed(long_frame(), {"verdict": "other_protocol"}, dataset="drive", loss="combo")
    text = printed(tables.console(frame, HEADING))
    assert text.count("other protocol") == 6 + 1  # cells, and the count below
    assert max(map(len, text.splitlines())) <= 120


def test_console_says_when_nothing_is_marked_phantom():
    assert "phantom" not in printed(tables.console(long_frame(data="real"), HEADING))


@pytest.mark.parametrize("table", TABLES)
def test_every_published_table_can_be_shown(table):
    frame = long_frame(table)
    texts = tables.markdown(frame, HEADING), tables.latex(frame, HEADING), printed(tables.console(frame, HEADING))
    for value in filter(None, frame["published_text"]):
        assert all(value in text for text in texts)


@pytest.mark.parametrize("render", RENDERED)
def test_the_same_frame_gives_the_same_text_and_stays_as_it_was(render):
    frame = long_frame()
    before = frame.copy()
    assert render(frame, HEADING) == render(frame, HEADING)
    pd.testing.assert_frame_equal(frame, before)


def test_verdicts_are_counted_in_a_fixed_order():
    frame = changed(long_frame(), {"verdict": "match"}, dataset="drive", loss="combo")
    assert tables.verdict_counts(frame) == {"match": 6, "not_real": 102}


KINDS = [  # data of the cells, what they hold, data of the table
    ("real subset", [0.5, 0.5], "subset"),
    ("subset phantom", [0.5, 0.5], "phantom"),
    ("real", [0.5], "real"),
    ("real subset", [0.5, None], "real"),  # what was never run says nothing of what was
    ("real subset", [None, None], "subset"),
]


@pytest.mark.parametrize(("kinds", "values", "expected"), KINDS)
def test_data_of_a_table_is_its_least_real_part_that_was_measured(kinds, values, expected):
    assert data_of(pd.DataFrame({"data": kinds.split(), "ours": values}, dtype=object)) == expected


def test_a_table_whose_only_runs_are_of_whole_data_is_not_called_a_subset():
    frame = long_frame(data="real")
    others = frame["dataset"] != "drive"
    frame.loc[others, "data"] = "subset"
    frame.loc[others, ["ours", "low", "high"]] = float("nan")
    text = tables.markdown(frame, HEADING)
    assert "subset" not in text
    assert "| Data | real, every case that the paper used |" in text
    assert "# Table 3 of Kaul et al.\n" in text
