import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = [  # two runs of four steps on eight phantoms
    "--profile=demo",
    "--workers=1",
    "--set=grid.dataset=[isic2018]",
    "--set=grid.network=[unet]",
    "--set=grid.loss=[dice, adaptive_log]",
    "--set=datasets.isic2018.size=[32, 32]",
    "--set=datasets.isic2018.phantom={cases: 10, size: 48}",
    "--set=networks={unet: {name: unet_demo, filters: 2, depth: 2, dropout: 0.1}}",
    "--set=training.batch_size=2",
    "--set=training.steps=12",
    "--set=training.checkpoint_seconds=0",
]


def command(*arguments, results, data=None, env=None, background=False, script="reproduce_table3.py"):
    """Call the script as a user does, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RARESEG_DATA",)}
    environment |= {"RARESEG_CACHE": str(results.parent / "cache"), **(env or {})}
    places = ["--results", str(results), *(["--data", str(data)] if data else [])]
    call = [sys.executable, str(ROOT / "scripts" / script), *arguments, *places]
    if background:
        return subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment)
    return subprocess.run(call, capture_output=True, text=True, env=environment, timeout=600, check=False, cwd=ROOT)


@pytest.fixture(scope="module", autouse=True)
def as_in_a_worker(graphs_as_they_are):
    """Train as a worker process does."""


@pytest.fixture(scope="session")
def tiny():
    """Arguments of the smallest table that trains."""
    return TINY


@pytest.fixture(scope="session")
def call():
    """Call the script as a user does."""
    return command


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The results of the tiny table, run once without disturbance."""
    folder = tmp_path_factory.mktemp("finished") / "results"
    done = command(*TINY, results=folder)
    assert done.returncode == 0, done.stdout + done.stderr + (folder / "workers.log").read_text()
    return folder, done
