"""The command line of every script: arguments in, runs and tables out, an exit code. Nothing here imports a backend."""

import argparse
import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from rareseg import datasets
from rareseg.experiments import config, cost, grid, store
from rareseg.experiments.cases import Cases, open_cases
from rareseg.experiments.config import ConfigError
from rareseg.experiments.console import Progresser
from rareseg.experiments.pool import Pool

WIDTH = 120
"""Columns of the output where there is no terminal."""
INTERRUPTED = {2: 130}  # by signal; every other ends as SIGTERM does


def main(table: str, arguments: list[str] | None = None) -> int:
    """Run the table's experiments and print the table beside the published one.

    Args:
        table: Name of the file below ``configs/``, without its suffix; or ``prepare``, which trains nothing.
        arguments: Command line; None takes that of the process.

    Returns:
        0 done, 1 some runs failed, 2 the user must change something, 130 and 143 interrupted with the state saved.
    """
    if table == "prepare":
        from rareseg.experiments import prepare  # the tables need none of it

        return prepare.main(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    options = _parser(table).parse_args(arguments)
    try:
        return Command(table, options, console).run()
    except (ConfigError, datasets.DataError) as error:
        print(error, file=sys.stderr)
        return 2


def _parser(table: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"reproduce_{table}.py",
        description=f"Train and score the runs of {table}, and compare them with the published table.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--profile",
        default="paper",
        choices=config.PROFILES,
        help="paper: the published protocol (default); cpu: real data on two cores; demo: phantoms, minutes",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("RARESEG_DATA"),
        help="folder that holds one folder per data set (default: RARESEG_DATA, else data/)",
    )
    parser.add_argument("--results", type=Path, help="where everything goes (default: results/<profile>/)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE[,KEY=VALUE]",
        help="keep the runs that match; a second --only is 'or'",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.KEY=VALUE", help="change a value of the configuration"
    )
    parser.add_argument("--seeds", metavar="0-4", help="other seeds")
    parser.add_argument(
        "--workers", type=_positive, help="runs at once (default: what cores, threads and free memory allow)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be run, at what cost, and what data is missing"
    )
    parser.add_argument(
        "--report-only", action="store_true", help="make the tables from what is stored, without training"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


class Command:
    """One call of a script.

    Args:
        table: Name of the table.
        options: Parsed command line.
        console: Where to print.
    """

    def __init__(self, table: str, options: argparse.Namespace, console: Console) -> None:
        self.table, self.options, self.console = table, options, console
        settings = [*options.set, *([f"seeds={_seeds(options.seeds)}"] if options.seeds else [])]
        self.config = config.read(configuration(table), options.profile, settings)
        self.points = grid.points(self.config)
        self.selected = grid.select(self.points, options.only)
        self.results = options.results or root() / "results" / options.profile

    def run(self) -> int:
        """Do what the options ask for; return the exit code."""
        if self.options.dry_run:
            self._print_plan()
            return 0
        _check_backend(self.points)
        missing = self._missing()
        if missing and not self.options.report_only:
            raise ConfigError(_missing_sentence(missing))
        with store.locked(self.results):
            return self._work()

    def _work(self) -> int:
        began = time.monotonic()
        self._make_phantoms()
        opened = self._open()
        due = [self._due(point, opened) for point in self.points if point.dataset in opened]
        self._write_splits(due, opened)
        jobs = (
            [] if self.options.report_only else [self._job(one) for one in due if one.selected and not one.finished()]
        )
        stopped = self._train(jobs) if jobs else None
        if stopped is not None:
            again = shlex.join([Path(sys.argv[0]).as_posix(), *sys.argv[1:]])
            self.console.print(f"Interrupted; everything is saved. Go on with: {again}", markup=False, soft_wrap=True)
            return INTERRUPTED.get(stopped, 143)
        from rareseg.experiments.report import Report  # imports pandas and Matplotlib

        protocol = "paper" if self.options.profile == "paper" and not self.options.set else "other"
        Report(self.config, protocol, self.points, due, opened, self.results).write(self.console)
        finished = sum(one.finished() for one in due)
        failed = sum(one.selected and not one.finished() for one in due)
        seconds = time.monotonic() - began
        summary = f"{finished} of {len(self.points)} runs are finished, {len(jobs)} were due now; {seconds:.0f} s."
        self.console.print(f"{summary} All files: {self.results / self.table}", markup=False, soft_wrap=True)
        return 1 if failed and not self.options.report_only else 0

    def _folder(self, key: str) -> Path:
        """Return where the files of a data set lie."""
        if self.config.datasets[key].phantom:
            return self.results / "phantoms" / key
        return Path(self.options.data or root() / "data") / key

    def _needed(self) -> list[str]:
        """Return the data sets that selected runs use."""
        return list(dict.fromkeys(point.dataset for point in self.selected))

    def _missing(self) -> dict[str, Path]:
        """Return the data sets that are not there."""
        return {
            key: self._folder(key)
            for key in self._needed()
            if not self.config.datasets[key].phantom and not self._folder(key).is_dir()
        }

    def _make_phantoms(self) -> None:
        """Draw the phantoms that are not there yet; others than those asked for are refused."""
        wanted = {key: self.config.datasets[key].phantom for key in self.config.grid.dataset}
        if any(wanted.values()) and self.options.data:
            self.console.print(
                f"--data is ignored: profile {self.options.profile} makes its own phantoms", markup=False
            )
        for key, phantom in wanted.items():
            folder = self._folder(key)
            if phantom is None:
                continue
            if not folder.is_dir():
                self.console.print(f"drawing {phantom.cases} phantoms of {key}", markup=False)
            store.write(
                self.results / "PHANTOM.txt", "Every number and picture in this folder was computed on phantoms.\n"
            )
            datasets.make_phantoms(key, folder, **phantom.model_dump())

    def _open(self) -> dict[str, Cases]:
        """Open and prepare every data set that is there; a fault in one that is needed is the user's to mend."""
        opened: dict[str, Cases] = {}
        for key in self.config.grid.dataset:
            if not self._folder(key).is_dir():
                continue
            settings = next(point.settings for point in self.points if point.dataset == key)
            try:
                opened[key] = open_cases(key, self._folder(key), settings, workers=os.cpu_count() or 1)
            except datasets.DataError:
                if key in self._needed():
                    raise
        return opened

    def _due(self, point: grid.Point, opened: dict[str, Cases]) -> store.Due:
        name = grid.identity(point, opened[point.dataset].fingerprint, backend())
        return store.Due(point, store.Run(self.results / "runs" / name), point in self.selected)

    def _write_splits(self, due: list[store.Due], opened: dict[str, Cases]) -> None:
        """Write which case is on which side, one CSV per data set."""
        for key, cases in opened.items():
            settings = next(one.point.settings for one in due if one.point.dataset == key)
            target = self.results / self.table / "splits" / f"{key}.csv"
            target.parent.mkdir(parents=True, exist_ok=True)
            datasets.write_split(target, cases.division(settings))

    def _job(self, one: store.Due) -> dict[str, Any]:
        """Return what a worker needs to know."""
        point = one.point
        losses = [
            other.settings["loss"]
            for other in self.points
            if other.network == point.network and other.dataset == point.dataset
        ]
        return {
            "id": one.run.id,
            "folder": str(one.run.folder.absolute()),
            "dataset": point.dataset,
            "network": point.network,
            "loss": point.loss,
            "arguments": point.arguments,
            "seed": point.seed,
            "settings": point.settings,
            "training": point.settings["training"],
            "data": str(self._folder(point.dataset).absolute()),
            "losses": [loss for index, loss in enumerate(losses) if loss not in losses[:index]],
            "evaluation": grid.digest(point.settings["evaluation"]),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _train(self, jobs: list[dict[str, Any]]) -> int | None:
        """Work through the jobs; return the signal that stopped them, if one did."""
        workers = min(self.options.workers or default_workers(jobs), len(jobs))
        noun = "process" if workers == 1 else "processes"
        self.console.print(f"{len(jobs)} of {len(self.points)} runs are due, on {workers} worker {noun}", markup=False)
        folders = {job["id"]: Path(job["folder"]) for job in jobs}
        with Progresser(self.console, len(jobs)) as progress:

            def report(event: Any) -> None:
                if event.get("dead"):
                    store.Run(folders[event["run"]]).update(state="failed", reason=event["reason"])
                progress(event)

            pool = Pool(jobs, workers, self.results / "workers.log", report)
            pool.run()
        return pool.signal

    def _print_plan(self) -> None:
        """Print what would be run."""
        self.console.print(f"runs: {len(self.selected)}", markup=False)
        for line in cost.plan(self.selected):
            self.console.print(line, markup=False, soft_wrap=True)
        missing = self._missing()
        if missing:
            self.console.print(_missing_sentence(missing), markup=False, soft_wrap=True)


def backend() -> str:
    """Return the backend that the workers will use: Keras' own switch."""
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _check_backend(points: list[grid.Point]) -> None:
    if backend() not in ("tensorflow", "jax", "torch"):
        raise ConfigError(f"KERAS_BACKEND={backend()}: unknown, known are tensorflow, jax, torch")
    if backend() != "tensorflow" and any(point.settings["pipeline"]["backend"] == "miscnn" for point in points):
        raise ConfigError(
            f"pipeline.backend: miscnn needs TensorFlow, but KERAS_BACKEND is {backend()}. "
            "Use native, or unset KERAS_BACKEND"
        )


def _missing_sentence(missing: dict[str, Path]) -> str:
    """Say which data sets are missing, where they come from, under which terms, and where they go."""
    lines = [f"- {key}: not in {folder}. {datasets.source(key)}" for key, folder in missing.items()]
    names = ", ".join(missing)
    head = f"Missing data: {names}. Put it below the folder of --data (or RARESEG_DATA). "
    head += "--profile demo needs none."
    return "\n".join([head, *lines])


def default_workers(jobs: list[dict[str, Any]]) -> int:
    """Return how many runs fit on the machine at once."""
    threads = max(job["training"]["threads"] for job in jobs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = max(cost.memory_gib(job["settings"]) for job in jobs)
    return max(1, min(cores // threads, int(cost.free_memory_gib() / memory)))


def root() -> Path:
    """Return the clone that the script lies in, or the working folder where there is none."""
    script = Path(sys.argv[0]).resolve()
    return (
        script.parents[1]
        if script.parent.name == "scripts" and (script.parents[1] / "configs").is_dir()
        else Path.cwd()
    )


def configuration(table: str) -> Path:
    """Return the configuration of a table: the clone's, where there is one, or the packaged copy."""
    mine = root() / "configs" / f"{table}.yaml"
    if mine.is_file():
        return mine
    from importlib import resources

    return Path(str(resources.files("rareseg.configs").joinpath(f"{table}.yaml")))


def _seeds(text: str) -> list[int]:
    """Read ``0-4`` or ``0,2,5``."""
    try:
        first, dash, last = text.partition("-")
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text}: expected 0-4 or 0,2,5") from error
    if not seeds:
        raise ConfigError(f"--seeds {text}: the range is empty")
    return seeds
