"""The command line of every script: its options, where files lie that it does not name, how it tells what is wrong."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rareseg import datasets
from rareseg.experiments import hardware
from rareseg.experiments._yaml import ConfigError
from rareseg.experiments.config import PROFILES

WIDTH = 120
"""Columns of the output where there is no terminal."""


def parser(table: str) -> argparse.ArgumentParser:
    """Return the parser of a table's script, or of ``compare``, which takes a configuration."""
    own = table == "compare"
    found = argparse.ArgumentParser(
        prog="compare_losses.py" if own else f"reproduce_{table}.py",
        description="Train and score losses on any data set or your own folder, and compare them."
        if own
        else f"Train and score the runs of {table}, and compare them with the published table.",
        allow_abbrev=False,
    )
    if own:
        found.add_argument("config", type=Path, help="YAML file, as configs/example_folder.yaml")
    for add in (_what, add_places, _how):
        add(found)
    return found


def add_profile(found: argparse.ArgumentParser) -> None:
    """Add what says which profile."""
    found.add_argument(
        "--profile",
        default="paper",
        choices=PROFILES,
        help="paper: the file as it stands, for tables the published protocol (default); cpu: real data on two cores; "
        "demo: phantoms, minutes",
    )


def _what(found: argparse.ArgumentParser) -> None:
    """Add what says which runs."""
    add_profile(found)
    found.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE[,KEY=VALUE]",
        help="keep the runs that match; a second --only is 'or'; keys: dataset, network, loss, seed, swept arguments",
    )
    found.add_argument(
        "--set", action="append", default=[], metavar="KEY.KEY=VALUE", help="change a value of the configuration"
    )
    found.add_argument("--seeds", metavar="0-4", help="other seeds")


def add_places(found: argparse.ArgumentParser) -> None:
    """Add what says where files lie."""
    add_data(found)
    found.add_argument("--results", type=Path, help="where everything goes (default: results/<profile>/)")


def _how(found: argparse.ArgumentParser) -> None:
    """Add what says what to do."""
    found.add_argument(
        "--workers", type=positive, help="runs at once (default: what cores, threads and free memory allow)"
    )
    found.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on a Ray cluster (auto, HOST:PORT); needs uv sync --inexact --extra cluster",
    )
    found.add_argument(
        "--track",
        metavar="mlflow:URI",
        help="copy parameters, curves and files of each run to MLflow, as to mlflow:sqlite:///runs.db; "
        "needs uv sync --inexact --extra tracking",
    )
    found.add_argument(
        "--dry-run", action="store_true", help="say what would be run, at what cost, and what data is missing"
    )
    found.add_argument(
        "--measure", action="store_true", help="with --dry-run: time steps and samples on this machine, print hours"
    )
    found.add_argument(
        "--report-only", action="store_true", help="make the tables from what is stored, without training"
    )
    found.add_argument("--case", default="", metavar="ID", help="the test case shown in figures")
    found.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="KEY",
        help="say what every key of the configuration means, its default, its value and where that comes from",
    )


def positive(text: str) -> int:
    """Read a whole number from 1, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


IDLE = {
    ("workers", "ray"): "the cluster decides how many runs there are at once",
    ("ray", "report_only"): "nothing is trained",
    ("track", "report_only"): "nothing is trained",
}
"""Option, another beside which it does nothing, and why."""


def check(asked: argparse.Namespace) -> None:
    """Refuse options that would be ignored.

    Raises:
        ConfigError: Names the option, and the other that it needs or cannot have.
    """
    if asked.measure and not asked.dry_run:
        raise ConfigError("--measure goes with --dry-run; give both")
    for (option, other), reason in IDLE.items():
        if getattr(asked, option) and getattr(asked, other):
            names = f"--{option} does nothing beside --{other.replace('_', '-')}"
            raise ConfigError(f"{names}: {reason}; leave one of them out")


def guarded(work: Callable[[], int], results: Path | None = None) -> int:
    """Return the exit code of a command; what the user must change is one sentence, and an interruption is one.

    Args:
        work: The command.
        results: Where everything goes, if it has such a folder.
    """
    try:
        return work()
    except (ConfigError, datasets.DataError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(_refused(error, results), file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted; what was finished is saved. Go on with the same command", file=sys.stderr)
        return 130
    return 2


def _refused(error: OSError, results: Path | None) -> str:
    """Return one sentence for what the system refused; another folder helps where it is a file of the results."""
    cause = error.strerror or error
    if error.filename is None:
        return f"a file cannot be read or written: {cause}. Make room, or correct permissions"
    inside = results is not None and Path(error.filename).absolute().is_relative_to(results.absolute())
    remedy = "give another folder with --results" if inside else "correct its permissions"
    return f"{error.filename} cannot be read or written: {cause}. Make room, or {remedy}"


def seeds(text: str) -> list[int]:
    """Read ``0-4`` or ``0,2,5``."""
    try:
        first, dash, last = text.partition("-")
        found = list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text}: expected 0-4 or 0,2,5") from error
    if not found:
        raise ConfigError(f"--seeds {text}: the range is empty")
    if len(set(found)) < len(found):
        raise ConfigError(f"--seeds {text}: expected different seeds")
    return found


def again(table: str, asked: argparse.Namespace) -> str:
    """Return the call that makes the same results: its backend, script, profile, selection, changes and seeds.

    Where data and results lie is left out: reports are committed, and the folders of one machine say nothing elsewhere.
    """
    script = ["compare_losses.py", str(asked.config)] if "config" in asked else [f"reproduce_{table}.py"]
    call = [*switch(), "uv", "run", f"scripts/{script[0]}", *script[1:], "--profile", asked.profile]
    for option, values in (("--only", asked.only), ("--set", asked.set), ("--seeds", [asked.seeds])):
        call += [text for value in values if value for text in (option, value)]
    return shlex.join(call)


def switch() -> list[str]:
    """Return what goes before a command so that it takes the same backend; nothing where that is TensorFlow."""
    backend = hardware.backend()
    return [] if backend == "tensorflow" else [f"KERAS_BACKEND={backend}"]


def add_data(parser: argparse.ArgumentParser, usual: Path | None = None) -> None:
    """Add ``--data``, which is ``RARESEG_DATA`` where it is not given, and ``usual`` where that is not set either."""
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("RARESEG_DATA") or usual,
        help="folder that holds one folder per data set (default: RARESEG_DATA, else data/)",
    )


def root() -> Path:
    """Return the clone that the script lies in, or the working folder where there is none."""
    script = Path(sys.argv[0]).resolve()
    return (
        script.parents[1]
        if script.parent.name == "scripts" and (script.parents[1] / "configs").is_dir()
        else Path.cwd()
    )


def results(asked: argparse.Namespace) -> Path:
    """Return where everything goes, by profile where no folder is asked for."""
    return asked.results or root() / "results" / asked.profile


def configuration(table: str) -> Path:
    """Return the configuration of a table."""
    return _mine_or_packaged("configs", "rareseg.configs", f"{table}.yaml")


def published(table: str) -> Path:
    """Return the published values of a table, which a user may have completed; no file where nothing was published."""
    return _mine_or_packaged("results/published", "rareseg.published", f"{table}.csv")


def _mine_or_packaged(folder: str, package: str, file: str) -> Path:
    """Return the clone's file, where there is one, or the packaged copy."""
    mine = root() / folder / file
    if mine.is_file():
        return mine
    from importlib import resources

    return Path(str(resources.files(package).joinpath(file)))
