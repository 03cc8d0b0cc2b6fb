"""The command that people start with, on phantoms: everything is written, and what is wrong is one sentence."""

import csv
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rareseg import datasets, pipeline
from rareseg.experiments import config, contact_sheet, grid, inventory, prepare
from rareseg.experiments.cases import open_cases
from rareseg.pipeline.preprocess import STEPS

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare.py"
SMALL = {"brats2020": 32, "kits19": 32}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All data sets, five phantoms each."""
    folder = tmp_path_factory.mktemp("drawn")
    for key in datasets.names():
        datasets.make_phantoms(key, folder / key, cases=5, size=SMALL.get(key, 48))
    return folder


@pytest.fixture
def data(drawn, tmp_path):
    return Path(shutil.copytree(drawn, tmp_path / "data"))


def rows(results):
    with (results / "table.csv").open() as file:
        return list(csv.DictReader(file))


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_data_set_is_verified_split_cached_and_drawn(data, tmp_path, cache, capsys):
    results = tmp_path / "results"
    assert prepare.main(["--data", str(data), "--results", str(results), "--workers", "2"]) == 0
    out = capsys.readouterr().out
    table = rows(results)
    assert [*dict.fromkeys(row["dataset"] for row in table)] == [*datasets.names()]
    assert {row["class"] for row in table if row["dataset"] == "kits19"} == {"kidney", "tumour"}
    assert {row["part"] for row in table if row["dataset"] == "drive"} == {"all", "training", "test"}
    for row in table:
        dataset = datasets.open(row["dataset"], data / row["dataset"])
        number = dataset.classes.index(row["class"])
        parts = (row["part"],) if row["part"] != "all" else {case.part for case in dataset.cases}
        shares = [100 * (case.read_label() == number).mean() for case in dataset.cases if case.part in parts]
        assert float(row["mean_percent"]) == pytest.approx(sum(shares) / len(shares), abs=1e-3)
        assert row["data"] == "phantom"
        if row["train"]:  # table4 needs more than five cases
            assert int(row["train"]) + int(row["validation"]) + int(row["test"]) == len(dataset.cases)
    for key in datasets.names():
        assert key in out
        assert "phantom" in (results / key / "PHANTOM.txt").read_text()
        with Image.open(results / key / "cases.png") as sheet:
            assert "phantoms" in sheet.info["Title"]
            assert len(sheet.getcolors(2**24)) > 200
        splits = [datasets.read_split(path) for path in (results / key).glob("*.csv")]
        assert splits
        for parts in splits:
            names = [name for part in parts.values() for name in part]
            assert sorted(names) == sorted(case.id for case in datasets.open(key, data / key).cases)
    assert "phantoms" in (results / "table.md").read_text()
    asked = {(key, str([plan.section[name] for name in STEPS])) for key, plan in planned()}
    assert len(list((cache / "prepared").glob("*.json"))) == sum(
        len(datasets.open(key, data / key).cases) for key, _ in asked
    )


def planned():
    """Every data set of the configurations with each of its plans."""
    found = inventory.plans(sorted((SCRIPT.parents[1] / "configs").glob("*.yaml")), "paper")
    return [(key, plan) for key in datasets.names() for plan in inventory.planned(found, key)]


@pytest.mark.parametrize("profile", ["paper", "cpu"])
def test_a_written_split_is_the_one_that_the_tables_make(profile, tmp_path):
    """Of pictures of several sorts too, which a table may ask to be in proportion."""
    datasets.make_phantoms("dsb2018", tmp_path / "data" / "dsb2018", cases=12, size=48)
    arguments = ["dsb2018", "--profile", profile, "--data", str(tmp_path / "data"), "--results", str(tmp_path / "out")]
    assert prepare.main(arguments) == 0
    points = grid.points(config.read(SCRIPT.parents[1] / "configs" / "table3.yaml", profile))
    settings = next(point.settings for point in points if point.dataset == "dsb2018")
    division = open_cases("dsb2018", tmp_path / "data" / "dsb2018", settings).division(settings)
    written = datasets.read_split(tmp_path / "out" / "dsb2018" / "table3.csv")
    assert written == {part: [case.id for case in cases] for part, cases in division.items()}


def test_what_is_cached_is_what_the_tables_read(data, tmp_path, monkeypatch):
    """Preparing as a run does finds everything in the cache."""
    from rareseg.experiments.cases import open_dataset

    arguments = ["isic2018", "dsb2018", "--data", str(data), "--results", str(tmp_path / "results")]
    assert prepare.main(arguments) == 0
    monkeypatch.setattr("rareseg.pipeline.preprocess._compute", None)
    plans = [(key, plan) for key, plan in planned() if key in arguments]
    assert plans
    for key, plan in plans:
        cases = open_dataset(key, data / key, plan.section).cases
        prepared = pipeline.prepare_all(cases, {name: plan.section[name] for name in STEPS})
        assert all(one.shape == tuple(plan.section["size"]) for one in prepared)


OWN = """
grid: {dataset: [mine], network: [unet_demo], loss: [dice]}
datasets:
  mine:
    reader: folder
    path: %s
    values: {0: 0, 255: 1}
    size: [32, 48]
    channels: 3
    split: {fractions: [0.6, 0, 0.4], seed: 3}
"""


def test_a_configuration_of_ones_own_data_is_prepared(data, tmp_path, capsys):
    (data / "bus2017" / "original").rename(data / "bus2017" / "images")
    (tmp_path / "mine.yaml").write_text(OWN % (data / "bus2017"))
    results = tmp_path / "results"
    assert prepare.main(["--config", str(tmp_path / "mine.yaml"), "--results", str(results)]) == 0, capsys.readouterr()
    (row,) = rows(results)
    found = [row[name] for name in ("dataset", "class", "tables", "input", "train", "test")]
    assert found == ["mine", "foreground", "mine", "32 x 48", "3", "2"]
    assert (results / "mine" / "mine.csv").is_file()


def test_read_again_only_where_asked(data, tmp_path, monkeypatch):
    """Each file once, though tables prepare DRIVE in two ways; BraTS' labels decide which cases there are."""
    arguments = ["drive", "brats2020", "--data", str(data), "--results", str(tmp_path / "results")]
    read, listed = [], []
    check, values = datasets.Case.check, datasets.volumes.values
    monkeypatch.setattr(datasets.Case, "check", lambda case: read.append(case.id) or check(case))
    monkeypatch.setattr(datasets.volumes, "values", lambda head: listed.append(head.path) or values(head))
    for options, drives, labels in (([], 5, 5), ([], 0, 0), (["--afresh"], 5, 5), ([], 0, 0)):
        assert prepare.main([*arguments, *options]) == 0
        assert (len(read), len(listed)) == (drives, labels)
        read.clear()
        listed.clear()


def test_the_same_command_gives_the_same_files_and_computes_nothing_again(data, tmp_path, monkeypatch):
    arguments = ["drive", "cvc_clinicdb", "--data", str(data), "--results", str(tmp_path / "results")]
    assert prepare.main(arguments) == 0
    before = content(tmp_path / "results")
    monkeypatch.setattr("rareseg.pipeline.preprocess._compute", None)
    assert prepare.main(arguments) == 0
    assert content(tmp_path / "results") == before


def test_what_an_earlier_run_left_is_gone(data, tmp_path):
    """The mark of phantoms, and a split that the data no longer allow."""
    arguments = ["bus2017", "--data", str(data), "--results", str(tmp_path / "results")]
    left = [tmp_path / "results" / "bus2017" / name for name in ("PHANTOM.txt", "ufl_table1.csv")]
    assert prepare.main(arguments) == 0
    assert all(path.is_file() for path in left)
    (data / "bus2017" / "PHANTOM.txt").unlink()
    for image in sorted((data / "bus2017" / "original").iterdir())[1:]:
        image.unlink()
        (data / "bus2017" / "GT" / image.name).unlink()
    assert prepare.main(arguments) == 0
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize(("profile", "expected"), [("paper", []), ("cpu", ["table3.csv"])])
def test_no_split_of_images_is_written_where_patches_are_divided(data, tmp_path, capsys, profile, expected):
    arguments = ["drive", "--profile", profile, "--data", str(data), "--results", str(tmp_path / "results")]
    assert prepare.main(arguments) == 0
    assert [path.name for path in (tmp_path / "results").rglob("table3.csv")] == expected
    told = "table3: no split is written, since patches are divided, not images"
    assert (told in capsys.readouterr().out) == (not expected)
    counts = {row["tables"].partition(",")[0]: row["train"] for row in rows(tmp_path / "results")}
    assert bool(counts["table3"]) == bool(expected)
    assert counts["ufl_table1"]


def test_large_photographs_are_drawn_in_little_memory():
    class Photograph:
        id, spacing = "a", None

        def read_label(self):
            return np.tri(3000, 4500, dtype=np.uint8)

        def read_image(self):
            return np.repeat(255 * self.read_label()[..., None], 3, axis=2)

    tracemalloc.start()
    sheet = contact_sheet.draw("large", [Photograph()])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 3000 * 4500 * 3  # bytes: half of the picture in real numbers
    with Image.open(io.BytesIO(sheet)) as drawn:
        tile = np.array(drawn)[38 : 38 + 147, 8 : 8 + 220]
    assert tile[120, 20].tolist() == [255] * 3
    assert tile[20, 120].tolist() == [0] * 3


def test_phantoms_are_drawn_where_asked(tmp_path):
    arguments = ["--phantoms", str(tmp_path / "phantoms"), "--results", str(tmp_path / "results"), "drive"]
    assert prepare.main(arguments) == 0
    assert datasets.open("drive", tmp_path / "phantoms" / "drive").phantom


def test_a_subset_is_a_warning(data, tmp_path, capsys):
    (data / "isic2018" / "PHANTOM.txt").unlink()
    assert prepare.main(["isic2018", "--data", str(data), "--results", str(tmp_path / "results")]) == 0
    assert "isic2018 is a subset, 5 of 2594 cases: its numbers are not the papers'" in capsys.readouterr().out


def test_groups_on_both_sides_are_a_warning_and_can_be_kept_together(tmp_path, capsys):
    folder = tmp_path / "data" / "cvc_clinicdb"
    datasets.make_phantoms("cvc_clinicdb", folder, cases=24, size=32)
    arguments = ["cvc_clinicdb", "--no-cache", "--data", str(folder.parent), "--results", str(tmp_path / "results")]
    prepare.main(arguments)
    assert "of 4 groups on several sides, as the papers do; --group-by sequence" in capsys.readouterr().out
    prepare.main([*arguments, "--group-by", "sequence"])
    assert "on several sides" not in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "expected"), [("random", "; --group-by sequence keeps them together"), ("file", "")])
def test_of_groups_on_both_sides_only_what_is_true_is_told(data, tmp_path, capsys, kind, expected):
    folder = data / "bus2017"
    names = [path.name for path in sorted((folder / "original").iterdir())]
    (folder / "list.csv").write_text(
        "\n".join(["id,image,label,group", *(f"{k},original/{name},GT/{name},g" for k, name in enumerate(names))])
    )
    (tmp_path / "parts.csv").write_text("case,part\n0,train\n1,train\n2,train\n3,test\n4,test\n")
    split = {"random": "{fractions: [0.6, 0, 0.4]}", "file": f"{{kind: file, path: {tmp_path / 'parts.csv'}}}"}[kind]
    (tmp_path / "mine.yaml").write_text(
        "grid: {dataset: [mine], network: [unet_demo], loss: [dice]}\ndatasets:\n  mine: {reader: folder, "
        f"path: {folder}, options: {{csv: list.csv}}, size: [32, 48], channels: 3, split: {split}}}\n"
    )
    assert prepare.main(["--config", str(tmp_path / "mine.yaml"), "--results", str(tmp_path / "results")]) == 0
    assert f"warning: the split puts 1 of 1 groups on several sides{expected}\n" in capsys.readouterr().out


def test_too_few_cases_for_the_split_are_a_warning(data, tmp_path, capsys):
    images = sorted((data / "bus2017" / "original").iterdir())
    for image in images[1:]:
        image.unlink()
        (data / "bus2017" / "GT" / image.name).unlink()
    assert prepare.main(["bus2017", "--data", str(data), "--results", str(tmp_path / "results")]) == 0
    assert "warning: no split was written: split: the" in capsys.readouterr().out
    assert rows(tmp_path / "results")[0]["train"] == ""


def test_an_own_folder_is_prepared_too(data, tmp_path):
    (data / "bus2017" / "original").rename(data / "bus2017" / "images")
    (data / "bus2017").rename(data / "folder")
    assert prepare.main(["folder", "--data", str(data), "--results", str(tmp_path / "results")]) == 0
    assert (tmp_path / "results" / "folder" / "split.csv").is_file()
    assert rows(tmp_path / "results")[0]["class"] == "foreground"


def break_image(data):
    path = min((data / "bus2017" / "original").iterdir())
    path.write_bytes(path.read_bytes()[:40])


def break_all(data):
    for path in (data / "bus2017" / "original").iterdir():
        path.write_bytes(b"")


REFUSED = [
    pytest.param(
        ["bus2018"], None, "unknown data set `bus2018`; did you mean `bus2017`? Known are isic2018, ", id="name"
    ),
    pytest.param(["--config", "nowhere.yaml"], None, "nowhere.yaml", id="configuration"),
    pytest.param(
        ["--data", "nowhere"], None, "nowhere holds no folder of a data set: expected one of isic2018", id="data"
    ),
    pytest.param(["folder"], None, "folder: there is no folder ", id="no folder"),
    pytest.param(["bus2017"], break_image, "bus2017: 1 cases cannot be used, the first: ", id="broken case"),
    pytest.param(["bus2017"], break_all, "bus2017: none of 5 cases can be used. ", id="nothing usable"),
    pytest.param(["bus2017", "--group-by", "ward"], None, "", id="group"),
]


@pytest.mark.parametrize(("arguments", "damage", "sentence"), REFUSED)
def test_what_cannot_be_done_is_one_sentence(data, tmp_path, capsys, arguments, damage, sentence):
    if damage:
        damage(data)
    code = prepare.main(["--data", str(data), "--results", str(tmp_path / "results"), *arguments])
    streams = capsys.readouterr()
    if sentence:
        assert code == 2
        assert streams.err.startswith(sentence)
        assert streams.err.count("\n") == 1
    else:
        assert "no split was written: split.group_by must be none" in streams.out


def test_phantoms_of_own_data_are_refused(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(OWN % tmp_path)
    arguments = ["--config", str(tmp_path / "mine.yaml"), "--phantoms", str(tmp_path / "phantoms")]
    assert prepare.main([*arguments, "--results", str(tmp_path / "results")]) == 2
    sentence = f"{tmp_path / 'mine.yaml'} names no data set that phantoms can stand for: expected one of isic2018, "
    assert capsys.readouterr().err.startswith(sentence)


@pytest.mark.parametrize("keys", [[], ["drive"]], ids=["all", "one"])
@pytest.mark.parametrize("given", ["..", "drive"], ids=["too high", "too low"])
def test_data_one_level_off_is_told_the_right_folder(data, tmp_path, capsys, keys, given):
    place = (data / given).resolve()
    assert prepare.main([*keys, "--data", str(place), "--results", str(tmp_path / "elsewhere")]) == 2
    assert re.search(rf"--data {data}\.$|{data} does: give it as --data$", capsys.readouterr().err.strip())


def test_what_one_of_several_plans_cannot_use_counts():
    reports = [SimpleNamespace(faults=faults) for faults in (["a", "b"], ["b"], [])]
    assert prepare.Prepared(reports, []).faults == ["a", "b"]


def test_one_bad_set_does_not_stop_the_others(data, tmp_path):
    break_all(data)
    results = tmp_path / "results"
    assert prepare.main(["bus2017", "drive", "--data", str(data), "--results", str(results)]) == 2
    assert {row["dataset"] for row in rows(results)} == {"drive"}


def test_progress_is_told_in_lines_where_there_is_no_terminal(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "PROGRESS_SECONDS", 0)
    prepare.main(["bus2017", "--data", str(data), "--results", str(tmp_path / "results")])
    out = capsys.readouterr().out
    for text in ("reading", "caching"):
        assert re.findall(rf"bus2017: {text} (\d) of 5", out) == ["1", "2", "3", "4", "5"]


def test_a_full_disk_leaves_nothing_half_written(data, tmp_path, cache, capsys, monkeypatch):
    real = Path.replace

    def full(path, target):
        if "prepared" in path.parts:
            raise OSError(28, "No space left on device")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", full)
    assert prepare.main(["drive", "--data", str(data), "--results", str(tmp_path / "results")]) == 2
    assert "cannot keep prepared cases in" in capsys.readouterr().err
    assert not [path for path in (cache / "prepared").iterdir() if path.is_file()]


def test_an_interruption_says_how_to_go_on(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(datasets.Dataset, "report", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert prepare.main(["drive", "--data", str(data), "--results", str(tmp_path / "results")]) == 130
    assert "Go on with the same command" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_gives_the_same_files(data, tmp_path):
    def command(name):
        environment = os.environ | {"RARESEG_CACHE": str(tmp_path / name / "cache")}
        keys = ("bus2017", "brats2020", "kits19")  # pictures, labels that are remembered, scans that are resampled
        arguments = [sys.executable, SCRIPT, *keys, "--data", data, "--results", tmp_path / name / "results"]
        return subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert command("whole").wait() == 0
    took = time.monotonic() - began
    dice = random.Random(0)
    for _ in range(8):
        process = command("killed")
        time.sleep(dice.uniform(0.3, 0.9) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert command("killed").wait() == 0
    assert content(tmp_path / "killed" / "results") == content(tmp_path / "whole" / "results")
