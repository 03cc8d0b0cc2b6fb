"""What a run costs, by arithmetic from the configuration: no backend is imported, nothing is built.

A network is a list of convolutions (``convolutions.py``). Time is a forecast: 6 operations per multiply-accumulate in
training, 2 in prediction, at a stated speed.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rareseg import datasets
from rareseg.datasets.listing import by
from rareseg.experiments.cases import divides_patches, open_dataset
from rareseg.experiments.convolutions import activations, convolutions, macs, parameters
from rareseg.experiments.grid import Point
from rareseg.pipeline.preprocess import resampled

FLOPS = 3e10
"""Operations per second and thread that these networks reach (measured on a server core with AVX-512)."""
GPU, LAUNCH = 1e13, 5e-3
"""Operations per second that a GPU with 24 GB sustains on U-Nets, and seconds that a step takes whatever its size: not
measured here."""
EPOCHS_BEFORE_STOP = 150
"""Epochs that runs with early stopping are assumed to take, where they may take more."""
GRIDS = {
    "drive": ((584, 565), None),
    "brats2020": ((155, 240, 240), (1.0, 1.0, 1.0)),
    "kits19": ((128, 248, 248), (3.22, 1.62, 1.62)),
}
"""Usual shape of a case that is predicted by windows, and the spacing in mm at which it has it; KiTS19's is UFL's."""
AROUND = 7 * 2**10
"""Bytes that a file holds around the kernel of a convolution: bias, normalisation, HDF5's own tables."""
CGROUP = Path("/sys/fs/cgroup")
UNKNOWN_SIDE, UNKNOWN_CASES = 256, 100
"""Assumed where only the user's files could tell."""


@dataclass(frozen=True)
class Cost:
    """What one run takes.

    Attributes:
        shape: Of a training sample, (*space).
        channels: Of a sample.
        classes: Of the network's output.
        batch: Samples per step.
        epochs: Passes until the end, assumed where the run may stop early.
        steps: Steps until the end.
        validated: Samples that are looked at after each epoch.
        windows: Windows that are predicted in the end.
        voxels: Of all label maps that come of them.
        macs: Multiply-accumulates of one forward pass of a sample.
    """

    shape: tuple[int, ...]
    channels: int
    classes: int
    batch: int
    epochs: int
    steps: int
    validated: int
    windows: int
    voxels: int
    macs: int

    @classmethod
    def of(cls, dataset: str, settings: Mapping[str, Any], folder: Path | None = None) -> "Cost":
        """Work out the cost of a run.

        Args:
            dataset: Name of the data set.
            settings: Resolved settings of the run.
            folder: Where its files lie; read only for the user's own data, whose number of cases is not known.
        """
        known, training = _Known.of(dataset, settings, folder), settings["training"]
        sizes = _sizes(known.cases, settings["dataset"]["split"])
        train, validation, test = (_samples(count, sizes, known, settings) for count in sizes)
        steps, epochs = _steps(train, training)
        shape = _shape(known, settings)
        work = macs(settings["network"], shape, known.channels, known.classes)
        whole = divides_patches(settings)
        windows = test if whole else sizes[2] * _windows(known, settings)
        voxels = test * math.prod(shape) if whole else sizes[2] * math.prod(known.grid)
        return cls(
            shape,
            known.channels,
            known.classes,
            training["batch_size"],
            epochs,
            steps,
            validation,
            windows,
            voxels,
            work,
        )

    @property
    def operations(self) -> float:
        """Floating-point operations of training, validation and prediction."""
        trained, seen = self.steps * self.batch, self.epochs * self.validated + self.windows
        return self.macs * (6.0 * trained + 2.0 * seen)


@dataclass(frozen=True)
class _Known:
    """What is known of a data set without its files."""

    cases: int
    channels: int
    classes: int
    grid: tuple[int, ...]  # usual shape of a case before it is cut into windows

    @classmethod
    def of(cls, dataset: str, settings: Mapping[str, Any], folder: Path | None) -> "_Known":
        section = settings["dataset"]
        about, cases = datasets.about(section["reader"] or dataset), 0
        if section["reader"] == "folder" and folder is not None:
            try:
                found = open_dataset(dataset, folder, section)
                about, cases = found.about, len(found.cases)
            except datasets.DataError:
                cases = 0
        phantom, patch = section["phantom"], settings["pipeline"]["patch"]
        rank = len(section["size"] or patch or (0, 0))
        grid, spacing = GRIDS.get(section["reader"] or dataset, ((UNKNOWN_SIDE,) * rank, None))
        if spacing and section["spacing"]:
            grid = resampled(grid, spacing, section["spacing"])
        grid = tuple(section["size"] or grid)
        if phantom:
            cases, grid = phantom["cases"], tuple(section["size"] or (phantom["size"],) * rank)
        channels = section["channels"] or about.channels
        return cls(cases or about.cases or UNKNOWN_CASES, channels, len(about.classes), grid)


@dataclass(frozen=True)
class _Case:
    """What a split needs to know of a case."""

    id: str
    group: str
    part: str


def _sizes(count: int, split: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return how many cases train, validate and are tested; what only files could tell is guessed."""
    official = ["test" if number < count // 2 else "training" for number in range(count)]
    cases = [_Case(str(number), str(number), part) for number, part in enumerate(official)]
    kind = "random" if split["kind"] == "file" else split["kind"]
    try:
        parts = datasets.split(cases, {**split, "kind": kind, "group_by": "none", "stratify_by": "none"})
    except (ValueError, datasets.DataError):
        return max(count - 1, 1), 0, 1
    return len(parts["train"]), len(parts["validation"]), len(parts["test"])


def _samples(count: int, sizes: Sequence[int], known: _Known, settings: Mapping[str, Any]) -> int:
    """Return the samples of an epoch that so many cases give; ``sizes`` is how many train, validate, are tested."""
    pipeline = settings["pipeline"]
    if pipeline["analysis"] == "patches":
        drawn = pipeline["patches"]
        return round(drawn["count"] * count / (sum(sizes) if drawn["split_by"] == "patch" else sizes[0]))
    return count * (_windows(known, settings) if pipeline["analysis"] == "grid" else 1)


def _steps(samples: int, training: Mapping[str, Any]) -> tuple[int, int]:
    """Return steps and epochs of a run."""
    per_epoch = training["steps_per_epoch"] or math.ceil(samples / training["batch_size"])
    if training["steps"]:
        return training["steps"], math.ceil(training["steps"] / per_epoch)
    epochs = min(training["epochs"], EPOCHS_BEFORE_STOP) if training["stop_early"] else training["epochs"]
    return epochs * per_epoch, epochs


def _shape(known: _Known, settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the spatial shape of a training sample."""
    return tuple(settings["pipeline"]["patch"]) if settings["pipeline"]["analysis"] != "whole" else known.grid


def _windows(known: _Known, settings: Mapping[str, Any]) -> int:
    """Return the windows that cover a case in prediction."""
    patch, overlap = settings["pipeline"]["patch"], settings["pipeline"]["overlap"]
    if patch is None:
        return 1
    shared = overlap or [side // 2 for side in patch]
    axes = zip(known.grid, patch, shared, strict=False)
    return math.prod(math.ceil(max(length - side, 0) / (side - common)) + 1 for length, side, common in axes)


def kinds(points: Sequence[Point]) -> list[list[Point]]:
    """Return the runs that cost the same together: of one data set and network, trained alike."""
    found: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        found.setdefault((point.dataset, point.network, repr(point.settings["training"])), []).append(point)
    return list(found.values())


def counted(runs: Sequence[Point]) -> str:
    """Return how many runs there are, in words."""
    return "1 run" if len(runs) == 1 else f"{len(runs)} runs"


def plan(points: Sequence[Point], folder_of: Callable[[str], Path]) -> list[str]:
    """Return a line per kind of run, and the sum: steps, multiply-accumulates, hours, memory.

    Args:
        points: Runs of the table.
        folder_of: Data set -> its folder.
    """
    lines, total, on_gpu = [], 0.0, 0.0
    for same in kinds(points):
        dataset, network = same[0].dataset, same[0].network
        cost = Cost.of(dataset, same[0].settings, folder_of(dataset))
        hours = run_hours(cost, same[0].settings)
        total += hours * len(same)
        on_gpu += gpu_hours(cost) * len(same)
        lines.append(
            f"{dataset} {network}: {counted(same)} of {cost.steps:,} steps, batch {cost.batch} of "
            f"{by(cost.shape)}, {cost.macs / 1e9:.2f} G multiply-accumulates per sample; about "
            f"{duration(hours)} and {memory_gib(cost, same[0].settings):.1f} GiB per run"
        )
    threads = f"at {FLOPS / 1e9:.0f} Gflop/s a thread"
    gpu = f"about {duration(on_gpu)} on a GPU that sustains {GPU / 1e12:.0f} Tflop/s"
    return [*lines, f"in all about {duration(total)} {threads}, {gpu}, one run at a time; forecasts by arithmetic"]


def run_hours(cost: Cost, settings: Mapping[str, Any]) -> float:
    """Return the forecast hours of one run."""
    return cost.operations / (FLOPS * settings["training"]["threads"]) / 3600


def gpu_hours(cost: Cost, speed: float = GPU) -> float:
    """Return the forecast hours of one run on a GPU that sustains so many operations per second."""
    return (cost.operations / speed + cost.steps * LAUNCH) / 3600


def memory_gib(cost: Cost, settings: Mapping[str, Any]) -> float:
    """Return the forecast memory of one run: the backend, and 4 bytes x 5 for each activation of a batch."""
    numbers = activations(settings["network"], cost.shape, cost.channels, cost.classes)
    return 1.0 + numbers * cost.batch * 4 * 5 / 2**30


def disk_gib(cost: Cost, settings: Mapping[str, Any]) -> tuple[float, float]:
    """Return the forecast disk space of one run: what it keeps, and what its checkpoints take while it trains.

    It keeps its weights, and label maps, which compress to a quarter of a bit a voxel or less. A checkpoint holds the
    weights, two numbers of the optimiser beside each, and the best weights; there are two, while a third is written.
    """
    kernels = 4 * parameters(settings["network"], len(cost.shape), cost.channels, cost.classes)
    layers = len(convolutions(settings["network"], cost.channels, cost.classes))
    weights = kernels + AROUND * layers
    maps = cost.voxels / 32
    return (weights + maps) / 2**30, 3 * 4 * weights / 2**30


def free_memory_gib() -> float:
    """Return the memory that can be had without swapping; where the system does not say, all that the machine has.

    In a container it is at most what its limit leaves, of which files that are only kept in memory take nothing.
    """
    path = Path("/proc/meminfo")
    if not path.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    fields = dict(line.split(":") for line in path.read_text(encoding="utf-8").splitlines())
    return min(int(fields["MemAvailable"].split()[0]) * 2**10, _left_to_container()) / 2**30


def _left_to_container() -> float:
    """Return the bytes that the limit of a control group leaves, infinity where there is none."""
    try:
        limit, held = ((CGROUP / name).read_text(encoding="utf-8").strip() for name in ("memory.max", "memory.current"))
        kept = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
    except OSError:
        return math.inf
    return math.inf if limit == "max" else max(0, int(limit) - int(held) + int(kept["inactive_file"]))


def duration(hours: float) -> str:
    """Return hours, or minutes where they are few."""
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
