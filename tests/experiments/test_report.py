"""From stored runs to every file of a table, without training: the runs are written by hand beside phantoms."""

import io
import re
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from rareseg import datasets, evaluation
from rareseg.evaluation.baselines import Threshold
from rareseg.experiments import config, grid, ink, page, pictures, scoring, store, stored
from rareseg.experiments.cases import open_cases, pipeline_settings
from rareseg.experiments.report import Report, _run_row
from rareseg.pipeline import write_prediction

YAML = Path(str(files("rareseg.configs").joinpath("table3.yaml")))
SETTINGS = [
    "grid.dataset=[isic2018]",
    "grid.network=[unet, focusnet]",
    "grid.loss=[dice, combo, focal, adaptive_log]",
    "datasets.isic2018={size: [32, 32], phantom: {cases: 20, size: 48}}",
    "report.reference=adaptive_log",
]
SHIFTS = {"dice": 3, "combo": 2, "adaptive_log": 1}  # pixels by which each loss misses; focal diverged


def written(one, cases):
    """Write a run by hand: predictions are the truth, shifted."""
    one.run.folder.mkdir(parents=True)
    state = {"state": "diverged", "reason": "the loss became <nan> at step 3"}
    if one.point.loss != "focal":
        state = {"state": "finished", "reason": None}
        one.run.weights.touch()
        score(one, cases)
    machine = {"processor": "a processor", "devices": [], "threads": 1, "backend": "tensorflow", "versions": {}}
    record = {"machine": machine, "started": "2026-01-02T03:04:05+00:00", "hours": 0.25, "peak_memory_mib": 1234}
    store.write_json(one.run.folder / "run.json", record | state)
    epochs = pd.DataFrame(
        {"epoch": range(1, 6), "step": range(1, 6), "loss": [0.9, 0.5, 0.3, 0.2, 0.1], "seconds": 1.0}
    )
    epochs = epochs.assign(jaccard=1 - epochs["loss"], dsc=0.5, val_loss=None, val_jaccard=None, val_dsc=None)
    epochs.to_csv(one.run.folder / "history.csv", index=False)


def score(one, cases):
    rows, histogram = [], 0
    for case in cases.parts(one.point.settings)["test"]:
        truth = np.asarray(case.read_label())
        predicted = np.roll(truth, SHIFTS[one.point.loss] + (one.point.network == "unet"), axis=1)
        counted = evaluation.counts(truth, predicted, 2)[1]
        scores = np.where(predicted > 0, 0.9, 0.1)
        histogram = histogram + evaluation.score_histogram(scores, truth)
        rows.append(["test", case.id, case.group, 1, *counted, evaluation.auc(scores, truth)])
        (one.evaluation / "predictions").mkdir(parents=True, exist_ok=True)
        Image.fromarray(predicted.astype(np.uint8)).save(one.evaluation / "predictions" / f"{case.id}.png")
    np.savez_compressed(one.evaluation / "scores.npz", histogram=histogram)
    columns = ["part", "case", "group", "class", "TP", "FP", "FN", "TN", "auc"]
    store.write_rows(one.evaluation / "cases.csv", columns, rows)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report over three finished losses and one that failed, on two networks."""
    folder = tmp_path_factory.mktemp("stored")
    asked = config.read(YAML, "demo", SETTINGS)
    points, opened = grid.points(asked), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARESEG_CACHE", str(folder / "cache"))
        for key in ("isic2018",):
            datasets.make_phantoms(key, folder / "phantoms" / key, cases=20, size=48, seed=0)
            settings = next(point.settings for point in points if point.dataset == key)
            opened[key] = open_cases(key, folder / "phantoms" / key, settings, workers=1)
    due = [store.Due(one, store.Run(folder / "runs" / grid.identity(one, "0", "tensorflow")), True) for one in points]
    for one in due:
        written(one, opened[one.point.dataset])
    again = "uv run scripts/reproduce_table3.py --profile demo"
    return Report(asked, "other", points, due, opened, folder, source=YAML, profile="demo", again=again)


@pytest.fixture(scope="module")
def folder(report):
    """The folder of the table after its files were written."""
    report.write(Console(file=io.StringIO(), width=120))
    return report.folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


FILES = [
    "table_long.csv",
    "table_wide.csv",
    "pairs.csv",
    "sweep.csv",
    "baselines.csv",
    "table.md",
    "table.tex",
    "report.html",
]
FIGURES = [
    *(f"{kind}-{dataset}-{network}" for kind in ("curves", "distributions", "examples", "roc")
      for dataset in ("isic2018",) for network in ("unet", "focusnet")),
    "cells",
]  # fmt: skip


def test_every_file_is_there(folder):
    assert {path.name for path in folder.iterdir()} == {*FILES, "figures"}
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert drawn == {".made-from", *(f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png"))}


def test_the_tables_hold_what_was_stored(folder):
    long = evaluation.from_csv((folder / "table_long.csv").read_text(encoding="utf-8"))
    assert len(long) == 2 * 4 * 3
    assert set(long.loc[long["loss"] == "focal", "verdict"]) == {"failed"}
    assert long.loc[long["loss"] != "focal", "ours"].notna().all()
    jaccard = long[(long["metric"] == "jaccard") & (long["rank"] == 1)]
    assert set(jaccard["loss"]) == {"adaptive_log"}  # shifted least


def test_the_page_is_one_file_without_network_or_inline_style(html):
    assert not re.findall(r"<(?:link|iframe|object|embed)\b|@import|style=|javascript:|\son\w+=", html)
    assert not re.findall(r'(?:src|href)="(?!#|data:|\.\./runs/)[^"]*"', html)
    assert len(html.encode()) < 1_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    for kind, tag in (("style", "style"), ("script", "script")):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        assert f"{kind}-src 'sha256-{page._hash(text)}'" in policy
    assert policy.startswith("default-src 'none'")


def test_the_page_says_what_it_is_and_what_failed(html):
    text = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    for expected in (
        "phantom data, no reproduction",
        "Verdict: undecided",
        "0 of 24 cells comparable",
        "Claims",
        "was measured on phantom data",
        "fails (highest in 5 of 6",
        "the loss became &lt;nan&gt; at step 3",
        "Friedman&#39;s test over blocks needs 3 losses and 5 complete blocks; there are 4 and 0.",
        "chosen: there is no validation set",
        "uv run scripts/reproduce_table3.py --profile demo",
        "--report-only",
        "1,234",
        "Arithmetic",
        "float32",
        "Adaptive log has the best Jaccard",
        "All test pixels pooled, by 65,536 steps of their probability: areas are exact to 0.",
    ):
        assert expected in text, expected


def test_links_of_the_page_lead_to_label_maps(html, folder):
    links = re.findall(r'href="(\.\./runs/[^"]+)"', html)
    assert len(links) == 2 * 4 * 3  # blocks, test cases, finished losses
    assert all((folder / link).is_file() for link in links)


def test_headings_and_ids_are_where_the_contents_say(html):
    anchors = re.findall(r'<a href="#([^"]+)"', html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert set(anchors) <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.usefixtures("html")
def test_a_second_report_is_equal_byte_for_byte_and_draws_nothing(report, folder, monkeypatch):
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(ink, "write", None)  # would fail if it were called
    report.write(Console(file=io.StringIO(), width=120))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == kept


CHANGES = [  # section, what is changed in it: the numbers of the table stay
    pytest.param("report", {"metric": "recall"}, id="metric"),
    pytest.param("compare", {"rows": ["network", "loss"]}, id="rows"),
    pytest.param(None, {"title": "Another title"}, id="title"),
]


def draw(one, folder, draw):
    """Bring the only figure of a table up to date."""
    one.folder, one._comparison, one._blocks = folder, [], []
    one._overview = [pictures.Picture("cells", "", draw)]
    one.draw()


@pytest.mark.parametrize(("section", "values"), CHANGES)
def test_figures_are_drawn_again_when_what_they_show_changes(report, tmp_path, section, values):
    changed = values if section is None else {section: getattr(report.config, section).model_copy(update=values)}
    made, drawn = report.tables(), []
    for asked in (report.config, report.config, report.config.model_copy(update=changed)):
        draw(replace(report, config=asked).pictures(made), tmp_path, drawn.append)
    assert len(drawn) == 2


def test_figures_that_a_kill_left_half_drawn_are_drawn_again(report, tmp_path):
    made, drawn = report.tables(), []
    draw(report.pictures(made), tmp_path, drawn.append)
    with pytest.raises(ZeroDivisionError):
        draw(replace(report, case="another").pictures(made), tmp_path, lambda _: 1 / 0)
    draw(report.pictures(made), tmp_path, drawn.append)
    assert len(drawn) == 2


@pytest.mark.parametrize("part", ["none", "train"])
def test_where_no_run_predicted_the_case_that_was_asked_for_the_median_one_is_shown(report, tmp_path, part):
    case = "of another data set"
    if part == "train":  # a case that no run predicted
        case = report.opened["isic2018"].parts(report.points[0].settings)["train"][0].id
    one = replace(report, case=case).pictures(report.tables())
    example = next(picture for picture in one._blocks[0][1] if picture.name.startswith("examples"))
    assert example.caption.startswith("The case with the median")
    example.draw(tmp_path / example.name)
    (drawn,) = tmp_path.glob("examples-*.svg")
    assert drawn.read_text(encoding="utf-8").count(">not run<") == 1  # the loss that diverged


def test_a_finished_run_whose_last_record_was_lost_is_told_as_finished(report, tmp_path):
    one = store.Due(report.points[0], store.Run(tmp_path / "run"), True)
    one.run.update(state="running")
    assert _run_row(one)["state"] == "running"
    one.evaluation.mkdir()
    for path in (one.run.weights, one.evaluation / "cases.csv"):
        path.touch()
    assert _run_row(one)["state"] == "finished"


def test_the_example_is_the_median_case_over_losses(report):
    runs = {
        one.point.loss: one
        for one in report.due
        if one.finished() and (one.point.dataset, one.point.network) == ("isic2018", "unet")
    }
    dsc = pd.concat(
        [pd.read_csv(one.evaluation / "cases.csv", dtype={"case": str}).set_index("case") for one in runs.values()]
    ).assign(dsc=lambda rows: 2 * rows["TP"] / (2 * rows["TP"] + rows["FP"] + rows["FN"]))["dsc"]
    means = dsc.groupby(level=0).mean().sort_values(kind="stable")
    assert pictures.median_case(runs) == means.index[(len(means) - 1) // 2]


def test_worst_cases_come_first(report):
    made = report.tables()
    section = report.pictures(made).sections[0]
    worst = report._worst(section)
    assert [row["value"] for row in worst] == sorted(row["value"] for row in worst)
    assert {label for row in worst for label, _ in row["links"]} == {"Dice", "Combo", "Adaptive log"}


def test_more_rows_than_lines_can_be_told_apart_leave_out_lines_alone_and_say_so(report, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_ROWS", 3)
    made = report.tables()
    drawn = report.pictures(made)
    assert [[one.name.split("-")[0] for one in kept] for _, kept in drawn._blocks] == 2 * [
        ["distributions", "examples"]
    ]
    content = report._page(made, report._heading(made), report._baselines(), drawn)
    assert all(section["worst"] for section in content["sections"])
    assert page.render(content).count("are left out: 3 lines can be told apart, and there are 4.") == 2


def test_worst_cases_of_several_classes_name_the_class(report, monkeypatch):
    made = report.tables()
    kidney = made.values.assign(**{"class": "kidney"})
    monkeypatch.setattr(pictures.Pictures, "_rocs", lambda *_: ())
    content = report._page(
        made, report._heading(made), report._baselines(), report.pictures(made._replace(values=kidney))
    )
    assert "with the worst mean Jaccard of Kidney over losses" in page.render(content)


def test_a_comparison_of_ones_own_speaks_of_no_paper(report):
    own = replace(report, config=report.config.model_copy(update={"table": "mine", "title": "Mine"}), source=None)
    own = replace(own, again="uv run scripts/compare_losses.py mine.yaml", profile="demo")
    own.write(Console(file=io.StringIO(), width=120))
    for file in (*own.folder.glob("table.*"), own.folder / "report.html", *own.folder.glob("figures/*.svg")):
        text = file.read_text(encoding="utf-8").replace("a4paper", "A4")
        text = re.sub("<style>.*?</style>", "", text, flags=re.DOTALL)
        found = re.findall(r".{0,40}(?:[Pp]aper|[Pp]ublished|no.reference).{0,40}", text)
        assert not found, (file.name, found)
    shutil.rmtree(own.folder)


def test_runs_that_points_share_are_listed_and_charged_once(report):
    twice = replace(report, due=[*report.due, *report.due])
    made, shown = report.tables(), []
    for one in (report, twice):
        heading = one._heading(made)
        content = one._page(made, heading, one._baselines(), one.pictures(made))
        shown.append([heading["hours"], heading["notes"], content["runs"], content["failed"]])
    assert shown[0] == shown[1]


def test_links_to_label_maps_of_any_name_are_links(report, monkeypatch):
    monkeypatch.setattr(stored, "label_map", lambda one, _: one.evaluation / "predictions" / "a b#1?.png")
    (link, *_) = report._worst(report.pictures(report.tables()).sections[0])[0]["links"]
    assert link[1].endswith("/predictions/a%20b%231%3F.png")


def test_a_published_value_that_a_user_fills_in_is_compared(report, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # as in a clone beside an installed package
    mine = tmp_path / "results" / "published" / "table3.csv"
    mine.parent.mkdir(parents=True)
    frame = pd.read_csv(str(files("rareseg.published").joinpath("table3.csv")), dtype=str, keep_default_na=False)
    cell = (frame[["dataset", "network", "loss", "metric"]] == ["isic2018", "unet", "dice", "recall"]).all(axis=1)
    found = {}
    for filled in ("", "51.20"):
        frame.assign(value=frame["value"].mask(cell, filled)).to_csv(mine, index=False)
        found[filled] = report.tables().long.set_index(["network", "loss", "metric"]).loc[("unet", "dice", "recall")]
    assert found[""]["verdict"] == "no_reference"
    assert (found["51.20"]["verdict"], found["51.20"]["published"]) == ("not_real", 0.512)


def bright(images):
    """Return logits of two classes: what is bright is foreground."""
    values = images.mean(axis=-1) - images.mean()
    return np.stack([np.zeros_like(values), values], axis=-1).astype("float32")


def scored(report, folder, *changes, forward=bright):
    """Return the report of a table whose runs are scored as a worker does it, in place of training them."""
    shorter = ["grid.network=[unet]", "grid.loss=[dice, combo]", "report.reference=dice"]
    asked = config.read(YAML, "demo", [SETTINGS[0], SETTINGS[3], *shorter, *changes])
    opened = report.opened["isic2018"]
    due = [store.Due(one, store.Run(folder / "runs" / one.loss), True) for one in grid.points(asked)]
    for one in due:
        settings = one.point.settings
        drawing = pipeline_settings(settings)
        scoring.score(forward, opened, opened.parts(settings), settings["evaluation"], drawing, one.evaluation)
        one.run.weights.touch()
        for file in ("history.csv", "run.json"):
            shutil.copy(report.due[0].run.folder / file, one.run.folder)
    return Report(asked, "other", [one.point for one in due], due, report.opened, folder)


def test_a_table_of_batches_holds_the_means_of_what_scoring_wrote(report, tmp_path):
    chosen = "evaluation={aggregation: keras_batch, metrics: [f1, jaccard], parts: [validation, test], auc: false}"
    split = "datasets.isic2018.split.fractions=[0.5, 0.25, 0.25]"
    made = scored(report, tmp_path, chosen, split, "training.batch_size=2")
    made.write(Console(file=io.StringIO(), width=120))
    batches = pd.read_csv(made.due[0].evaluation / "batches.csv")
    assert batches["part"].value_counts().to_dict() == {"validation": 3, "test": 3}  # five cases each, two by two
    means = batches[batches["part"] == "test"].mean(numeric_only=True)
    long = evaluation.from_csv((made.folder / "table_long.csv").read_text(encoding="utf-8"))
    found = long[long["loss"] == "dice"].set_index("metric")["ours"]
    assert found["f1"] == pytest.approx(means["dsc"])
    assert found["jaccard"] == pytest.approx(means["jaccard"])


MEASURED = [  # section `evaluation`
    "{grid: original, aggregation: pooled, metrics: [jaccard, recall], auc: false}",
    "{grid: original, metrics: [jaccard, precision], empty: one, auc: false}",
    "{aggregation: keras_batch, metrics: [f1, jaccard], auc: false}",
]


@pytest.mark.parametrize("section", MEASURED)
def test_a_baseline_is_measured_as_a_network_that_says_the_same(report, tmp_path, monkeypatch, section):
    level = float(np.mean(report.opened["isic2018"].prepared[0].read_image()))
    rule = Threshold(1.0, 0, "bright", level)

    def forward(images):
        found = np.stack([rule.apply(image) for image in images])
        return np.where(np.stack([found == 0, found == 1], axis=-1), 99.0, 0.0)

    monkeypatch.setattr(evaluation, "best_threshold", lambda *_: rule)
    made = scored(report, tmp_path, f"evaluation={section}", "training.batch_size=3", forward=forward)
    network = made.tables().long.query("loss == 'dice'").set_index("metric")["ours"]
    baselines = made._baselines().query("baseline == 'best threshold'").set_index("metric")["ours"]
    assert baselines.to_dict() == pytest.approx(network.to_dict())
    assert (baselines > 0).all()


def test_the_primary_network_leads_and_a_curve_over_gamma_is_its_own(report):
    leading = report.config.report.model_copy(update={"network": "focusnet"})
    rows = [
        (f"isic2018/{network}/dsc/foreground", loss, f"gamma={gamma}", value, value, value)
        for network, value in (("focusnet", 0.6), ("unet", 0.7))
        for loss in ("focal", "dice")
        for gamma in (1, 2)
    ]
    sweep = pd.DataFrame(rows, columns=["block", "loss", "arguments", "ours", "low", "high"])
    asked = replace(report, config=report.config.model_copy(update={"report": leading}))
    found = asked.pictures(report.tables()._replace(sweep=sweep))
    assert [section["title"] for section in found.sections] == ["ISIC 2018, FocusNet", "ISIC 2018, U-Net"]
    panels = pictures.gamma_panels(*found._of_leading_network())
    assert panels == {"isic2018": {"focal": {1: 0.6, 2: 0.6}, "dice": {1: 0.6, 2: 0.6}}}


LEADING = [  # changes, the primary metric, whether the highest value is the best
    pytest.param("evaluation={metrics: [jaccard, auc], auc: true}", "auc", True, id="scores"),
    pytest.param("evaluation={metrics: [hd95, jaccard], distances: true}", "hd95", False, id="distances"),
]


@pytest.mark.parametrize(("changes", "metric", "highest"), LEADING)
def test_what_a_threshold_does_not_have_can_lead_a_report(report, tmp_path, changes, metric, highest):
    made = scored(report, tmp_path, changes, f"report.metric={metric}")
    made.write(Console(file=io.StringIO(), width=120))
    baselines = pd.read_csv(made.folder / "baselines.csv")
    assert set(baselines["metric"]) == {"jaccard"}
    (section,) = made.pictures(made.tables()).sections
    values = section["values"].mean(axis=1).dropna()
    worst = values.min() if highest else values.max()
    assert made._worst(section)[0]["value"] == f"{worst:.3f}"


CLASSES = [
    pytest.param("drive", False, {"hec": False}, ["foreground"], id="two classes"),
    pytest.param("kits19", False, {"hec": False}, ["kidney", "tumour"], id="as the paper's table"),
    pytest.param("kits19", False, {"hec": True}, ["kidney", "tumour", "hec"], id="as the challenge"),
    pytest.param("kits19", True, {"hec": False}, ["kidney", "tumour", "mean"], id="one's own table"),
    pytest.param("unknown", True, {"hec": False}, ["foreground"], id="a folder that is not there"),
]


@pytest.mark.parametrize(("dataset", "mean", "settings", "classes"), CLASSES)
def test_columns_of_several_classes(dataset, mean, settings, classes):
    assert stored.shown_classes(dataset, {}, settings, mean=mean) == classes


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def hostile(report):
    """The page with a case, a run and a reason that are markup."""
    shown = []
    original = page.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "render", lambda given: shown.append(given) or original(given))
        report.write(Console(file=io.StringIO(), width=120))
    (given,) = shown
    section = {**given["sections"][0], "worst": [{"id": HOSTILE, "value": "0.1", "links": [(HOSTILE, '"><b>')]}]}
    row = {**given["runs"][0], "id": HOSTILE}
    return original({**given, "title": HOSTILE, "sections": [section], "runs": [row], "failed": [HOSTILE]})


def test_markup_in_names_stays_text(hostile):
    assert len(re.findall(r"<script\b", hostile)) == 1  # ours
    assert hostile.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert 'href="&#34;&gt;&lt;b&gt;"' in hostile


def test_of_a_sweep_the_best_validation_dsc_becomes_the_row(report):
    point = {"dataset": "isic2018", "network": "unet", "loss": "dice", "data": "phantom", "protocol": "other"}
    points = pd.DataFrame([{**point, "arguments": f"gamma=0.{step}"} for step in (1, 2, 3)])
    runs = points.assign(run=["a", "b", "c"], seed=0, state="finished")
    counted = pd.DataFrame({"case": ["x", "y"], "group": "", "class": "foreground", "TP": 5, "FN": 0, "TN": 5})
    hits = {"a": 3, "b": 1, "c": 2}
    found = pd.concat([counted.assign(run=run, FP=misses) for run, misses in hits.items()])
    asked = report.config.model_copy(
        update={"report": report.config.report.model_copy(update={"gamma_selection": "validation"})}
    )
    one = Report(asked, "other", report.points, report.due, report.opened, report.results)
    frames = stored.Frames(runs, found.assign(FP=[9, 9, 0, 0, 9, 9]), found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "_points", lambda _: points)
        cells = one._cells(points)
        assert one._chosen(cells, frames, one._settings())["arguments"].tolist() == ["gamma=0.2"]


def test_a_table_about_data_sets_has_a_page_without_runs():
    published = evaluation.from_csv(files("rareseg.published").joinpath("ufl_table1.csv").read_text(encoding="utf-8"))
    known = published[published["value"] != ""]
    ours = known[["dataset", "metric", "class"]].assign(network="", loss="", arguments="", run="facts", cases=3)
    ours = ours.assign(ours=known["value"].astype(float) + (known["dataset"] == "drive"), data="real", protocol="paper")
    ours = ours.assign(low=ours["ours"], high=ours["ours"], marker="", seed="", seed_sd=np.nan, table="ufl_table1")
    long = evaluation.compare(
        ours.astype({"cases": "Int64"}), published, rows=["loss"], blocks=["dataset", "metric", "class"]
    ).assign(verdict=np.where(known["dataset"] == "drive", "higher", "match"))
    html = page.of_facts(long, {"title": "Data sets", "notes": []}, "seeds: [0]  # chosen\n", "uv run it --profile cpu")
    drive = (known["dataset"] == "drive").sum()
    assert f"{len(known) - drive} of {len(known)} values are the paper&#39;s, after rounding" in html
    assert "CVC-ClinicDB" in html
    assert "uv run it --profile cpu" in html
    assert "Runs that failed" not in html


@pytest.mark.parametrize("key", ["brats2020", "kits19"])
def test_an_example_of_a_volume_is_its_axial_slice_whatever_the_order_of_the_files_axes(key, tmp_path, monkeypatch):
    dataset = datasets.open(key, datasets.make_phantoms(key, tmp_path / key, cases=4, size=48, seed=0))
    case = max(dataset.cases, key=lambda one: np.count_nonzero(one.read_label()))
    write_prediction(case, case.read_label(), tmp_path / "predicted.nii.gz")
    monkeypatch.setattr(stored, "label_map", lambda *_: tmp_path / "predicted.nii.gz")
    shown = pictures.example(case, case, dataset.classes, {"dice": store.Due(None, None, True)}, fov=False)
    foreground = np.count_nonzero(case.read_label(), axis=(1, 2))
    np.testing.assert_array_equal(shown["truth"], case.read_label()[foreground.argmax()])
    np.testing.assert_array_equal(shown["predictions"]["dice"], shown["truth"])
