"""What a run takes on this machine, by trying: three steps, sixteen samples twice, in a process of its own.

The parent (``measured``) starts ``python -m rareseg.experiments.measure`` once for each kind of run and reads one line
of JSON.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rareseg import datasets, pipeline
from rareseg.datasets.facts import cores
from rareseg.experiments import cost, pool
from rareseg.experiments.cases import open_dataset, pipeline_settings
from rareseg.experiments.grid import Point
from rareseg.experiments.hardware import peak_memory

STEPS, SAMPLES, CASES = 3, 16, 8
PASSES = 2
"""How often the same samples are made; the faster time counts, so that one stall of the disk does not."""


def measured(points: Sequence[Point], folder_of: Callable[[str], Path]) -> Iterator[str]:
    """Yield a line per kind of run, and the sum.

    Args:
        points: Runs of the table.
        folder_of: Data set -> its folder; where there is none, steps are timed on noise and samples are not.
    """
    total = 0.0
    for same, known, found in trials(points, folder_of):
        hours = run_seconds(known, found) / 3600
        total += hours * len(same) + found["start"] / 3600
        samples = f"{found['sample'] * 1000:.1f} ms a sample" if found["sample"] else "no data here to time samples"
        yield (
            f"measured, {same[0].dataset} {same[0].network}, {cost.counted(same)} of {known.steps:,} steps: "
            f"{found['step']:.3f} s a step, {samples}; about {cost.duration(hours)} and "
            f"{found['peak_mib'] / 1024:.1f} GiB per run, after {found['start']:.0f} s to start a worker"
        )
    yield f"measured, in all about {cost.duration(total)} on this machine, one run at a time"


def trials(
    points: Sequence[Point], folder_of: Callable[[str], Path]
) -> Iterator[tuple[list[Point], cost.Cost, dict[str, float]]]:
    """Try one run of each kind.

    Args:
        points: Runs of the table.
        folder_of: Data set -> its folder, see `measured`.

    Yields:
        The runs of a kind, what one amounts to, and what was measured: seconds ``start`` of the process with its first
        step, ``step`` and ``test`` of a batch, ``sample``, 0 where there is no data; high-water mark ``peak_mib``;
        ``ahead``, whether a core is left that makes the next batch during a step.

    Raises:
        DataError: A process failed.
    """
    for same in cost.kinds(points):
        dataset, settings = same[0].dataset, same[0].settings
        folder = folder_of(dataset)
        known = cost.Cost.of(dataset, settings, folder)
        yield same, known, _tried(dataset, settings, folder, known)


def run_seconds(known: cost.Cost, found: Mapping[str, float]) -> float:
    """Return the seconds of one run: steps with their samples, validation, prediction."""
    samples = found["sample"] or 0.0
    batches = math.ceil(known.validated / known.batch)
    both = (found["step"], known.batch * samples)
    trained = known.steps * (max(both) if found["ahead"] else sum(both))
    looked = known.epochs * (batches * found["test"] + known.validated * samples)
    return trained + looked + math.ceil(known.windows / known.batch) * found["test"]


def _tried(dataset: str, settings: Mapping[str, Any], folder: Path, known: cost.Cost) -> dict[str, float]:
    """Start a process that tries it, and return what it measured."""
    job = {"dataset": dataset, "settings": settings, "folder": str(folder)}
    job |= {"shape": known.shape, "channels": known.channels, "classes": known.classes}
    done = subprocess.run(
        [sys.executable, "-m", "rareseg.experiments.measure"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env=pool.environment(settings["training"]["threads"]),
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise datasets.DataError(f"--measure: {dataset} could not be tried: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Try what standard input describes, and print what was measured."""
    job, began = json.load(sys.stdin), time.perf_counter()
    from rareseg.experiments.worker import prepare_backend

    settings, training = job["settings"], job["settings"]["training"]
    prepare_backend(training)
    from rareseg.experiments.session import Session  # it imports the backend

    with tempfile.TemporaryDirectory() as temporary:
        batches = _batches(job, Path(temporary))
        images, labels = batches[0] if batches else _noise(job, training["batch_size"])
        session = Session(settings["network"], 0, images.shape[1:], job["classes"], training, [settings["loss"]])
        session.reset(settings["loss"])
        rate = training["optimiser"]["learning_rate"]
        session.step(images, labels, rate)
        found = {"start": time.perf_counter() - began}
        found["step"] = median(_timed(lambda: session.step(images, labels, rate)) for _ in range(STEPS))
        session.test(images, labels)
        found["test"] = median(_timed(lambda: session.test(images, labels)) for _ in range(STEPS))
        found["sample"] = _sample_seconds(batches, training["batch_size"]) if batches else 0.0
    print(json.dumps(found | {"peak_mib": peak_memory(), "ahead": cores() > training["threads"]}))
    return 0


def _timed(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _sample_seconds(batches: Any, size: int) -> float:
    count = math.ceil(SAMPLES / size)
    passes = [_timed(lambda: [batches[index % len(batches)] for index in range(count)]) for _ in range(PASSES)]
    return min(passes) / (count * size)


def _batches(job: Mapping[str, Any], temporary: Path) -> Any:
    """Return batches of a few cases of the data set, or of phantoms; None where it is not there."""
    settings, folder, cache = job["settings"], Path(job["folder"]), {}
    phantom = settings["dataset"]["phantom"]
    if phantom and not folder.is_dir():
        wanted = {**phantom, "cases": min(CASES, phantom["cases"])}
        folder, cache = datasets.make_phantoms(job["dataset"], temporary / "phantoms", **wanted), {"cache": "none"}
    if not folder.is_dir():
        return None
    drawing = replace(pipeline_settings(settings), steps_per_epoch=None, **cache)
    cases = open_dataset(job["dataset"], folder, settings["dataset"]).cases[:CASES]
    samples: Sequence[Any] = pipeline.prepare_all(cases, drawing, workers=1)
    if drawing.patches:
        few = replace(drawing, patches=replace(drawing.patches, count=max(SAMPLES, drawing.batch_size)))
        samples = pipeline.draw_patches(samples, few, 0)
    return pipeline.Batches(samples, drawing, seed=0)


def _noise(job: Mapping[str, Any], size: int) -> tuple[Any, Any]:
    import numpy as np

    draw = np.random.default_rng(0)
    images = draw.random((size, *job["shape"], job["channels"]), dtype=np.float32)
    return images, (images[..., 0] > 0.9).astype(np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())
