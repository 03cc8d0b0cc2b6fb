"""Figures of a benchmark: one line each, a dated record, an exit status."""

import argparse
import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rareseg.datasets import whole
from rareseg.experiments.hardware import processor, versions

RECORDS = Path(__file__).parents[1] / "results" / "record" / "benchmarks"


@dataclass(frozen=True)
class Figure:
    """One number.

    Args:
        name: What was measured.
        value: The number.
        target: What it must not exceed; None where nothing is promised.
        at_least: Whether ``target`` is what it must reach instead.
    """

    name: str
    value: float
    target: float | None = None
    at_least: bool = False

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        """Return the line that is printed."""
        target = "(no target)" if self.target is None else f"(target {'>=' if self.at_least else '<='} {self.target:g})"
        return f"{self.name}: {self.value:.2f} {target} {'ok' if self.ok else 'short'}"


def arguments(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have; it shows the first line of a benchmark's docstring."""
    parser = argparse.ArgumentParser(description=docstring and docstring.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements, under a minute")
    parser.add_argument("--record", type=Path, default=RECORDS, help="folder of the dated record")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    return parser


def finish(
    benchmark: str,
    how: str,
    measuring: Iterable[Figure],
    options: argparse.Namespace,
    backend: str | None = None,
) -> int:
    """Print figures as they come and record them; return 1 where one is short of its target, else 0.

    Whoever stops a benchmark keeps what was measured; the record then says that it is not complete.

    Args:
        benchmark: Name of the file.
        how: How it was measured, one sentence.
        measuring: Yields them.
        options: Of the command line.
        backend: Keras' backend of all figures; None where each names its own, or none computes with it.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    other = backend if backend != "tensorflow" else None
    name = "-".join(filter(None, (benchmark, options.quick and "quick", other, today)))
    path = options.record / f"{name}.json"
    content = {"benchmark": benchmark, "how": how, "date": today, "quick": options.quick, "complete": False}
    content |= {"processor": processor(), "backend": backend, "versions": versions()}
    figures: list[Figure] = []
    for figure in measuring:
        print(figure, flush=True)
        figures.append(figure)
        _write(path, content, figures)
    _write(path, {**content, "complete": True}, figures)
    short = [figure for figure in figures if not figure.ok]
    print(f"{len(figures) - len(short)} ok, {len(short)} short; {path}")
    return 1 if short else 0


def _write(path: Path, content: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    listed = [{**asdict(figure), "ok": figure.ok} for figure in figures]
    whole.write(path, json.dumps({**content, "figures": listed}, indent=1) + "\n")
