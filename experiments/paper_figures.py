"""The figures of both papers, gathered from what the tables' reports draw; what has not been run is drawn as missing.

Nothing is trained. Figures that are computed from the losses alone stand in ``docs/losses``, where a test holds them
against the losses; here they are copied.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from rareseg import datasets
from rareseg.datasets import whole
from rareseg.experiments import options, store
from rareseg.experiments.config import ConfigError

COMPUTED = {  # name here -> name in docs/losses
    "all-1": "adaptive_log",
    "ufl-1": "family",
    "ufl-2": "focal_modulation",
}
SWEPT = {"ufl_table2": "cvc_clinicdb", "ufl_table3": "drive", "ufl_table4": "bus2017"}


class Drawn(NamedTuple):
    """A figure of a paper that a table's report draws.

    Attributes:
        name: What it is called here.
        table: The table whose runs it shows.
        figure: What it is called among that table's figures.
        title: What it shows.
    """

    name: str
    table: str
    figure: str
    title: str


DRAWN = (
    Drawn("all-2a", "table3", "roc-isic2018-unet", "ALL, Fig. 2a: ROC, ISIC 2018"),
    Drawn("all-2b", "table3", "roc-dsb2018-unet", "ALL, Fig. 2b: ROC, DSB 2018"),
    Drawn("all-3a", "table3", "curves-isic2018-unet", "ALL, Fig. 3: loss and Jaccard, ISIC 2018"),
    Drawn("all-3b", "table3", "curves-dsb2018-unet", "ALL, Fig. 3: loss and Jaccard, DSB 2018"),
    Drawn("all-3c", "table3", "curves-drive-unet", "ALL, Fig. 3: loss and Jaccard, DRIVE"),
    Drawn("ufl-4a", "ufl_table2", "examples-cvc_clinicdb-unet", "UFL, Fig. 4: CVC-ClinicDB"),
    Drawn("ufl-4b", "ufl_table3", "examples-drive-unet", "UFL, Fig. 4: DRIVE"),
    Drawn("ufl-4c", "ufl_table4", "examples-bus2017-unet", "UFL, Fig. 4: BUS2017"),
    Drawn("ufl-5", "ufl_table5", "examples-brats2020-unet", "UFL, Fig. 5: BraTS20"),
    Drawn("ufl-6", "ufl_table6", "examples-kits19-unet", "UFL, Fig. 6: KiTS19"),
)


def main(arguments: list[str] | None = None) -> int:
    """Draw all figures below ``<results>/figures/``; return 0, or 2 where the user must change something."""
    asked = _parser().parse_args(arguments)
    results = options.results(asked)
    return options.guarded(lambda: _draw(asked, results), results)


def _draw(asked: argparse.Namespace, results: Path) -> int:
    if not (results / "runs").is_dir():
        raise ConfigError(f"{results} holds no runs. Run a table first, as scripts/reproduce_table3.py --profile demo")
    known = dict.fromkeys([*(one.table for one in DRAWN), *SWEPT])
    tables = {table: _cases(results / table) for table in known if (results / table).is_dir()}
    if asked.case and not any(asked.case in cases for cases in tables.values()):
        raise ConfigError(f"--case {asked.case}: no table in {results} has a test case of this name")
    for table, cases in tables.items():
        if code := _report(table, asked, results, asked.case if asked.case in cases else ""):
            return code
    console = Console(highlight=False, width=None if sys.stdout.isatty() else options.WIDTH)
    with store.locked(results, lambda sentence: console.print(sentence, markup=False, soft_wrap=True)):
        for name, found in _figures(results):
            console.print(f"{name:8} {found}", markup=False, soft_wrap=True)
    console.print(f"All files: {results / 'figures'}", markup=False, soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="reproduce_figures.py",
        description="Draw the figures of both papers from stored runs; nothing is trained.",
        allow_abbrev=False,
    )
    options.add_profile(found)
    options.add_places(found)
    found.add_argument("--case", default="", metavar="ID", help="the case shown in example figures, where a set has it")
    return found


def _report(table: str, asked: argparse.Namespace, results: Path, case: str) -> int:
    """Bring the figures of a table up to date; ``case`` is empty where none of its data sets has the one asked for."""
    from rareseg.experiments.cli import main as run

    places = ["--results", str(results), *(["--data", str(asked.data)] if asked.data else [])]
    return run(table, ["--profile", asked.profile, "--report-only", *places, *(["--case", case] if case else [])])


def _cases(table: Path) -> set[str]:
    """Return the test cases of a table's data sets."""
    return {case for path in (table / "splits").glob("*.csv") for case in datasets.read_split(path)["test"]}


def _figures(results: Path) -> Iterator[tuple[str, str]]:
    """Write the figures; yield the name of each with what became of it."""
    folder = results / "figures"
    for name, source in COMPUTED.items():
        yield name, _copy(options.root() / "docs" / "losses" / f"{source}.svg", folder / f"{name}.svg")
    for one in DRAWN:
        sources = [results / one.table / "figures" / f"{one.figure}.{kind}" for kind in ("svg", "png")]
        if all(source.is_file() for source in sources):
            for source in sources:
                whole.write(folder / f"{one.name}{source.suffix}", source.read_bytes())
            yield one.name, f"{one.title}, from {one.table}"
        else:
            yield one.name, _missing(folder / one.name, one.title, one.table)
    yield "ufl-3", _over_gamma(results, folder / "ufl-3")


def _copy(source: Path, target: Path) -> str:
    if not source.is_file():
        return f"left out: {source.name} lies in the clone's docs/losses, and there is no clone here"
    whole.write(target, source.read_bytes())
    return f"computed from the losses, as docs/losses/{source.name}"


def _missing(path: Path, title: str, table: str) -> str:
    """Draw that something has not been run, and how to run it."""
    from rareseg.experiments import figures

    command = f"scripts/reproduce_{table}.py"
    figures.missing(title, f"not run: {command}", path)
    return f"missing: {command} has not been run"


def _over_gamma(results: Path, path: Path) -> str:
    """Draw UFL's Figure 3 from the sweeps of three tables."""
    import pandas as pd

    from rareseg.experiments import comparisons, layout, pictures, stored

    panels, seen = {}, {}
    for table, dataset in SWEPT.items():
        long, _, sweep = stored.read_tables(results / table)
        panels |= {dataset: pictures.gamma_panels(sweep, long).get(dataset, {})}
        seen |= {table: long} if panels[dataset] else {}
    if not any(panels.values()):
        return _missing(path, "UFL, Fig. 3: DSC over gamma", next(iter(SWEPT)))
    data = layout.data_of(pd.concat(seen.values()))
    comparisons.over_gamma(panels, "UFL, Fig. 3: DSC over gamma", path, data=data)
    return f"UFL, Fig. 3: DSC over gamma, from {', '.join(seen)}"
