"""How many faults the tests of losses and evaluation notice: a sample of mutants, each against its folder's tests.

Cosmic Ray makes the mutants: ``uv run --with cosmic-ray benchmarks/mutants.py``. Files of the project are not touched.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from process import ONE_THREAD
from record import Figure, arguments, finish

ROOT = Path(__file__).parents[1]
FIRST = {  # what notices most comes first; the others follow
    "evaluation": ["test_verdict.py", "test_statistics.py", "test_overlap.py"],
    "losses": ["test_golden.py", "test_interface.py", "test_reference.py", "test_contract.py", "test_relations.py"],
}
HOW = (
    "mutants drawn evenly (seed 0) from all of Cosmic Ray's, less those that only change annotations or are no "
    "programs; each in a copy of its folder, one thread; noticed: the folder's fast tests (with --quick one file of "
    "them) fail, or last a minute plus, for each worker, three times what they take without a fault"
)


class Mutant(NamedTuple):
    """A file with one fault."""

    path: Path
    line: int
    operator: str
    source: str

    def __str__(self) -> str:
        """Return where and what the fault is."""
        return f"{self.path.relative_to(ROOT)} line {self.line}, {self.operator.removeprefix('core/')}"


def main() -> int:
    """Sample, test, print and record."""
    parser = arguments(__doc__)
    parser.add_argument("folders", nargs="*", default=list(FIRST), help="folders of the package (default: both)")
    parser.add_argument("--count", type=int, default=200, help="mutants of each folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="mutants tested at once")
    options = parser.parse_args()
    return finish("mutants", HOW, _figures(options), options, ONE_THREAD["KERAS_BACKEND"])


def _figures(options: argparse.Namespace) -> Iterator[Figure]:
    for folder in options.folders:
        sample = mutants(folder, 2 if options.quick else options.count)
        tests = [ROOT / "tests" / folder / name for name in FIRST[folder]]
        tests = tests[:1] if options.quick else [*tests, ROOT / "tests" / folder]
        start = time.monotonic()
        if not passes(tests, folder, None, limit=None):
            raise RuntimeError(f"the tests of {folder} fail without any fault: mend them first")
        limit = 60 + 3 * options.workers * (time.monotonic() - start)
        with ThreadPoolExecutor(options.workers) as pool:
            survived = list(pool.map(partial(passes, tests, folder, limit=limit), sample))
        for mutant in (one for one, passed in zip(sample, survived, strict=True) if passed):
            yield Figure(f"not noticed: {mutant}", 1)
        share = 1 - sum(survived) / len(sample)
        target = None if options.quick else 0.9
        yield Figure(f"share of {len(sample)} mutants of {folder} that the tests notice", share, target, at_least=True)


def mutants(folder: str, count: int) -> list[Mutant]:
    """Return a sample of the mutants of a folder."""
    from cosmic_ray import mutating, plugins  # pyright: ignore[reportMissingImports]
    from cosmic_ray.commands.init import init  # pyright: ignore[reportMissingImports]
    from cosmic_ray.work_db import WorkDB, use_db  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as place, use_db(Path(place, "all.sqlite"), WorkDB.Mode.create) as database:
        init(sorted((ROOT / folder).glob("*.py")), database, {})
        found = [mutation for item in database.work_items for mutation in item.mutations]
    found.sort(key=lambda one: (str(one.module_path), one.operator_name, one.occurrence))
    random.Random(0).shuffle(found)
    chosen = []
    for one in found:
        original = one.module_path.read_text(encoding="utf-8")
        operator = plugins.get_operator(one.operator_name)(**one.operator_args)
        source = mutating.mutate_code(original, operator, one.occurrence)
        if source is not None and _meaning(source) not in (None, _meaning(original)):
            chosen.append(Mutant(one.module_path, one.start_pos[0], one.operator_name, source))
        if len(chosen) == count:
            break
    return chosen


def passes(tests: Sequence[Path], folder: str, mutant: Mutant | None, limit: float | None) -> bool:
    """Return whether tests of a folder pass, with a mutant in the place of its file.

    Args:
        tests: Files and folders, in the order in which they are run.
        folder: Of the package.
        mutant: None tests the folder as it is.
        limit: Seconds after which the tests count as failed.
    """
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "rareseg", folder)  # a part of the namespace package that is found before the installed one
        shutil.copytree(ROOT / folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant:
            (copy / mutant.path.name).write_text(mutant.source, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--tb=no"]
        command += ["--deselect", "tests/losses/test_backends.py", *map(str, tests)]
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": place}
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _meaning(source: str) -> str | None:
    """Return a program without its annotations; None if it is none, as where a bare * became an operator."""
    with suppress(SyntaxError):
        return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))


if __name__ == "__main__":
    raise SystemExit(main())
