"""What MLflow is told of a run."""

import pytest

from rareseg.experiments import store
from rareseg.experiments.config import ConfigError
from rareseg.experiments.tracking import Tracker, scores

# SQLAlchemy tells MLflow, not us.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow", "ignore:.*noload:DeprecationWarning")
EVALUATION = {"metrics": ["f1", "jaccard", "recall", "auc"], "aggregation": "case", "empty": "nan"}
CASES = """part,case,group,class,TP,FP,FN,TN,auc
test,a,a,1,3,1,0,4,0.9
test,b,b,1,1,0,1,6,0.7
validation,c,c,1,0,5,5,0,0.1
"""
ROW = dict.fromkeys(("val_loss", "val_jaccard", "val_dsc"))
EPOCHS = [
    {"step": step, "steps": 20, "loss": loss, "jaccard": 0.3, "dsc": 0.4, "learning_rate": 0.01, **ROW}
    for step, loss in ((10, 0.8), (20, 0.6))
]


@pytest.fixture
def job(tmp_path):
    """Return a job whose run has ended."""
    run = store.Run(tmp_path / "runs" / "drive-unet-dice-s0-1234")
    settings = {"training": {"batch_size": 2, "optimiser": {"name": "adam"}}, "evaluation": EVALUATION}
    run.update(state="finished", data="phantom", settings=settings)
    (run.folder / "history.csv").write_text("epoch,step\n")
    (run.folder / "log.txt").write_text("what libraries print")
    for name, text in (("abcd", CASES), ("older", CASES.replace("test,a,a,1,3", "test,a,a,1,9"))):
        run.evaluation(name).mkdir()
        (run.evaluation(name) / "cases.csv").write_text(text)
    names = {"dataset": "drive", "network": "unet", "loss": "dice", "arguments": "", "seed": 0}
    return {"id": run.id, "folder": str(run.folder), "settings": settings, "evaluation": "abcd", **names}


def track(target, job, kinds, tell=print):
    """Send events to a new tracker and return it."""
    tracker = Tracker(target, "table3", tell)
    tracker.expect([job])
    for kind in kinds:
        for row in EPOCHS if kind == "epoch" else [{}]:
            tracker({"kind": kind, "run": job["id"], **row})
    return tracker


@pytest.mark.slow
def test_parameters_curves_scores_and_files_of_a_run_are_kept_and_it_goes_on_where_it_was(tmp_path, job):
    mlflow = pytest.importorskip("mlflow", reason="needs uv sync --inexact --extra tracking")
    target = f"mlflow:sqlite:///{tmp_path}/runs.db"
    track(target, job, ["started", "epoch", "interrupted"])
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    experiment = client.get_experiment_by_name("table3").experiment_id
    (first,) = client.search_runs([experiment])
    assert first.info.status == "KILLED"
    assert not {name for name in first.data.metrics if name.startswith("test.")}
    track(target, job, ["started", "resumed", "epoch", "scoring", "finished"])
    (found,) = client.search_runs([experiment])
    assert (found.info.run_id, found.info.status) == (first.info.run_id, "FINISHED")
    assert found.info.run_name == job["id"]
    assert found.data.params["settings.training.optimiser.name"] == "adam"
    assert found.data.params["dataset"] == "drive"
    assert found.data.tags["rareseg.data"] == "phantom"
    losses = client.get_metric_history(found.info.run_id, "loss")
    assert {(point.step, point.value) for point in losses} == {(10, 0.8), (20, 0.6)}
    assert found.data.metrics["test.jaccard.1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.data.metrics["test.recall.1"] == pytest.approx((1 + 1 / 2) / 2)
    assert found.data.metrics["test.auc.1"] == pytest.approx(0.8)
    files = {entry.path for entry in client.list_artifacts(found.info.run_id)}
    assert files == {"run.json", "history.csv", "log.txt", "evaluation-abcd"}


@pytest.mark.slow
def test_a_run_that_ends_before_its_first_epoch_is_told_too(tmp_path, job):
    mlflow = pytest.importorskip("mlflow", reason="needs uv sync --extra tracking")
    track(f"mlflow:sqlite:///{tmp_path}/runs.db", job, ["started", "failed"])
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs.db")
    (found,) = client.search_runs([client.get_experiment_by_name("table3").experiment_id])
    assert (found.info.run_name, found.info.status) == (job["id"], "FAILED")
    assert found.data.tags["rareseg.state"] == "failed"


def test_scores_have_the_names_of_the_configuration(tmp_path):
    (tmp_path / "cases.csv").write_text(CASES)
    found = scores(tmp_path, EVALUATION)
    assert set(found) == {"test.f1.1", "test.jaccard.1", "test.recall.1", "test.auc.1"}
    assert found["test.f1.1"] == pytest.approx((6 / 7 + 2 / 3) / 2)


FAR = "part,case,group,class,TP,FP,FN,TN,auc,hd95,assd\ntest,a,a,1,3,1,0,4,,2.0,1.0\ntest,b,b,1,1,0,1,6,,4.0,\n"
BATCHES = "part,case,group,class,dsc,jaccard,recall\ntest,0,,1,.5,.4,1\ntest,1,,1,.7,.6,1\n"
SCORES = [  # file, its text, what differs in the section `evaluation`, metrics by hand
    ("cases.csv", CASES, {"metrics": ["recall"], "aggregation": "pooled"}, {"recall": 4 / 5}),
    ("cases.csv", FAR, {"metrics": ["recall", "hd95", "assd"]}, {"recall": 3 / 4, "hd95": 3, "assd": 1}),
    ("batches.csv", BATCHES, {"metrics": ["f1", "jaccard"], "aggregation": "keras_batch"}, {"f1": 0.6, "jaccard": 0.5}),
]


@pytest.mark.parametrize(("file", "text", "settings", "expected"), SCORES)
def test_scores_are_averaged_as_the_table_has_them(file, text, settings, expected, tmp_path):
    (tmp_path / file).write_text(text)
    found = scores(tmp_path, EVALUATION | settings)
    assert found == {f"test.{name}.1": pytest.approx(value) for name, value in expected.items()}


@pytest.mark.slow
def test_what_mlflow_cannot_take_is_told_once_and_stops_nothing_else(tmp_path, job, monkeypatch):
    pytest.importorskip("mlflow", reason="needs uv sync --inexact --extra tracking")
    target, told = f"mlflow:sqlite:///{tmp_path}/runs.db", []
    tracker = track(target, job, ["started"], told.append)

    def fails(*_, **__):
        raise ConnectionError("the server is gone\nand more of it")

    monkeypatch.setattr(tracker._client, "log_batch", fails)
    for row in EPOCHS:
        tracker({"kind": "epoch", "run": job["id"], **row})
    assert tracker.failed
    assert told == [f"--track {target} failed, the runs go on without it: the server is gone"]


@pytest.mark.slow
def test_the_old_file_store_of_mlflow_is_refused_in_one_sentence(tmp_path):
    pytest.importorskip("mlflow", reason="needs uv sync --inexact --extra tracking")
    with pytest.raises(ConfigError, match=r"^--track mlflow:.*: .") as caught:
        Tracker(f"mlflow:{tmp_path / 'mlruns'}", "table3", print)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["runs.db", "mlflow:", "wandb:project"])
def test_a_target_of_another_kind_is_refused(target):
    with pytest.raises(ConfigError, match=f"^--track {target}: expected mlflow:URI, as mlflow:sqlite:///runs.db$"):
        Tracker(target, "table3", print)
