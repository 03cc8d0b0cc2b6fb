"""The smallest table of each kind, by its own script: everything that profile paper does, on a few small phantoms."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

SMALL = "--set=networks={unet: {name: unet_ufl, filters: 2, depth: 2, prior: 0.1}}"
KINDS = [  # script, arguments, runs, classes of cases.csv
    pytest.param(
        "reproduce_ufl_table4.py",
        [
            SMALL,
            "--set=datasets.bus2017={size: [32, 32], phantom: {cases: 10, size: 48}}",
            "--set=grid.loss=[dice, unified_focal_asymmetric]",
            "--set=sweep={unified_focal_asymmetric: {gamma: [0.3, 0.5]}}",
            "--set=training.epochs=3",
        ],
        3,
        {"1"},
        marks=pytest.mark.slow,
        id="2D whole images, augmented, plateau, sweep",
    ),
    pytest.param(
        "reproduce_ufl_table6.py",
        [
            SMALL,
            "--set=datasets.kits19.phantom={cases: 6, size: 32}",
            "--set=grid.loss=[dice]",
            "--set=training.epochs=2",
            "--set=evaluation.hec=true",
        ],
        1,
        {"1", "2", "hec"},
        marks=pytest.mark.slow,
        id="3D windows, three classes",
    ),
    pytest.param(
        "reproduce_table4.py",
        [
            "--set=networks={attention_unet: {name: attention_unet, width: 2, prior: 0.1}}",
            "--set=grid=[{dataset: [isic2018], network: [attention_unet], loss: [focal_tversky]}]",
            "--set=datasets.isic2018={size: [32, 32], phantom: {cases: 10, size: 48}}",
            "--set=training.steps=4",
            "--seeds=0-1",
        ],
        2,
        {"1"},
        marks=pytest.mark.slow,
        id="several outputs, seeds",
    ),
    pytest.param(
        "reproduce_table1.py",
        [
            "--set=networks={focusnet: {name: unet_demo, filters: 2, depth: 2}}",
            "--set=datasets.isic2018={size: [32, 32], phantom: {cases: 10, size: 48}}",
            "--set=training.steps=4",
        ],
        6,
        {"1"},
        marks=pytest.mark.slow,
        id="two swept arguments",
    ),
]


@pytest.mark.parametrize(("script", "arguments", "count", "classes"), KINDS)
def test_the_smallest_table_of_each_kind(call, tmp_path, script, arguments, count, classes):
    results = tmp_path / "results"
    done = call("--profile=demo", "--workers=1", *arguments, results=results, script=script)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/run.json")]
    assert [record["state"] for record in records] == ["finished"] * count
    for record, folder in zip(records, results.glob("runs/*"), strict=True):
        with (folder / "history.csv").open() as file:
            history = list(csv.DictReader(file))
        validated = record["settings"]["training"]["selection"] == "best_validation"
        assert all(bool(row["val_loss"]) == validated for row in history)
        with next(folder.glob("evaluation-*/cases.csv")).open() as file:
            rows = list(csv.DictReader(file))
        assert {row["class"] for row in rows} == classes
        assert {row["part"] for row in rows} == set(record["settings"]["evaluation"]["parts"])
    table = script.removeprefix("reproduce_").removesuffix(".py")
    assert (results / table / "table_long.csv").is_file()
    assert "thinned" in done.stdout


def test_the_table_of_the_data_trains_nothing(call, tmp_path):
    results = tmp_path / "results"
    few = "--set=grid.dataset=[drive, bus2017]"
    size = "{phantom: {cases: 8, size: 48}}"
    sizes = [f"--set=datasets.{key}={size}" for key in ("drive", "bus2017")]
    done = call("--profile=demo", few, *sizes, results=results, script="reproduce_ufl_table1.py", data=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no file of drive, bus2017 is read below" in done.stdout
    assert not (results / "runs").exists()
    assert "phantom" in (results / "ufl_table1" / "table.md").read_text()


def test_a_table_of_ones_own_data_needs_no_published_one(call, tmp_path):
    path, results = tmp_path / "mine.yaml", tmp_path / "results"
    section = "{size: [48, 48], phantom: {cases: 8, size: 48}}"
    path.write_text(f"datasets: {{bus2017: {section}}}\ngrid: {{dataset: [bus2017], network: [], loss: []}}\n")
    done = call(str(path), results=results, script="compare_losses.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "beside the published" not in done.stdout
    assert (results / "mine" / "report.html").is_file()


@pytest.mark.slow
def test_losses_are_compared_on_a_folder_of_ones_own(call, tmp_path):
    draw = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for number in range(12):
        label = np.zeros((40, 40), "uint8")
        row, column = draw.integers(4, 26, 2)
        label[row : row + 10, column : column + 10] = 255
        picture = np.clip(draw.normal(80, 20, (40, 40, 3)) + label[..., None] * 0.4, 0, 255).astype("uint8")
        Image.fromarray(picture).save(tmp_path / "mine" / "images" / f"{number}.png")
        Image.fromarray(label).save(tmp_path / "mine" / "masks" / f"{number}.png")
    done = call(
        "configs/example_folder.yaml",
        f"--set=datasets.mine.path={tmp_path / 'mine'}",
        "--set=datasets.mine.size=[32, 32]",
        "--set=networks={unet_demo: {name: unet_demo, filters: 2, depth: 2}}",
        "--set=grid.loss=[dice, unified_focal]",
        "--set=training.epochs=2",
        "--seeds=0",
        results=tmp_path / "results",
        script="compare_losses.py",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results" / "example_folder" / "table_long.csv").is_file()
