"""Several commands on one results folder: each run is done once, whatever dies."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from rareseg.experiments import pool, store

COMMAND = str(Path(__file__).with_name("tiny_command.py"))


@pytest.fixture
def start(tmp_path):
    """Return f(number, seconds, workers, *fates): a command that works through jobs, in a process of its own."""
    with ExitStack() as stack:

        def start(*arguments):
            call = [sys.executable, COMMAND, str(tmp_path), *map(str, arguments)]
            process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, start_new_session=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


def told(process):
    """Return the events that a command told, and see that it ended well."""
    lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0
    return [json.loads(line) for line in lines]


def steps(tmp_path):
    """Return the steps that were taken, by run."""
    return {path.parent.name: list(map(int, path.read_text().split())) for path in tmp_path.glob("runs/*/steps.txt")}


def test_commands_share_the_runs_and_each_ends_with_all_of_them(tmp_path, start):
    each = [told(process) for process in [start(10, 0.1, workers, "1:raises", "6:raises") for workers in (1, 2, 1)]]
    failing = {"run-1", "run-6"}
    names = [f"run-{index}" for index in range(10)]
    assert steps(tmp_path) == {name: [0, 1, 2, 3, 4] for name in names if name not in failing}
    for events in each:
        ends = [(event["run"], event["kind"]) for event in events if event["kind"] in pool.ENDS]
        assert sorted(ends) == sorted((name, "failed" if name in failing else "finished") for name in names)
    reasons = Counter(event["reason"] for events in each for event in events if event["kind"] == "failed")
    assert reasons == {"ValueError: made to fail": 2, "in another command: ValueError: made to fail": 4}


def test_what_costs_a_run_is_named_and_costs_no_other(start):
    events = told(start(5, 0.1, 2, "1:dies", "2:starves", "3:raises"))
    reasons = {event["run"]: event["reason"] for event in events if event["kind"] == "failed"}
    assert re.fullmatch(r"the worker process died \(signal SIGKILL; it held \d+ MiB at most\).*", reasons["run-1"])
    assert reasons["run-2"] == (
        "too little memory for batches of 2 samples of 8 x 8: lower training.batch_size or pipeline.patch "
        "(MemoryError: no room)"
    )
    assert reasons["run-3"] == "ValueError: made to fail"
    assert {event["run"] for event in events if event["kind"] == "finished"} == {"run-0", "run-4"}


@pytest.mark.slow
def test_the_runs_of_a_command_that_was_killed_are_taken_over(tmp_path, start):
    first = start(2, 3, 2)
    while len(steps(tmp_path)) < 2:
        time.sleep(0.05)
    second = start(2, 3, 2)
    time.sleep(0.5)
    os.killpg(first.pid, signal.SIGKILL)
    events = told(second)
    assert steps(tmp_path) == {"run-0": [0, 1, 2, 3, 4], "run-1": [0, 1, 2, 3, 4]}
    assert [event["kind"] for event in events].count("finished") == 2


@pytest.mark.parametrize("script", ["reproduce_table3.py", "prepare.py"])
def test_a_command_waits_for_the_one_that_prepares_or_reports(call, tmp_path, script):
    results = tmp_path / "results"
    arguments = ["isic2018"] if script == "prepare.py" else ["--profile=demo"]
    with store.locked(results, print):
        process = call(*arguments, results=results, data=tmp_path, script=script, background=True)
        line = process.stdout.readline()
        process.kill()
        process.communicate()
    assert line == f"{results} is in use by process {os.getpid()} on {os.uname().nodename}; this command waits for it\n"
    assert not [path for path in results.iterdir() if path.name != ".lock"]
