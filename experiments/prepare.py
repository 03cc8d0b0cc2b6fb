"""The command with which people start: data sets verified, reported, split, cached, and drawn to be looked at."""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from rareseg import datasets, pipeline
from rareseg.datasets import whole
from rareseg.datasets.facts import cache_folder, cores, forget
from rareseg.experiments import config, contact_sheet, inventory, store
from rareseg.experiments.cases import open_dataset
from rareseg.experiments.catalogue import nearest
from rareseg.experiments.config import ConfigError
from rareseg.experiments.options import WIDTH, add_data, guarded, positive, root
from rareseg.pipeline.preprocess import STEPS

PROGRESS_SECONDS = 30


def main(arguments: list[str] | None = None) -> int:
    """Prepare the data sets that are asked for; return the exit code.

    Returns:
        0 all are ready, with warnings where one is a subset; 2 the user must change something; 130 interrupted.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    options = _parser().parse_args(arguments)

    def work() -> int:
        with store.locked(options.results, lambda sentence: console.print(sentence, markup=False, soft_wrap=True)):
            return Command(options, console).run()

    return guarded(work, options.results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prepare.py",
        description="Verify, report, split and cache data sets, and draw a sheet of cases to look at.",
        epilog=f"data sets: {', '.join(datasets.names())}, folder for your own images and masks, or one of --config",
        allow_abbrev=False,
    )
    parser.add_argument("keys", nargs="*", metavar="KEY", help="data sets (default: all that are there)")
    add_data(parser, root() / "data")
    parser.add_argument(
        "--phantoms", type=Path, metavar="DIR", help="draw phantoms below DIR and prepare those instead"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=root() / "results" / "prepare",
        help="where everything goes (default: results/prepare/)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="prepare what this configuration asks for, also your own data (default: all that lie in configs/)",
    )
    parser.add_argument(
        "--profile",
        default="paper",
        choices=[name for name in config.PROFILES if name != "demo"],
        help="of the configurations (default: paper)",
    )
    parser.add_argument(
        "--group-by",
        metavar="NAME",
        help="what a split keeps on one side: none, image, sequence, or a fact of the cases (default: as configured)",
    )
    parser.add_argument("--afresh", action="store_true", help="verify every file again, also those that did not change")
    parser.add_argument("--workers", type=positive, default=cores(), help="threads (default: one per core)")
    parser.add_argument("--no-cache", action="store_true", help="keep no prepared cases")
    return parser


@dataclass(frozen=True)
class Prepared:
    """What became of one data set.

    Attributes:
        reports: What reading it showed, by each plan.
        rows: Lines of the table, by `COLUMNS`.
    """

    reports: list[Any]
    rows: list[dict[str, Any]]

    @property
    def faults(self) -> list[str]:
        """Why cases cannot be used, each once."""
        return list(dict.fromkeys(str(fault) for report in self.reports for fault in report.faults))


class Command:
    """One call.

    Args:
        options: Parsed command line.
        console: Where to print.
    """

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        files = [options.config] if options.config else sorted((root() / "configs").glob("*.yaml"), key=_tables_first)
        self.plans = inventory.plans(files, options.profile)
        unknown = [key for key in options.keys if key not in (*datasets.names(), *self.plans, "folder")]
        if unknown:
            known = dict.fromkeys((*datasets.names(), *self.plans, "folder"))
            raise ConfigError(f"unknown data set `{unknown[0]}`{nearest(unknown[0], known)}")
        self.root = options.phantoms or Path(options.data)
        self.keys = options.keys or self._present()

    def run(self) -> int:
        """Do it for every data set; return the exit code."""
        done: dict[str, Prepared] = {}
        failed: list[str] = []
        if self.options.afresh:
            for folder in {self._folder(key, plan) for key in self.keys for plan in inventory.planned(self.plans, key)}:
                forget(folder)
        for key in self.keys:
            try:
                done[key] = self._prepare(key)
            except datasets.DataError as error:
                failed.append(str(error))
        if done:
            self._write_tables(done)
        for key, one in done.items():
            if one.faults:
                failed.append(f"{key}: {len(one.faults)} cases cannot be used, the first: {one.faults[0]}")
        for sentence in failed:
            print(sentence, file=sys.stderr)
        return 2 if failed else 0

    def _present(self) -> list[str]:
        """Return the data sets whose folders are there, or all for phantoms."""
        known = list(self.plans) if self.options.config else list(datasets.names())
        if self.options.phantoms:
            drawn = [key for key in known if key in datasets.names()]
            if not drawn:
                raise ConfigError(
                    f"{self.options.config} names no data set that phantoms can stand for: expected one of "
                    f"{', '.join(datasets.names())}. Leave out --phantoms"
                )
            return drawn
        found = [key for key in known if self._folder(key, inventory.planned(self.plans, key)[0]).is_dir()]
        if not found:
            around = (self.root.absolute().parent, *(self.root.iterdir() if self.root.is_dir() else ()))
            near = [place for place in around if any((place / key).is_dir() for key in known)]
            raise ConfigError(
                f"{self.root} holds no folder of a data set: expected one of {', '.join(known)}. "
                + (f"{near[0]} does: give it as --data" if near else "Give --data, or try --phantoms DIR")
            )
        return found

    def _folder(self, key: str, plan: inventory.Plan) -> Path:
        """Return where the files of a data set lie."""
        own = None if self.options.phantoms else plan.section["path"]
        return Path(own).expanduser() if own else self.root / key

    def _prepare(self, key: str) -> Prepared:
        """Verify a data set, then split, draw and cache it as each plan says."""
        began = time.monotonic()
        if self.options.phantoms and key in datasets.names():
            datasets.make_phantoms(key, self.root / key)
        home = self.options.results / key
        rows: list[dict[str, Any]] = []
        reports, told = [], ""
        for plan in inventory.planned(self.plans, key):
            dataset = open_dataset(key, self._folder(key, plan), plan.section)
            report = self._report(key, dataset)
            reports.append(report)
            good = [check.case for check in report.checks]
            if told != (told := str(report)):
                self._show(key, report, good, home)
            parts = self._split(key, plan, [check.known for check in report.checks], home)
            rows += inventory.rows_of(key, report, plan, parts, self._cache(key, plan, good))
        self._say(f"{time.monotonic() - began:.0f} s; all files: {home}")
        return Prepared(reports, rows)

    def _report(self, key: str, dataset: datasets.Dataset) -> Any:
        """Read every case, or recall what was read."""
        with self._progress(f"{key}: reading", len(dataset.cases)) as step:
            report = dataset.report(lambda _: step(), self.options.workers, remember=True)
        if not report.checks:
            raise datasets.DataError(f"{key}: none of {len(dataset.cases)} cases can be used. {report.faults[0]}")
        return report

    def _show(self, key: str, report: Any, cases: Sequence[Any], home: Path) -> None:
        """Print and write what reading showed, and draw cases."""
        self.console.print(str(report), markup=False, soft_wrap=True)
        mark = home / "PHANTOM.txt"
        if report.dataset.phantom:
            whole.write(mark, "Every file here was computed on phantoms.\n")
        else:
            mark.unlink(missing_ok=True)  # of phantoms that were prepared before
        whole.write(home / "report.txt", f"{report}\n")
        what = f"{'phantoms, ' if report.dataset.phantom else ''}{len(cases)} cases"
        title = f"{key}: {what}, {', '.join(report.dataset.classes[1:])}"
        sheet = contact_sheet.draw(title, contact_sheet.chosen(cases), workers=self.options.workers)
        whole.write(home / "cases.png", sheet)

    def _split(
        self, key: str, plan: inventory.Plan, cases: Sequence[Any], home: Path
    ) -> Mapping[str, Sequence[Any]] | None:
        """Write a plan's split; say in a line what it mixes, or why there is none."""
        path = home / f"{plan.name}.csv"
        path.unlink(missing_ok=True)  # of other cases, where none is written now
        if plan.patches:
            self._say(f"{', '.join(plan.tables)}: no split is written, since patches are divided, not images")
            return None
        division = dict(plan.section["split"])
        if self.options.group_by:
            division["group_by"] = self.options.group_by
        if not plan.tables and {"training", "test"} <= {case.part for case in cases}:
            division["kind"] = "official"
        try:
            parts = datasets.split(cases, division)
        except (datasets.DataError, ValueError) as error:
            self._say(f"warning: no split was written: {error}")
            return None
        datasets.write_split(path, parts)
        sides = Counter(group for part in parts.values() for group in {case.group for case in part})
        mixed = sum(count > 1 for count in sides.values())
        if mixed:
            precedent = ", as the papers do" if key in datasets.names() else ""
            remedy = "; --group-by sequence keeps them together" if division["kind"] in ("random", "folds") else ""
            self._say(f"warning: the split puts {mixed} of {len(sides)} groups on several sides{precedent}{remedy}")
        return parts

    def _say(self, text: str) -> None:
        """Print a line below what is said of a data set."""
        self.console.print(f"  {text}", markup=False, soft_wrap=True)

    def _cache(self, key: str, plan: inventory.Plan, cases: Sequence[Any]) -> str:
        """Prepare the cases for the networks and keep them; return the size that reaches a network."""
        cases = [case for case in cases if all(path.is_file() for path in (case.image, *case.labels))]
        if self.options.no_cache or not cases:
            return ""
        whole.sweep(cache_folder() / "prepared")
        settings = {name: plan.section[name] for name in STEPS}
        with self._progress(f"{key}: caching", len(cases)) as step:
            prepared = pipeline.prepare_all(cases, settings, workers=self.options.workers, progress=lambda *_: step())
        return inventory.sizes([one.shape for one in prepared])

    @contextmanager
    def _progress(self, text: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar in a terminal, else a line every half minute; yield what moves it on, from any thread."""
        if not self.console.is_terminal:
            yield Lines(self.console, text, total).step
            return
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task(text, total=total)
            yield lambda: progress.advance(task)

    def _write_tables(self, done: Mapping[str, Prepared]) -> None:
        rows = [row for one in done.values() for row in one.rows]
        inventory.write(self.options.results, rows)
        self.console.print(inventory.console(rows))
        for key, one in done.items():
            if subsets := [report.dataset for report in one.reports if report.dataset.state == "subset"]:
                count, full = len(subsets[0].cases), subsets[0].full_size
                self.console.print(
                    f"warning: {key} is a subset, {count} of {full} cases: its numbers are not the papers'",
                    markup=False,
                )


def _tables_first(path: Path) -> tuple[bool, str]:
    return "table" not in path.stem, path.stem


class Lines:
    """Progress where there is no terminal.

    Args:
        console: Where to print.
        text: What is done.
        total: How many steps there are.
    """

    def __init__(self, console: Console, text: str, total: int) -> None:
        self._console, self._text, self._total = console, text, total
        self._done, self._printed, self._lock = 0, time.monotonic(), threading.Lock()

    def step(self) -> None:
        """Count a step."""
        with self._lock:
            self._done += 1
            if time.monotonic() - self._printed > PROGRESS_SECONDS:
                self._printed = time.monotonic()
                self._console.print(f"  {self._text} {self._done} of {self._total}", markup=False)
