"""The command with which people start: data sets verified, reported, split, cached, and drawn to be looked at."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from rareseg import datasets, pipeline
from rareseg.experiments import cli, contact_sheet, store
from rareseg.experiments.config import ConfigError

PLANS: dict[str, dict[str, Any]] = {
    "isic2018": {"size": [192, 256], "scaling": "unit", "channels": 3, "fractions": [0.8, 0, 0.2]},
    "dsb2018": {"size": [256, 256], "scaling": "unit", "channels": 3, "fractions": [0.8, 0, 0.2]},
    "drive": {"scaling": "unit", "channels": 3, "kind": "official"},
    "cvc_clinicdb": {"size": [288, 384], "scaling": "zscore", "channels": 3},
    "bus2017": {"size": [128, 128], "scaling": "zscore", "channels": 3},
    "brats2020": {"scaling": "zscore"},
    "kits19": {"spacing": (3.22, 1.62, 1.62), "scaling": "zscore"},
    "folder": {"scaling": "zscore"},
}
"""What the published protocols give the networks, and how they split; 64:16:20 and whole images unless said."""

COLUMNS = (
    "dataset", "part", "class", "data", "cases", "cases_in_paper", "left_out", "groups", "size", "input",
    "train", "validation", "test", "mean_percent", "pooled_percent", "least_percent", "most_percent",
    "inside_fov_percent", "objects", "faults", "warnings",
)  # fmt: skip
_HEADS = ("data set", "class", "data", "cases", "size", "input", "train / val / test", "mean %", "from - to %")

_WIDE = ("class", "size", "input")  # columns that may take two lines


def main(arguments: list[str] | None = None) -> int:
    """Prepare the data sets that are asked for; return the exit code.

    Returns:
        0 all are ready, with warnings where one is a subset; 2 the user must change something; 130 interrupted.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else cli.WIDTH)
    options = _parser().parse_args(arguments)
    try:
        with store.locked(options.results):
            return Command(options, console).run()
    except (ConfigError, datasets.DataError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        place = error.filename or options.results
        print(f"{place} cannot be written ({error.strerror or error}); make room, or give --results", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted; what was cached stays. Go on with the same command.", file=sys.stderr)
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prepare.py",
        description="Verify, report, split and cache data sets, and draw a sheet of cases to look at.",
        epilog=f"data sets: {', '.join(datasets.names())}, or folder for your own images and masks",
        allow_abbrev=False,
    )
    parser.add_argument("keys", nargs="*", metavar="KEY", help="data sets (default: all that are there)")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("RARESEG_DATA") or cli.root() / "data",
        help="folder that holds one folder per data set (default: RARESEG_DATA, else data/)",
    )
    parser.add_argument(
        "--phantoms", type=Path, metavar="DIR", help="draw phantoms below DIR and prepare those instead"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=cli.root() / "results" / "prepare",
        help="where everything goes (default: results/prepare/)",
    )
    parser.add_argument(
        "--group-by",
        default="none",
        metavar="NAME",
        help="what a split keeps on one side: none (default), image, sequence, or a fact of the cases",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    parser.add_argument("--no-cache", action="store_true", help="keep no prepared cases")
    return parser


@dataclass(frozen=True)
class Prepared:
    """What became of one data set.

    Attributes:
        report: What reading it showed.
        rows: Lines of the table, by `COLUMNS`.
    """

    report: Any
    rows: list[dict[str, Any]]


class Command:
    """One call.

    Args:
        options: Parsed command line.
        console: Where to print.
    """

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        known = (*datasets.names(), "folder")
        unknown = [key for key in options.keys if key not in known]
        if unknown:
            raise ConfigError(f"unknown data set `{unknown[0]}`. Known are {', '.join(known)}")
        if options.workers < 1:
            raise ConfigError(f"--workers {options.workers}: expected a whole number from 1")
        self.root = options.phantoms or Path(options.data)
        self.keys = options.keys or self._present()

    def run(self) -> int:
        """Do it for every data set; return the exit code."""
        done: dict[str, Prepared] = {}
        failed: list[str] = []
        for key in self.keys:
            try:
                done[key] = self._prepare(key)
            except datasets.DataError as error:
                failed.append(str(error))
        if done:
            self._write_tables(done)
        for key, one in done.items():
            if one.report.faults:
                count, first = len(one.report.faults), one.report.faults[0]
                failed.append(f"{key}: {count} cases cannot be used, the first: {first}")
        for sentence in failed:
            print(sentence, file=sys.stderr)
        return 2 if failed else 0

    def _present(self) -> list[str]:
        """Return the data sets whose folders are there, or all for phantoms."""
        if self.options.phantoms:
            return list(datasets.names())
        found = [key for key in datasets.names() if (self.root / key).is_dir()]
        if not found:
            raise ConfigError(
                f"{self.root} holds no folder of a data set: expected one of {', '.join(datasets.names())}. "
                "Give --data, or try --phantoms DIR"
            )
        return found

    def _prepare(self, key: str) -> Prepared:
        began = time.monotonic()
        folder = self.root / key
        if self.options.phantoms and key != "folder":
            datasets.make_phantoms(key, folder)
        dataset = datasets.open(key, folder)
        with self._progress(f"{key}: reading", len(dataset.cases)) as step:
            report = dataset.report(lambda _: step(), self.options.workers)
        self.console.print(str(report), markup=False, soft_wrap=True)
        good = [check.case for check in report.checks]
        if not good:
            raise datasets.DataError(f"{key}: none of {len(dataset.cases)} cases can be used. {report.faults[0]}")
        home = self.options.results / key
        if dataset.phantom:
            store.write(home / "PHANTOM.txt", "Every file here was computed on phantoms.\n")
        store.write(home / "report.txt", f"{report}\n")
        parts = self._split(key, good, home)
        title = f"{key}: {'phantoms, ' if dataset.phantom else ''}{len(good)} cases, {', '.join(dataset.classes[1:])}"
        store.write(home / "cases.png", contact_sheet.draw(title, contact_sheet.chosen(good)))
        shape = self._cache(key, good)
        self.console.print(f"  {time.monotonic() - began:.0f} s; all files: {home}", markup=False, soft_wrap=True)
        return Prepared(report, _rows(report, parts, shape))

    def _split(self, key: str, cases: Sequence[Any], home: Path) -> Mapping[str, Sequence[Any]] | None:
        """Write the published split; say in a line what it mixes, or why there is none."""
        plan = PLANS[key]
        config = {"fractions": plan.get("fractions", [0.64, 0.16, 0.2]), "group_by": self.options.group_by}
        kind = plan.get("kind", "official" if {"training", "test"} <= {case.part for case in cases} else "random")
        try:
            parts = datasets.split(cases, {**config, "kind": kind})
        except datasets.DataError as error:
            self.console.print(f"  warning: no split was written: {error}", markup=False, soft_wrap=True)
            return None
        datasets.write_split(home / "split.csv", parts)
        sides = Counter(group for part in parts.values() for group in {case.group for case in part})
        mixed = sum(count > 1 for count in sides.values())
        if mixed:
            self.console.print(
                f"  warning: the split puts {mixed} of {len(sides)} groups on several sides, as the papers do; "
                "--group-by sequence keeps them together",
                markup=False,
                soft_wrap=True,
            )
        return parts

    def _cache(self, key: str, cases: Sequence[Any]) -> str:
        """Prepare the cases for the networks and keep them; return the size that reaches a network."""
        plan = PLANS[key]
        cases = [case for case in cases if all(path.is_file() for path in (case.image, *case.labels))]
        if self.options.no_cache or not cases:
            return ""
        settings = {name: plan[name] for name in ("size", "scaling", "channels") if name in plan}
        with self._progress(f"{key}: caching", len(cases)) as step:
            if "spacing" not in plan:
                prepared = pipeline.prepare_all(
                    cases, settings, workers=self.options.workers, progress=lambda *_: step()
                )
            else:  # one size per case, and one case at a time: a scan may need a gigabyte
                prepared = []
                for case in cases:
                    prepared.append(pipeline.prepare(case, {**settings, "size": resampled(case, plan["spacing"])}))
                    step()
        return _sizes([one.shape for one in prepared])

    @contextmanager
    def _progress(self, text: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar in a terminal; yield what moves it on."""
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(text, total=total)
            yield lambda: progress.advance(task)

    def _write_tables(self, done: Mapping[str, Prepared]) -> None:
        rows = [row for one in done.values() for row in one.rows]
        store.write_rows(self.options.results / "table.csv", COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
        lines = [_short_row(row) for row in rows if row["part"] == "all"]
        store.write(self.options.results / "table.md", _markdown(lines, any(row["data"] == "phantom" for row in rows)))
        table = Table(*(Column(head, no_wrap=head not in _WIDE) for head in _HEADS[:-1]), box=SIMPLE)
        for line in lines:
            table.add_row(*line[:-1])  # the last column is in the report above
        self.console.print(table)
        for key, one in done.items():
            if one.report.dataset.state == "subset":
                count, full = len(one.report.dataset.cases), one.report.dataset.full_size
                self.console.print(
                    f"warning: {key} is a subset, {count} of {full} cases: its numbers are not the papers'",
                    markup=False,
                )


def resampled(case: Any, spacing: Sequence[float]) -> list[int]:
    """Return the voxels per axis that a case has at another spacing, in millimetres."""
    return [
        max(1, round(length * mine / wanted))
        for length, mine, wanted in zip(case.shape, case.spacing, spacing, strict=True)
    ]


def _rows(report: Any, parts: Mapping[str, Sequence[Any]] | None, shape: str) -> list[dict[str, Any]]:
    """Return a row per official part and class."""
    official = sorted({check.case.part for check in report.checks} - {""})
    rows = []
    for part in ("all", *(official if len(official) > 1 else ())):
        checks = [check for check in report.checks if part in ("all", check.case.part)]
        for number, name in enumerate(report.dataset.classes[1:], start=1):
            rows.append(_row(report, checks, part, number, name) | _division(parts) | {"input": shape})
    return rows


def _division(parts: Mapping[str, Sequence[Any]] | None) -> dict[str, int | None]:
    return {name: None if parts is None else len(parts[name]) for name in ("train", "validation", "test")}


def _row(report: Any, checks: Sequence[Any], part: str, number: int, name: str) -> dict[str, Any]:
    """Return what the table says of one class; percentages of the pixels, mean over cases."""
    dataset = report.dataset
    shares = np.array([check.share(number) for check in checks])
    pixels = [int(check.counts.sum()) for check in checks]
    inside = [check.inside for check in checks if check.inside is not None]
    objects = [check.case.info["objects"] for check in checks if "objects" in check.case.info]
    return {
        "dataset": dataset.key,
        "part": part,
        "class": name,
        "data": dataset.state,
        "cases": len(checks),
        "cases_in_paper": dataset.full_size or None,
        "left_out": len(dataset.left_out),
        "groups": len({check.case.group for check in checks}),
        "size": _sizes([check.shape[:-1] for check in checks]),
        "mean_percent": round(100 * float(shares.mean()), 4),
        "pooled_percent": round(100 * float(np.average(shares, weights=pixels)), 4),
        "least_percent": round(100 * float(shares.min()), 4),
        "most_percent": round(100 * float(shares.max()), 4),
        "inside_fov_percent": round(100 * float(np.mean(inside)), 4) if inside else None,
        "objects": sum(objects) if objects else None,
        "faults": len(report.faults),
        "warnings": len(report.warnings),
    }


def _sizes(shapes: Sequence[tuple[int, ...]]) -> str:
    """Return the size that all share, or the mean of several: ``288 x 384``, ``mean 570 x 760``."""
    mean = " x ".join(f"{length:.0f}" for length in np.mean(shapes, axis=0))
    return mean if len({*shapes}) == 1 else f"mean {mean}"


def _short_row(row: Mapping[str, Any]) -> list[str]:
    """Return a line of the console's and Markdown's table, by `_HEADS`."""
    cases = f"{row['cases']} of {row['cases_in_paper']}" if row["cases_in_paper"] else f"{row['cases']}"
    parts = "" if row["train"] is None else f"{row['train']} / {row['validation']} / {row['test']}"
    return [
        row["dataset"], row["class"], row["data"], cases, row["size"], row["input"], parts,
        f"{row['mean_percent']:.4f}", f"{row['least_percent']:.2f} - {row['most_percent']:.2f}",
    ]  # fmt: skip


def _markdown(lines: Sequence[Sequence[str]], phantom: bool) -> str:
    head = ["Some of these data are phantoms, drawn by a program.", ""] if phantom else []
    table = [_HEADS, ["---"] * len(_HEADS), *lines]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in table)]) + "\n"
