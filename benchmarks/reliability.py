"""What tests cannot repeat often enough: kills of runs, of savings and of commands that share a folder; memory in time.

A figure of kills counts what was lost or came out otherwise than without them.
"""

import gc
import hashlib
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from prediction import noise, prepared
from process import answered, measured
from record import Figure, arguments, finish

from rareseg.experiments import checkpoint, config, cost, grid, hardware, measure

ROOT = Path(__file__).parents[1]
TINY = [  # two runs of twelve steps on ten phantoms
    "--profile=demo",
    "--set=grid={dataset: [isic2018], network: [unet], loss: [dice, adaptive_log]}",
    "--set=datasets.isic2018={size: [32, 32], phantom: {cases: 10, size: 48}}",
    "--set=networks={unet: {name: unet_demo, filters: 2, depth: 2, dropout: 0.1}}",
    "--set=training={batch_size: 2, steps: 12, checkpoint_seconds: 0}",
]
FORECAST = {  # table -> what of its demo is run; 2D, patches, 3D
    "table3": ["grid={dataset: [isic2018], network: [unet], loss: [dice, adaptive_log]}"],
    "ufl_table3": ["grid={dataset: [drive], network: [unet], loss: [dice, unified_focal_asymmetric]}"],
    "ufl_table5": ["grid={dataset: [brats2020], network: [unet], loss: [dice, unified_focal_asymmetric]}"],
}
CLOSE = {"time": 1.5, "memory": 1.3, "disk": 1.1}
"""Targets of a forecast, as factors."""
WARM = 0.1
"""Share of a long process that is not counted: libraries fill their caches."""
HOW = (
    "kills: SIGKILL at moments drawn evenly over the length of an undisturbed command, after each the same command "
    "again; equal: SHA-256 of weights and table_long.csv; saving: a process that only saves; sharing: commands whose "
    "workers sleep instead of training; memory: resident set of a process, end against the end of its warm-up; "
    "forecasts: what --dry-run --measure tries and adds up, against the records of two runs one after the other"
)


def main() -> int:
    """Kill, measure, print and record."""
    options = arguments(__doc__).parse_args()
    if answered(options, lambda job: CHILDREN[job.pop("measure")](**job)):
        return 0
    return finish("reliability", HOW, _figures(options.quick), options, hardware.backend())


def _figures(quick: bool) -> Iterator[Figure]:
    dice = random.Random(0)
    times = 20 if quick else 1000
    yield Figure(f"states lost in {times} kills while saving", killed_while_saving(times, dice), 0)
    commands, runs, kills = (3, 20, 3) if quick else (8, 200, 20)
    wrong = sharing(commands, runs, kills, dice)
    yield Figure(f"of {runs} runs shared by {commands} commands with {kills} kills, not done exactly once", wrong, 0)
    for what, rounds in (("epochs", 100 if quick else 500), ("predictions", 200 if quick else 2000)):
        grown = measured(__file__, {"measure": what, "rounds": rounds}, {"TF_NUM_INTRAOP_THREADS": "1"})
        yield Figure(f"growth of memory over {rounds} {what}, %", 100 * (grown["last"] / grown["warm"] - 1), 1)
    for table, changed in dict(list(FORECAST.items())[: 1 if quick else None]).items():
        for what, (ratio, target) in forecasts(table, changed).items():
            yield Figure(f"{what} of {table} on phantoms, forecast against what happened, either way", ratio, target)
    times = 1 if quick else 200
    yield Figure(f"of {times} runs killed and started again, not equal to the undisturbed", killed_runs(times, dice), 0)


def killed_while_saving(times: int, dice: random.Random) -> int:
    """Return how often the state after a kill could not be loaded or was older than the last save that was told of."""
    lost = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            command = [sys.executable, __file__, "--child", json.dumps({"measure": "saving", "folder": folder})]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(dice.uniform(0, 0.1))
            process.kill()
            told = [first, *process.communicate()[0].split()]
            found = checkpoint.load(Path(folder))
            lost += found is None or found[0]["step"] < int(told[-1])
    return lost


def save_forever(folder: str) -> None:
    """Save one state after the other, from the last on, as training does."""
    last = checkpoint.load(Path(folder))
    for step in itertools.count(last[0]["step"] + 1 if last else 1):

        def write(path: Path, content: bytes = step.to_bytes(4, "big") * 50_000) -> None:
            path.write_bytes(content)

        checkpoint.save(Path(folder), step, {"step": step}, {"weights.h5": write})
        print(step, flush=True)


def sharing(commands: int, runs: int, kills: int, dice: random.Random) -> int:
    """Return how many runs were not done exactly once, step by step, by commands that are killed and started again."""
    with tempfile.TemporaryDirectory() as folder:
        script = ROOT / "tests" / "experiments" / "tiny_command.py"

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, str(script), folder, str(runs), "0.5", "1"]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL)

        alive = [start() for _ in range(commands)]
        for _ in range(kills):
            time.sleep(dice.uniform(0, 3))
            victim = dice.randrange(commands)
            alive[victim].kill()
            alive[victim].wait()
            alive[victim] = start()
        ended = [process.wait() for process in alive]
        if any(ended):
            raise RuntimeError(f"a command ended with {max(ended)}")
        expected = ["0", "1", "2", "3", "4"]
        found = [Path(folder) / "runs" / f"run-{index}" / "steps.txt" for index in range(runs)]
        return sum(not path.is_file() or path.read_text().split() != expected for path in found)


def killed_runs(times: int, dice: random.Random) -> int:
    """Return how often the files that a killed and repeated command leaves differ from an undisturbed one's."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "RARESEG_CACHE": f"{folder}/cache"}

        def start(results: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, str(ROOT / "scripts" / "reproduce_table3.py"), *TINY]
            command += ["--workers=2", "--results", f"{folder}/{results}"]
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

        began = time.monotonic()
        _ended_well(start("undisturbed"))
        length, expected, wrong = time.monotonic() - began, _digests(Path(folder, "undisturbed")), 0
        for number in range(times):
            process = start(str(number))
            time.sleep(dice.uniform(0, length))
            process.send_signal(signal.SIGKILL)
            process.wait()
            _ended_well(start(str(number)))
            wrong += _digests(Path(folder, str(number))) != expected
        return wrong


def forecasts(table: str, changed: list[str]) -> dict[str, tuple[float, float]]:
    """Return how many times too high or too low the forecasts of runs are, each with its target."""
    path = ROOT / "configs" / f"{table}.yaml"
    points = grid.points(config.read(path, "demo", changed))
    with tempfile.TemporaryDirectory() as results:
        foreseen = {"time": 0.0, "memory": 0.0, "disk": 0.0}
        for same, known, found in measure.trials(points, lambda dataset: Path(results, "phantoms", dataset)):
            foreseen["time"] += len(same) * measure.run_seconds(known, found) + found["start"]
            foreseen["memory"] = max(foreseen["memory"], found["peak_mib"])
            foreseen["disk"] += len(same) * cost.disk_gib(known, same[0].settings)[0]
        command = [sys.executable, str(ROOT / "scripts" / f"reproduce_{table}.py"), "--profile=demo", "--workers=1"]
        command += [*(f"--set={one}" for one in changed), "--results", results]
        _ended_well(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in Path(results).glob("runs/*/run.json")]
        happened = {
            "time": 3600 * sum(run["hours"] for run in runs),
            "memory": max(run["peak_memory_mib"] for run in runs),
            "disk": sum(path.stat().st_size for path in Path(results).glob("runs/**/*") if path.is_file()) / 2**30,
        }
    ratios = {what: foreseen[what] / happened[what] for what in foreseen}
    return {what: (max(ratio, 1 / ratio), CLOSE[what]) for what, ratio in ratios.items()}


def _ended_well(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise RuntimeError(f"a command ended with {process.returncode}")


def _digests(results: Path) -> dict[str, str]:
    files = [results / "table3" / "table_long.csv", *sorted(results.glob("runs/*/*.weights.h5"))]
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def epochs(rounds: int) -> dict[str, float]:
    """Train so many epochs of two steps."""
    from rareseg.experiments.session import Session

    training = {"optimiser": {"name": "adam", "learning_rate": 1e-3}, "supervision": None, "mixed_precision": None}
    network = {"name": "unet_demo", "filters": 2, "depth": 2}
    session = Session(network, 0, (32, 32, 3), 2, {**training, "xla": None, "devices": 1}, [{"name": "dice"}])
    session.reset({"name": "dice"})
    generator = np.random.default_rng(0)

    def epoch() -> None:
        for _ in range(2):
            images = generator.normal(size=(2, 32, 32, 3)).astype("float32")
            session.step(images, (images[..., 0] > 1).astype("uint8"), 1e-3)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(Path(folder), 1, {"step": 1}, {"variables.npz": session.save})

    return _memory(epoch, rounds)


def predictions(rounds: int) -> dict[str, float]:
    """Predict so many cases by windows."""
    from rareseg import models, pipeline

    network = models.build({"name": "unet_demo", "filters": 2, "depth": 2}, (32, 32, 1), 2)
    settings = {"patch": [32, 32], "overlap": [16, 16], "batch_size": 4, "scaling": "none"}
    generator = np.random.default_rng(0)

    def predict() -> None:
        shape = tuple(map(int, generator.integers(40, 80, 2)))
        pipeline.predict(network, prepared(shape, noise(shape)), settings, grid="network")

    return _memory(predict, rounds)


def _memory(act: Callable[[], None], rounds: int) -> dict[str, float]:
    """Return the resident set in MiB after the warm-up and at the end."""
    found = {}
    for number in range(rounds):
        act()
        if number == round(WARM * rounds):
            found["warm"] = _resident()
    return {**found, "last": _resident()}


def _resident() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


CHILDREN = {"saving": save_forever, "epochs": epochs, "predictions": predictions}

if __name__ == "__main__":
    sys.exit(main())
