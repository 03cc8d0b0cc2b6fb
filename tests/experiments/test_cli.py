"""The command line as a user meets it: every call is a process of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib.resources import files
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from rareseg.datasets import DataError
from rareseg.experiments import cli, doctor, main, options, paper_figures, prepare, store
from rareseg.experiments.config import ConfigError

PUBLISHED_RUNS = [  # the specification's table 2.3
    *[("table1", 24), ("table2", 6), ("table3", 36), ("table4", 9), ("ufl_table1", 0), ("ufl_table2", 24)],
    *[("ufl_table3", 24), ("ufl_table4", 24), ("ufl_table5", 8), ("ufl_table6", 8)],
]


def runs(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*/run.json"))}


def test_the_tiny_table_is_trained_scored_and_printed_beside_the_published_values(finished):
    folder, done = finished
    assert {record["state"] for record in runs(folder).values()} == {"finished"}
    assert "2 of 2 runs are finished, 2 were due now" in done.stdout
    assert "69.34" in done.stdout  # the published Jaccard of U-Net with Dice on ISIC 2018
    assert "phantom" in done.stdout
    assert done.stderr == ""
    for name in ("table_long.csv", "table_wide.csv", "table.md", "table.tex", "baselines.csv", "PHANTOM.txt"):
        path = folder / name if name == "PHANTOM.txt" else folder / "table3" / name
        assert "phantom" in path.read_text().lower(), name
    assert len(list((folder / "table3" / "figures").glob("*.svg"))) == 5
    assert not list(folder.glob("runs/*/checkpoint"))


def test_a_second_start_trains_nothing_and_changes_nothing(finished, call, tiny):
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".csv", ".svg", ".h5", ".json")}
    again = call(*tiny, results=folder)
    assert "0 were due now" in again.stdout
    assert again.returncode == 0
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.slow
def test_one_changed_value_reruns_exactly_the_runs_that_it_concerns(finished, call, tiny, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(finished[0], folder)
    changed = call(
        *tiny, "--set=losses.dice={smooth: 2}", results=folder, env={"RARESEG_CACHE": str(finished[0].parent / "cache")}
    )
    assert "1 of 2 runs are due" in changed.stdout
    assert len(runs(folder)) == 3


def test_phantoms_of_other_arguments_are_refused_not_used(finished, call, tiny):
    refused = call(*tiny, "--set=datasets.isic2018.phantom={cases: 12, size: 48}", results=finished[0])
    assert refused.returncode == 2
    assert "phantoms made with other arguments" in refused.stderr


def test_a_changed_evaluation_scores_stored_weights_again(finished, call, tiny, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(finished[0], folder)
    weights = {path: path.stat().st_mtime_ns for path in folder.rglob("model.weights.h5")}
    for run in (folder / "runs").iterdir():
        (run / "checkpoint").mkdir()  # as a kill after the weights leaves it
    changed = call(*tiny, "--set=evaluation.grid=original", results=folder)
    assert changed.returncode == 0
    assert not list(folder.glob("runs/*/checkpoint"))
    trained = ("started", "machine", "settings", "data")
    for name, record in runs(folder).items():  # where and when it was trained stays
        assert {key: record[key] for key in trained} == {key: runs(finished[0])[name][key] for key in trained}
    scored = [json.loads(path.read_text()) for path in folder.glob("runs/*/evaluation-*/scoring.json")]
    assert len({one["started"] for one in scored}) > 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.weights.h5")} == weights
    assert len(list(folder.glob("runs/*/evaluation-*"))) == 4


def test_a_case_that_no_data_set_has_is_refused_before_anything_is_removed(finished, call, tiny):
    folder, _ = finished
    before = {path: path.read_bytes() for path in folder.rglob("*.svg")}
    refused = call(*tiny, "--report-only", "--case=typo", results=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "--case typo: no data set that is here has a case of this name\n"
    assert {path: path.read_bytes() for path in folder.rglob("*.svg")} == before


CALLS = [  # script, arguments, the call that is printed in the report
    ("table3", [], "uv run scripts/reproduce_table3.py --profile paper"),
    ("table3", ["--profile=cpu", "--seeds=0-4"], "uv run scripts/reproduce_table3.py --profile cpu --seeds 0-4"),
    ("table3", ["--set", "a=[1, 2]"], "uv run scripts/reproduce_table3.py --profile paper --set 'a=[1, 2]'"),
    ("table3", ["--only=loss=dice", "--only=seed=0"], "--profile paper --only loss=dice --only seed=0"),
    ("table3", ["--data=/mine", "--results=/mine"], "uv run scripts/reproduce_table3.py --profile paper"),
    ("compare", ["my own.yaml"], "uv run scripts/compare_losses.py 'my own.yaml' --profile paper"),
]


@pytest.mark.parametrize(("backend", "call"), [("tensorflow", "uv run "), ("jax", "KERAS_BACKEND=jax uv run ")])
def test_how_to_run_it_again_names_another_backend(backend, call, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert options.again("table3", options.parser("table3").parse_args([])).startswith(call)


@pytest.mark.parametrize(("script", "arguments", "expected"), CALLS)
def test_how_to_run_it_again_is_what_was_called(script, arguments, expected):
    asked = options.parser(script).parse_args(arguments)
    assert options.again("my" if script == "compare" else script, asked).endswith(expected)


IGNORED = [  # arguments, the sentence
    (["--measure"], "--measure goes with --dry-run; give both"),
    (
        ["--workers=2", "--ray=auto"],
        "--workers does nothing beside --ray: the cluster decides how many runs there are at once; leave one of them",
    ),
    (["--ray=auto", "--report-only"], "--ray does nothing beside --report-only: nothing is trained; leave one of them"),
    (["--track=mlflow:a", "--report-only"], "--track does nothing beside --report-only: nothing is trained; leave one"),
]


@pytest.mark.parametrize(("arguments", "sentence"), IGNORED)
def test_options_that_would_be_ignored_are_refused(arguments, sentence, capsys, tmp_path):
    assert main("table3", [*arguments, "--results", str(tmp_path / "results")]) == 2
    assert capsys.readouterr().err.startswith(sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["table3", "prepare"])
@pytest.mark.parametrize("number", ["0", "two", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused_in_words(command, number, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(command, ["--workers", number])
    assert f"argument --workers: expected a whole number from 1, got {number}\n" in capsys.readouterr().err


STOPPED = [  # what a command runs into, its exit code, the sentence
    (KeyboardInterrupt(), 130, "Interrupted; what was finished is saved. Go on with the same command"),
    (OSError(28, "No space left on device"), 2, "a file cannot be read or written: No space left on device. Make room"),
    (OSError(30, "Read-only file system", "results/a"), 2, "Make room, or give another folder with --results"),
    (OSError(13, "Permission denied", "data/a"), 2, "data/a cannot be read or written: Permission denied. Make"),
    (DataError("a: broken"), 2, "a: broken"),
]
COMMANDS = [("table3", cli.Command, "run"), ("prepare", prepare.Command, "run")]
COMMANDS += [("figures", paper_figures, "_draw"), ("doctor", doctor, "look")]


@pytest.mark.parametrize(("command", "place", "part"), COMMANDS)
@pytest.mark.parametrize(("error", "code", "sentence"), STOPPED)
def test_what_stops_a_command_is_one_sentence(
    command, place, part, error, code, sentence, monkeypatch, capsys, tmp_path
):
    def fails(*_):
        raise error

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "drive").mkdir(parents=True)
    monkeypatch.setattr(place, part, fails)
    where = [] if command == "doctor" else ["--results", "results"]
    assert main(command, [*where, "--data", "data"]) == code
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    expected = sentence.replace("give another folder with --results", "correct its") if not where else sentence
    assert expected in told


def test_a_data_set_with_a_fault_that_no_selected_run_needs_is_left_out_and_told(monkeypatch, tmp_path, capsys):
    def broken(*_, **__):
        raise DataError("isic2018: it is broken")

    (tmp_path / "isic2018").mkdir()
    monkeypatch.setattr(cli, "open_cases", broken)
    assert commanded("table3", "--only=dataset=drive", "--data", str(tmp_path))._open() == {}
    assert capsys.readouterr().out == "isic2018 is left out of the table: isic2018: it is broken\n"


def commanded(table, *arguments):
    """Return a command that was called with arguments."""
    path = options.configuration(table)
    return cli.Command(path, options.parser(table).parse_args(arguments), Console(width=options.WIDTH))


SPLITS = [  # --set, what the sentence must hold
    ("datasets.drive.split={kind: official, stratify_by: image}", "drive: split.stratify_by has no effect with kind"),
    ("datasets.drive.split={kind: folds, folds: 9}", "drive: split: fold 0 of 9 folds is not possible with 6 cases"),
    ("datasets.drive.split={kind: file, path: a, group_by: image}", "drive: split.group_by has no effect with kind f"),
]


@pytest.mark.parametrize("table", ["table3", "ufl_table1"])  # of runs, and of the data
@pytest.mark.parametrize(("setting", "sentence"), SPLITS)
def test_a_split_that_the_cases_do_not_allow_is_one_sentence(table, setting, sentence, capsys, tmp_path):
    data = "--set=datasets.drive.phantom={cases: 6, size: 64}"
    asked = ["--profile=demo", "--set=grid.dataset=[drive]", data, "--set", setting, "--results", str(tmp_path / "out")]
    assert main(table, asked) == 2
    told = capsys.readouterr().err
    assert told.startswith(sentence)
    assert told.count("\n") == 1


PARTS = [  # case, whose label maps are kept where the sentence is empty
    ("a", "this case of drive is in the part `train`, and label maps are kept of whole test cases only"),
    ("b", ""),
    ("c", "this case of drive is divided into patches, and label maps are kept of whole test cases only"),
    ("b-000001", "no data set that is here has a case of this name"),
]


@pytest.mark.parametrize(("case", "sentence"), PARTS)
def test_figures_show_test_cases(case, sentence):
    division = {part: [SimpleNamespace(id=one) for one in ids] for part, ids in {"train": "a", "test": ["b"]}.items()}
    cases = SimpleNamespace(originals=dict.fromkeys("abc"), division=lambda _: division)
    with pytest.raises(ConfigError, match=f"--case {case}: {sentence}") if sentence else nullcontext():
        commanded("table3", "--case", case)._check_case({"drive": cases})


WITHOUT_DATA = [  # script, arguments, what the sentence must hold, what not
    ("table3", [], ["Missing data: isic2018, dsb2018, drive. Put it below", "--profile demo needs none."], "path"),
    ("table3", ["--set=datasets.drive.path=/no", "--only=dataset=drive"], ["Correct `datasets.drive.path`."], "--data"),
    ("compare", ["example_folder"], ["Missing data: mine.", "not in data/mine. Correct `datasets.mine.path`."], "--"),
    ("compare", ["own"], ["Put it below the folder of --data", "or set `datasets.own.path`."], "demo"),
]


@pytest.mark.parametrize(("script", "arguments", "held", "not_held"), WITHOUT_DATA)
def test_missing_data_are_told_with_what_helps(script, arguments, held, not_held, capsys, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("datasets: {own: {reader: folder}}\ngrid: {dataset: [own], network: [unet_demo], loss: [dice]}\n")
    files = {"own": own, "example_folder": options.configuration("example_folder")}
    asked = [str(files.get(argument, argument)) for argument in arguments]
    assert main(script, [*asked, "--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")]) == 2
    told = capsys.readouterr().err
    assert all(part in told for part in held), told
    assert not_held not in told


def test_a_report_without_the_data_of_stored_runs_is_refused(capsys, tmp_path):
    (tmp_path / "results" / "runs" / "drive-unet-dice-s0-01234567").mkdir(parents=True)
    asked = ["--report-only", "--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")]
    assert main("table3", asked) == 2
    assert capsys.readouterr().err.startswith("Missing data: drive.")
    assert not (tmp_path / "results" / "table3").exists()


def test_a_backend_that_is_not_installed_is_refused_where_it_would_train(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "torch" else name)
    asked = ["--data", str(tmp_path), "--results", str(tmp_path / "results")]
    assert main("table3", asked) == 2
    told = capsys.readouterr().err
    assert told.startswith("Keras' backend torch is not installed. Install it (uv sync --inexact --extra torch), or")
    assert main("table3", ["--report-only", *asked]) == 0


@pytest.fixture
def dying(tmp_path):
    """A job whose worker has died, and its run."""
    run = store.Run(tmp_path / "runs" / "a")
    run.update(state="running")
    return {"id": "a", "folder": str(run.folder), "evaluation": "e"}, run


def test_a_death_is_written_unless_another_command_has_the_run(dying, monkeypatch):
    job, run = dying
    told = []
    with run.claimed():
        cli.note_death(job, "it died", told.append)
        assert run.state() == "running"
    cli.note_death(job, "it died", told.append)
    assert (run.state(), run.record()["reason"], told) == ("failed", "it died", [])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.Run, "update", full)
    cli.note_death(job, "it died", told.append)
    assert told == [f"{run.folder} cannot be written: No space left on device"]


def test_what_another_command_has_finished_is_not_written_over(dying):
    job, run = dying
    run.update(state="finished")
    run.evaluation("e").mkdir()
    for path in (run.weights, run.evaluation("e") / "cases.csv"):
        path.touch()
    cli.note_death(job, "it died", print)
    assert run.state() == "finished"


def test_runs_that_the_disk_cannot_hold_are_refused_in_one_sentence(tmp_path, monkeypatch):
    jobs = [{"disk_gib": (1.0, 2.0)}, {"disk_gib": (1.0, 3.0)}]
    for workers, free in ((1, 5), (2, 8)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free * 2**30))
        cli.check_disk(tmp_path, jobs, workers)
        with pytest.raises(ConfigError, match=rf"has {free}\.0 GiB of disk free, and the runs that are due take about"):
            cli.check_disk(tmp_path, jobs, workers + 1)


REFUSALS = [  # arguments, what the sentence must hold
    pytest.param([], "Missing data: isic2018, dsb2018, drive", id="no data"),
    pytest.param(["--only", "dataset=drive"], "drive.grand-challenge.org", id="no DRIVE"),
    pytest.param(["--only", "dataset=mars"], "this table has no dataset `mars`", id="unknown data set"),
    pytest.param(["--set", "training.epoks=3"], "did you mean `epochs`?", id="misspelt key"),
    pytest.param(["--set", "grid.loss=[dise]"], "did you mean `dice`?", id="unknown loss"),
    pytest.param(["--set", "training.batch_size=0"], "greater than or equal to 1, found 0", id="out of range"),
    pytest.param(["--seeds", "4-0"], "the range is empty", id="seeds"),
    pytest.param(["--explain", "training.epoks"], "did you mean `training.epochs`?", id="unknown key to explain"),
    pytest.param(["--seeds", "x"], "expected 0-4 or 0,2,5", id="no seeds"),
    pytest.param(["--seeds", "0,0"], "--seeds 0,0: expected different seeds", id="one seed twice"),
    pytest.param(["--set", "datasets.drive.options={correction: x}"], "does not take `correction`", id="reader option"),
]
IMPORTS = """
import sys
from rareseg.experiments import main
code = main("table3", sys.argv[1:])
heavy = {"keras", "tensorflow", "jax", "torch", "pandas", "matplotlib", "scipy", "miscnn"} & set(sys.modules)
assert not heavy, heavy
raise SystemExit(code)
"""


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS)
def test_mistakes_get_one_sentence_exit_code_2_and_leave_nothing_behind(call, tmp_path, arguments, sentence):
    refused = call(*arguments, results=tmp_path / "results", data=tmp_path)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--dry-run"], 0),
        (["--dry-run", "--profile=demo"], 0),
        (["--help"], 0),
        (["--explain", "training"], 0),
        (["--data", "nowhere"], 2),
        (["--set=a=1"], 2),
    ],
)
def test_no_backend_is_imported_before_training(tmp_path, arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_a_dry_run_counts_first(call, tmp_path):
    lines = call("--dry-run", results=tmp_path / "results").stdout.splitlines()
    assert lines[0] == "runs: 36"
    assert any(line.startswith("drive focusnet: 6 runs of 500,000 steps") for line in lines)
    assert call("--dry-run", "--only=loss=dice", results=tmp_path / "results").stdout.startswith("runs: 6\n")


def test_cells_that_share_a_run_cost_it_once(capsys, tmp_path):
    only = ["--only=dataset=drive,loss=unified_focal_symmetric"]
    main("ufl_supplement", ["--dry-run", *only, "--results", str(tmp_path)])
    count, trained, cost, *_ = capsys.readouterr().out.splitlines()
    assert count == "runs: 18"
    number = int(re.match(r"of these (\d+) are trained; ", trained)[1])
    assert number < 18
    assert cost.startswith(f"drive unet: {number} runs of")


@pytest.mark.parametrize(("table", "count"), PUBLISHED_RUNS)
def test_a_dry_run_of_profile_paper_says_how_many_runs_and_what_is_missing(table, count, capsys, tmp_path):
    assert main(table, ["--dry-run", "--data", str(tmp_path), "--results", str(tmp_path / "results")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"runs: {count}"
    assert any(line.startswith("Missing data: ") for line in printed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "protocol"),
    [
        ("training.threads=2", "paper"),
        ("seeds=[1, 2]", "paper"),
        ("training.mixed_precision=bfloat16", "paper"),
        ("pipeline.cache=disk", "paper"),
        ("training.batch_size=4", "other"),
        ("losses.tversky.delta=0.6", "other"),
    ],
)
def test_what_fits_a_run_to_a_machine_leaves_the_protocol_the_papers(setting, protocol, tmp_path):
    arguments = ["--report-only", "--set", setting, "--data", str(tmp_path), "--results", str(tmp_path)]
    assert main("ufl_table3", arguments) == 0
    long = pd.read_csv(tmp_path / "ufl_table3" / "table_long.csv")
    assert set(long["protocol"]) == {protocol}


def test_a_table_of_the_data_alone_needs_some(capsys, tmp_path):
    assert main("ufl_table1", ["--report-only", "--data", str(tmp_path), "--results", str(tmp_path / "results")]) == 2
    assert "Missing data: cvc_clinicdb, drive, bus2017, brats2020, kits19." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_measured_dry_run_tries_steps_and_samples_and_leaves_nothing(call, tiny, tmp_path):
    done = call("--dry-run", "--measure", *tiny, results=tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "s a step" in done.stdout
    assert "ms a sample" in done.stdout
    assert "measured, in all about" in done.stdout
    assert not (tmp_path / "results").exists()


def phantoms(folder):
    from rareseg.datasets import make_phantoms

    return make_phantoms("isic2018", folder / "isic2018", cases=6, size=48, seed=0)


def truncate(folder):
    path = sorted(folder.rglob("*.jpg"))[3]
    path.write_bytes(path.read_bytes()[:500])
    return path.name


def remove_mask(folder):
    path = sorted(folder.rglob("*.png"))[2]
    path.unlink()
    return path.stem.split("_seg")[0]


def shrink_mask(folder):
    from PIL import Image

    path = sorted(folder.rglob("*.png"))[1]
    Image.open(path).resize((7, 7)).save(path)
    return path.stem.split("_seg")[0]


def empty(folder):
    for path in folder.rglob("*.*g"):
        path.unlink()
    return "isic2018"


@pytest.mark.parametrize("damage", [truncate, remove_mask, shrink_mask, empty])
def test_bad_files_get_one_sentence_and_exit_code_2(call, tmp_path, damage):
    name = damage(phantoms(tmp_path))
    refused = call("--only=dataset=isic2018", "--profile=cpu", results=tmp_path / "results", data=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert name in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "results" / "runs").exists()


@pytest.mark.parametrize(
    ("called", "spoilt", "right", "wrong"),
    [
        ("table3", "table3", "78.62", '"78,62"'),
        ("ufl_table4", "ufl_table3", "0.801", "0.8O1"),  # a claim is judged by both
        ("table3", "table3", "unit,note", "unit"),
    ],
)
def test_published_values_that_a_user_spoilt_are_refused_before_training(
    called, spoilt, right, wrong, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)  # as in a clone beside an installed package
    mine = tmp_path / "results" / "published" / f"{spoilt}.csv"
    mine.parent.mkdir(parents=True)
    text = files("rareseg.published").joinpath(mine.name).read_text(encoding="utf-8")
    mine.write_text(text.replace(right, wrong, 1))
    assert main(called, ["--profile=demo", "--results", str(tmp_path / "results" / "demo")]) == 2
    refused = capsys.readouterr()
    assert mine.as_posix() in refused.err
    assert (refused.out, len(refused.err.splitlines())) == ("", 1)
    assert not (tmp_path / "results" / "demo").exists()


def test_a_results_folder_that_cannot_be_made_is_refused(call, tmp_path, tiny):
    (tmp_path / "file").write_text("")
    refused = call(*tiny, results=tmp_path / "file" / "results", env={"RARESEG_CACHE": str(tmp_path / "cache")})
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cannot be written" in refused.stderr


@pytest.mark.slow
def test_on_jax_a_table_comes_out_and_nothing_imports_tensorflow(call, tiny, tmp_path, another_backend):
    found = tmp_path / "instead" / "tensorflow.py"
    found.parent.mkdir()
    found.write_text("raise RuntimeError('TensorFlow was imported')")
    paths = os.pathsep.join([str(found.parent), os.environ.get("PYTHONPATH", "")])
    done = call(*tiny, results=tmp_path / "results", env=another_backend("jax", PYTHONPATH=paths))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    logs = [path.read_text() for path in (tmp_path / "results" / "runs").glob("*/log.txt")]
    assert len(logs) == 2
    assert not any("TensorFlow" in log for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10, 20])  # benchmarks/reliability.py kills at 200 moments
def test_after_sigkill_at_any_moment_the_same_table_and_weights_come_out(finished, call, tiny, tmp_path, seconds):
    folder = tmp_path / "results"
    with call(*tiny, "--workers=2", results=folder, background=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    done = call(*tiny, results=folder)
    assert done.returncode == 0, done.stderr
    for name in ("table3/table_long.csv", *[str(path.relative_to(finished[0])) for path in finished[0].rglob("*.h5")]):
        assert (folder / name).read_bytes() == (finished[0] / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_state_and_says_how_to_go_on(call, tiny, tmp_path, number, code):
    folder = tmp_path / "results"
    with call(*tiny, "--workers=2", "--set=training.steps=100000", results=folder, background=True) as process:
        while not list(folder.glob("runs/*/checkpoint/step-*")):
            time.sleep(0.5)
            assert process.poll() is None
        process.send_signal(number)
        printed, _ = process.communicate()
    assert process.returncode == code
    assert "Go on with: " in printed
    assert {record["state"] for record in runs(folder).values()} == {"interrupted"}
