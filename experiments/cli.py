"""What a script does: arguments in, runs and tables out, an exit code. Nothing here imports a backend."""

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rareseg import datasets
from rareseg.datasets import whole
from rareseg.datasets.facts import cores
from rareseg.experiments import config, cost, grid, hardware, options, store
from rareseg.experiments.cases import Cases, open_cases
from rareseg.experiments.checks import check_division
from rareseg.experiments.config import ConfigError
from rareseg.experiments.console import Progresser
from rareseg.experiments.doctor import MENDS
from rareseg.experiments.pool import Pool, exit_code

if TYPE_CHECKING:
    from rareseg.experiments.cluster import Cluster
    from rareseg.experiments.tracking import Tracker

OTHERS = {"prepare": "prepare", "figures": "paper_figures", "doctor": "doctor"}
"""Commands that train nothing, and their modules."""


def main(table: str, arguments: list[str] | None = None) -> int:
    """Run the table's experiments and print the table beside the published one.

    Args:
        table: Name of the file below ``configs/``, without its suffix; ``compare``, which takes a file; or one of
            `OTHERS`, which train nothing.
        arguments: Command line; None takes that of the process.

    Returns:
        0 done, 1 some runs failed, 2 the user must change something, 130 and 143 interrupted with the state saved.
    """
    if table in OTHERS:
        return import_module(f"rareseg.experiments.{OTHERS[table]}").main(arguments)  # the tables need none of it
    console = Console(highlight=False, width=None if sys.stdout.isatty() else options.WIDTH)
    asked = options.parser(table).parse_args(arguments)
    path = asked.config if table == "compare" else options.configuration(table)
    return options.guarded(lambda: Command(path, asked, console).run(), options.results(asked))


class Command:
    """One call of a script.

    Args:
        path: The configuration.
        asked: Parsed command line.
        console: Where to print.
    """

    def __init__(self, path: Path, asked: argparse.Namespace, console: Console) -> None:
        options.check(asked)
        self.path, self.asked, self.console = path, asked, console
        self.settings = [*asked.set, *([f"seeds={options.seeds(asked.seeds)}"] if asked.seeds else [])]
        self.config = config.read(path, asked.profile, self.settings)
        self.table = self.config.table
        self.points = grid.points(self.config)
        self.selected = grid.select(self.points, asked.only)
        self.tracker: Tracker | None = None
        self.results = options.results(asked)
        self.runs = len(grid.distinct(self.points))

    def run(self) -> int:
        """Do what the options ask for; return the exit code."""
        if self.asked.explain is not None:
            from rareseg.experiments.explain import explain

            return self._print(explain(self.path, self.asked.profile, self.settings, self.asked.explain))
        if self.asked.dry_run:
            return self._print(self._plan())
        _check_backend(self.points, here=not (self.asked.report_only or self.asked.ray))
        missing = self._missing()
        some = not self.points and len(missing) < len(self.config.grid.dataset)  # enough for a table of the data
        if missing and not (some and self.asked.report_only):
            raise ConfigError(self._missing_sentence(missing))
        self._check_published()
        if self.asked.track:
            from rareseg.experiments.tracking import Tracker

            self.tracker = Tracker(self.asked.track, self.table, self._tell)
        if self.asked.ray:
            from rareseg.experiments import cluster

            cluster.connect(self.asked.ray)
        began = time.monotonic()
        with store.locked(self.results, self._tell):
            self._make_phantoms()
            if not self.points:
                return self._describe()
            opened = self._open()
            self._check_case(opened)
            due = [self._due(point, opened) for point in self.points if point.dataset in opened]
            self._write_splits(due, opened)
        return self._work(due, opened, began)

    def _tell(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, soft_wrap=True)

    def _work(self, due: list[store.Due], opened: dict[str, Cases], began: float) -> int:
        """Train what is due, then make table and report; return the exit code."""
        wanted = {one.run.id: one for one in due if one.selected and not one.finished() and not self.asked.report_only}
        jobs = [self._job(one) for one in wanted.values()]  # two points of a sweep may be one run
        stopped = self._train(jobs) if jobs else None
        if stopped is not None:
            again = shlex.join([*options.switch(), Path(sys.argv[0]).as_posix(), *sys.argv[1:]])
            self.console.print(f"Interrupted; everything is saved. Go on with: {again}", markup=False, soft_wrap=True)
            return exit_code(stopped)
        from rareseg.experiments.report import Report  # imports pandas and Matplotlib

        report = Report(
            self.config,
            self._protocol(),
            self.points,
            due,
            opened,
            self.results,
            source=self.path,
            profile=self.asked.profile,
            again=options.again(self.table, self.asked),
            case=self.asked.case,
        )
        with store.locked(self.results, self._tell):
            report.write(self.console)
        finished = {one.run.id for one in due if one.finished()}
        failed = any(one.selected and not one.finished() for one in due)
        seconds = time.monotonic() - began
        summary = f"{len(finished)} of {self.runs} runs are finished, {len(jobs)} were due now; {seconds:.0f} s."
        self.console.print(f"{summary} All files: {self.results / self.table}", markup=False, soft_wrap=True)
        untracked = self.tracker is not None and self.tracker.failed
        return 1 if untracked or (failed and not self.asked.report_only) else 0

    def _describe(self) -> int:
        """Make a table of the data sets themselves."""
        from rareseg.experiments import facts, layout, stored  # import pandas

        cells = []
        for key in self.config.grid.dataset:
            if self._folder(key).is_dir():
                with _named(key):
                    cells += facts.facts(key, self._folder(key), grid.settings_of(self.config, key), cores())
        published = stored.published(self.table)
        long = facts.table(cells, self.table, published, self._protocol())
        title = layout.beside(self.config.title, bool(len(published)))
        source, again = self.path.read_text(encoding="utf-8"), options.again(self.table, self.asked)
        folder = self.results / self.table
        facts.write(long, folder, title=title, source=source, again=again, console=self.console)
        self._tell(f"All files: {folder}")
        return 0

    def _protocol(self) -> str:
        """Return whether every stated value is the paper's."""
        changed = {setting.partition("=")[0] for setting in self.asked.set}
        kept = changed <= {"seeds", "pipeline.cache", *(f"training.{key}" for key in grid.HARDWARE)}
        return "paper" if self.asked.profile == "paper" and kept else "other"

    def _folder(self, key: str) -> Path:
        """Return where the files of a data set lie."""
        section = self.config.datasets[key]
        if section.phantom:
            return self.results / "phantoms" / key
        if section.path:
            return Path(section.path).expanduser()
        return Path(self.asked.data or options.root() / "data") / key

    def _needed(self) -> list[str]:
        """Return the data sets of selected runs, or all where there are none; for a report, those of stored runs."""
        if self.points and self.asked.report_only:  # without its data, a run would be reported as not run
            return [key for key in self.config.grid.dataset if any((self.results / "runs").glob(f"{key}-*"))]
        return list(dict.fromkeys(point.dataset for point in self.selected)) or self.config.grid.dataset

    def _missing(self) -> dict[str, Path]:
        """Return the data sets that are not there."""
        return {
            key: self._folder(key)
            for key in self._needed()
            if not self.config.datasets[key].phantom and not self._folder(key).is_dir()
        }

    def _missing_sentence(self, missing: dict[str, Path]) -> str:
        """Say which data sets are missing, where they come from, under which terms, and where they go."""
        sections, demo = self.config.datasets, config.read(self.path, "demo").datasets
        head = f"Missing data: {', '.join(missing)}."
        if not all(sections[key].path for key in missing):
            head += " Put it below the folder of --data (or RARESEG_DATA)."
        if self.asked.profile != "demo" and all(key in demo and demo[key].phantom for key in missing):
            head += " --profile demo needs none."
        return "\n".join([head, *(f"- {key}: not in {folder}. {self._remedy(key)}" for key, folder in missing.items())])

    def _remedy(self, key: str) -> str:
        """Return one sentence: how a data set that is missing comes to where it is looked for."""
        if self.config.datasets[key].path:
            return f"Correct `datasets.{key}.path`."
        if key in datasets.names():
            return datasets.source(key)
        return f"Put its files there, or set `datasets.{key}.path`."

    def _make_phantoms(self) -> None:
        """Draw the phantoms that are not there yet; others than those asked for are refused."""
        wanted = {key: self.config.datasets[key].phantom for key in self.config.grid.dataset}
        drawn = ", ".join(key for key, phantom in wanted.items() if phantom)
        if drawn and self.asked.data:
            self.console.print(
                f"no file of {drawn} is read below {self.asked.data}: phantoms are asked for", markup=False
            )
        for key, phantom in wanted.items():
            folder = self._folder(key)
            if phantom is None:
                continue
            if not folder.is_dir():
                self.console.print(f"drawing {phantom.cases} phantoms of {key}", markup=False)
            note = "Every number and picture in this folder was computed on phantoms.\n"
            whole.write(self.results / "PHANTOM.txt", note)
            datasets.make_phantoms(key, folder, **phantom.model_dump())

    def _open(self) -> dict[str, Cases]:
        """Open and prepare every data set that is there; a fault in one that is needed is the user's to mend."""
        opened: dict[str, Cases] = {}
        for key in self.config.grid.dataset:
            if not self._folder(key).is_dir():
                continue
            settings = grid.settings_of(self.config, key)
            try:
                with _named(key):
                    found = open_cases(key, self._folder(key), settings, workers=cores())
                    check_division(key, found.division(settings), settings)
                opened[key] = found
            except datasets.DataError as error:
                if key in self._needed():
                    raise
                self._tell(f"{key} is left out of the table: {error}")
        return opened

    def _check_published(self) -> None:
        """Refuse published tables that cannot be compared with before anything is trained."""
        from rareseg.experiments import stored  # imports pandas

        for table in stored.related(self.table):
            stored.published(table)

    def _check_case(self, opened: dict[str, Cases]) -> None:
        """Refuse a case of which no label maps are kept: those of whole test cases are."""
        if not (wanted := self.asked.case):
            return
        reason = "no data set that is here has a case of this name"
        for key, cases in opened.items():
            if wanted in cases.originals:
                parts = cases.division(grid.settings_of(self.config, key))
                part = next((part for part, members in parts.items() if wanted in {one.id for one in members}), None)
                if part == "test":
                    return
                where = f"is in the part `{part}`" if part else "is divided into patches"
                reason = f"this case of {key} {where}, and label maps are kept of whole test cases only"
        raise ConfigError(f"--case {wanted}: {reason}")

    def _due(self, point: grid.Point, opened: dict[str, Cases]) -> store.Due:
        fingerprint = opened[point.dataset].identified_by(point.settings)
        name = grid.identity(point, fingerprint, hardware.backend())
        return store.Due(point, store.Run(self.results / "runs" / name), point in self.selected)

    def _write_splits(self, due: list[store.Due], opened: dict[str, Cases]) -> None:
        """Write which case is on which side, one CSV per data set."""
        for key, cases in opened.items():
            settings = next((one.point.settings for one in due if one.point.dataset == key), None)
            target = self.results / self.table / "splits" / f"{key}.csv"
            datasets.write_split(target, cases.division(settings or grid.settings_of(self.config, key)))

    def _job(self, one: store.Due) -> dict[str, Any]:
        """Return what a worker needs to know, and what the run is forecast to take."""
        point = one.point
        known = cost.Cost.of(point.dataset, point.settings, self._folder(point.dataset))
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
            "evaluation": grid.evaluation(point.settings),
            "operations": known.operations,
            "memory_gib": cost.memory_gib(known, point.settings),
            "disk_gib": cost.disk_gib(known, point.settings),
            "tried": one.run.record().get("started"),
        }

    def _train(self, jobs: list[dict[str, Any]]) -> int | None:
        """Work through the jobs; return the signal that stopped them, if one did."""
        known = {job["id"]: job for job in jobs}
        if self.tracker:
            self.tracker.expect(jobs)
        with Progresser(self.console, len(jobs)) as progress:

            def report(event: Any) -> None:
                if event.get("dead"):
                    note_death(known[event["run"]], event["reason"], self._tell)
                progress(event)
                if self.tracker:
                    self.tracker(event)

            runner = self._runner(jobs, report)
            runner.run()
        return runner.signal

    def _runner(self, jobs: list[dict[str, Any]], report: Callable[[Any], None]) -> "Pool | Cluster":
        """Return what works through the jobs: processes of this machine, or a cluster."""
        log = self.results / "workers.log"
        due = f"{len(jobs)} of {self.runs} runs are due"
        workers = min(self.asked.workers or default_workers(jobs), len(jobs))
        check_disk(self.results, jobs, workers)
        if self.asked.ray:
            from rareseg.experiments.cluster import Cluster

            self._tell(f"{due}, on the Ray cluster {self.asked.ray}")
            return Cluster(jobs, log, report)
        self._tell(f"{due}, on {workers} worker {'process' if workers == 1 else 'processes'}")
        return Pool(jobs, workers, log, report)

    def _plan(self) -> Iterator[str]:
        """Yield what would be run, what it costs, and what data is missing."""
        yield f"runs: {len(self.selected)}"
        due = grid.distinct(self.selected)
        if len(due) < len(self.selected):
            yield f"of these {len(due)} are trained; each other is one of them once more, for another cell of the table"
        if due:
            yield from cost.plan(due, self._folder)
        if due and self.asked.measure:
            from rareseg.experiments.measure import measured

            yield from measured(due, self._folder)
        missing = self._missing()
        if missing:
            yield self._missing_sentence(missing)

    def _print(self, lines: Iterator[str]) -> int:
        for line in lines:
            self.console.print(line, markup=False, soft_wrap=True)
        return 0


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Let what a configuration asks of the cases of a data set in vain name the data set."""
    try:
        yield
    except datasets.DataError:
        raise
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def _check_backend(points: list[grid.Point], *, here: bool) -> None:
    """Refuse a backend that cannot do what is asked for; ``here``: this machine trains, and so must have it."""
    chosen = hardware.backend()
    if chosen not in MENDS:
        raise ConfigError(f"Keras' backend {chosen} is unknown: set KERAS_BACKEND to tensorflow, jax or torch")
    if chosen != "tensorflow" and any(point.settings["pipeline"]["backend"] == "miscnn" for point in points):
        raise ConfigError(
            f"pipeline.backend: miscnn needs TensorFlow, but Keras' backend is {chosen}. "
            "Use native, or set KERAS_BACKEND=tensorflow"
        )
    if chosen != "jax" and any(point.settings["training"]["devices"] > 1 for point in points):
        raise ConfigError(
            f"training.devices: only JAX lets several devices act as one, but Keras' backend is {chosen}. "
            "Set KERAS_BACKEND=jax, or use 1 and --workers, which gives each GPU runs of its own"
        )
    if points and here and find_spec(chosen) is None:
        mend = f"Install it ({MENDS[chosen]}), or set KERAS_BACKEND"
        raise ConfigError(f"Keras' backend {chosen} is not installed. {mend}")


def default_workers(jobs: list[dict[str, Any]]) -> int:
    """Return how many runs fit on the machine at once: as the GPUs can share, else what cores and memory allow."""
    if devices := hardware.gpus():
        return max(1, len(devices) // max((job["training"]["devices"] for job in jobs), default=1))
    threads = max(job["training"]["threads"] for job in jobs)
    memory = max(job["memory_gib"] for job in jobs)
    return max(1, min(cores() // threads, int(cost.free_memory_gib() / memory)))


def note_death(job: Mapping[str, Any], reason: str, tell: Callable[[str], None]) -> None:
    """Write why the worker of a run died, unless another command has taken the run over."""
    run = store.Run(Path(job["folder"]))
    try:
        with run.claimed() as mine:
            if mine and not run.complete(job["evaluation"]):
                run.update(state="failed", reason=reason)
    except OSError as error:  # a full disk may be what the worker died of
        tell(f"{run.folder} cannot be written: {error.strerror or error}")


def check_disk(folder: Path, jobs: list[dict[str, Any]], workers: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        ConfigError: If there is less space than the runs are forecast to take.
    """
    kept, passing = zip(*(job["disk_gib"] for job in jobs), strict=True)
    needed, free = sum(kept) + workers * max(passing), shutil.disk_usage(folder).free / 2**30
    if free < needed:
        raise ConfigError(
            f"{folder} has {free:.1f} GiB of disk free, and the runs that are due take about {needed:.1f}. "
            "Make room, or give another folder with --results"
        )
