"""Which job comes next, and what becomes of it when its worker dies or a signal comes."""

import os
import signal
import threading
import time

import pytest

from rareseg.experiments import hardware, pool

SHARED = {"optimiser": {"name": "adam", "learning_rate": 0.1}, "supervision": None, "mixed_precision": None}
TRAINING = {**SHARED, "xla": None, "threads": 1, "deterministic": True, "devices": 1, "batch_size": 2}
PIPELINE = {"analysis": "patches", "patch": [8, 8]}


def job(folder, name, network="unet", training=TRAINING, **more):
    settings = {"network": network, "pipeline": PIPELINE, "dataset": {"channels": 1}, "training": training}
    place = {"folder": str(folder / name), "evaluation": "e", "tried": None}
    return {"id": name, "settings": settings, "training": training, "seed": 0, "losses": [], **place, **more}


def test_the_step_with_most_work_comes_first_and_of_it_the_longest_job(tmp_path):
    jobs = [
        job(tmp_path, "long but alone", "focusnet", operations=99),
        job(tmp_path, "short", operations=1),
        job(tmp_path, "longest", operations=9),
        job(tmp_path, "longer", operations=3),
    ]
    one, order = pool.Pool(jobs, 1, tmp_path / "log", lambda _: None), []
    for _ in jobs:
        following = one._next(None)
        one._waiting.remove(following)
        order.append(following["id"])
    assert order == ["longest", "longer", "long but alone", "short"]


OTHER = {"optimiser": {"name": "adam", "learning_rate": 0.2}}
STEPS = [  # what differs between two jobs, whether they share a compiled step
    pytest.param({"training": {**TRAINING, **OTHER}}, True, id="learning rate"),
    pytest.param({"operations": 5}, True, id="length"),
    pytest.param({"training": {**TRAINING, "xla": True}}, False, id="compiler"),
    pytest.param({"training": {**TRAINING, "batch_size": 3}}, False, id="batch"),
    pytest.param({"losses": [{"name": "dice"}]}, False, id="losses to choose from"),
    pytest.param({"network": "focusnet"}, False, id="network"),
]


@pytest.mark.parametrize(("change", "same"), STEPS)
def test_jobs_share_a_compiled_step_where_nothing_differs_that_is_compiled(tmp_path, change, same):
    one, other = job(tmp_path, "one"), job(tmp_path, "other", **change)
    assert (pool.step_of(one) == pool.step_of(other)) is same


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return f(code, jobs): the pool after its workers ran this code instead of their own, and the events."""
    before = signal.getsignal(signal.SIGTERM)

    def run(code, jobs, report=lambda _: None, workers=1):
        monkeypatch.setattr(pool, "WORKER", ("-c", code))
        told = []
        one = pool.Pool(jobs, workers, tmp_path / "log", lambda event: (told.append(event), report(event)))
        one.run()
        assert signal.getsignal(signal.SIGTERM) is before
        return one, told

    return run


def test_workers_that_end_at_once_cost_their_runs_and_not_the_command(run, tmp_path):
    _, told = run("", [job(tmp_path, name, operations=1) for name in ("a", "b")])
    assert [(event["run"], event["kind"]) for event in told if event["kind"] != "started"] == [
        ("a", "failed"),
        ("b", "failed"),
    ]


def test_a_worker_that_died_idle_takes_a_job_without_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "WORKER", ("-c", ""))
    child = pool.Child(1, True, 1, tmp_path / "log")
    child.process.wait()
    child.give(job(tmp_path, "a"))
    assert child.read() is None
    child.close()


def test_a_signal_while_a_worker_starts_interrupts_its_run(run, tmp_path):
    def report(event):
        if event["kind"] == "started":
            os.kill(os.getpid(), signal.SIGTERM)

    jobs = [job(tmp_path, name, operations=1) for name in ("a", "b")]
    one, told = run("import time; time.sleep(30)", jobs, report, workers=2)
    assert one.signal == signal.SIGTERM
    assert [(event["kind"], event["run"]) for event in told] == [("started", "a"), ("interrupted", "a")]
    assert "dead" not in told[1]


SAVES = """
import signal, sys, time
from pathlib import Path
from rareseg.experiments import worker
stop = worker.Stop()
Path(sys.argv[0]).touch()
while not stop():
    time.sleep(0.1)
time.sleep(1)
Path(FILE).touch()
"""


def test_one_signal_that_comes_twice_leaves_the_time_to_save(run, tmp_path):
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    code = SAVES.replace("sys.argv[0]", repr(str(ready))).replace("FILE", repr(str(saved)))

    def report(event):
        if event["kind"] == "started":
            threading.Thread(target=send).start()

    def send():
        while not ready.exists():
            time.sleep(0.1)
        for _ in range(2):  # as from uv, and from whoever signals its process group
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.1)

    one, told = run(code, [job(tmp_path, "a", operations=1)], report)
    assert one.signal == signal.SIGUSR1
    assert saved.exists()
    assert [event["kind"] for event in told] == ["started", "interrupted"]


def test_what_a_worker_held_is_its_own_and_both_logs_are_named(run, tmp_path, monkeypatch):
    held, real = iter([7000, 3]), os.wait4
    monkeypatch.setattr(os, "wait4", lambda *given: (*real(*given)[:2], next(held)))
    monkeypatch.setattr(hardware, "mebibytes", lambda usage: usage)
    _, told = run("raise SystemExit(3)", [job(tmp_path, name, operations=1) for name in ("large", "small")])
    reasons = [event["reason"] for event in told if event["kind"] == "failed"]
    assert [reason.partition(";")[2].partition(")")[0] for reason in reasons] == [
        " it held 7000 MiB at most",
        " it held 3 MiB at most",
    ]
    assert all("(exit status 3;" in reason and "memory is the" not in reason for reason in reasons)
    assert all(f"in log.txt, or in {tmp_path / 'log'} if it had not begun" in reason for reason in reasons)


def test_memory_is_suspected_of_what_kills(run, tmp_path):
    _, told = run("import os; os.kill(os.getpid(), 9)", [job(tmp_path, "a", operations=1)])
    assert told[-1]["reason"].endswith("Too little memory is the commonest cause")


def test_a_signal_while_a_process_is_made_reaches_it_too(run, tmp_path, monkeypatch):
    made = []

    class Child(pool.Child):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(pool, "Child", Child)
    _, told = run("import time; time.sleep(5)", [job(tmp_path, "a", operations=1)])
    assert [event["kind"] for event in told] == ["started", "interrupted"]
    assert made[0].process.returncode == -signal.SIGTERM
