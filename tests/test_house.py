"""The house as the design draws it: who imports whom, what no file may call, what is generated is current."""

import ast
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("losses", "models", "datasets", "pipeline", "evaluation", "experiments")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
HEAVY = {"keras", "tensorflow", "jax", "torch", "miscnn", "pandas", "scipy", "numba", "matplotlib"}
ALLOWED = {  # which of the heavy packages a folder may import
    "losses": {"keras"},
    "models": {"keras"},
    "datasets": {"scipy"},
    "pipeline": {"keras", "scipy", "numba"},
    "evaluation": {"pandas", "scipy"},
    "experiments": {"keras", "pandas", "scipy", "numba", "matplotlib"},
}
EXCEPTIONS = {  # the only files that touch more, most of it what lies below Keras, and why
    "losses/distance.py": {"scipy"},  # the distance transform, imported inside its function
    "models/normalisation.py": {"tensorflow"},  # its fused operation
    "pipeline/miscnn.py": {"miscnn", "tensorflow"},  # the bridge
    "experiments/session.py": {"tensorflow"},  # XLA off on the CPU
    "experiments/worker.py": {"tensorflow", "torch"},  # threads and determinism
    "experiments/hardware.py": {"tensorflow", "jax", "torch"},  # names of devices
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_what_its_folder_may(path):
    name = str(path.relative_to(ROOT))
    allowed = ALLOWED[path.parent.name] | EXCEPTIONS.get(name, set())
    assert set(imported(path)) & HEAVY <= allowed


FORBIDDEN = ("eval", "exec", "compile", "load_model")
FORBIDDEN_WORDS = ("pickle.", "yaml.load(", "allow_pickle=True", "shell=True", "unsafe_load")


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "scripts").glob("*.py"))], ids=lambda path: path.name)
def test_nothing_runs_code_that_comes_with_data(path):
    text = path.read_text(encoding="utf-8")
    called = {
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & set(FORBIDDEN)
    assert not [word for word in FORBIDDEN_WORDS if word in text]


def test_import_contracts_hold():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_folder_became_a_top_level_package():
    assert not [name for name in FOLDERS if str(getattr(sys.modules.get(name), "__file__", "")).startswith(str(ROOT))]


def test_the_catalogue_is_what_the_signatures_say():
    from rareseg.experiments import catalogue

    stored = resources.files("rareseg.configs").joinpath("catalogue.json").read_text(encoding="utf-8")
    assert stored == catalogue.generate(), "run: uv run scripts/update_catalogue.py"


def test_size_factors_of_the_catalogue_are_those_of_the_networks():
    from rareseg import models
    from rareseg.experiments import catalogue

    for name in models.presets():
        assert catalogue.size_factor({"name": name}) == models.size_factor(name)


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("reproduce_*.py")), ids=lambda path: path.name)
def test_a_script_is_a_docstring_and_a_call(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert [type(node) for node in body] == [ast.Expr, ast.ImportFrom, ast.Raise]


def test_metadata_names_one_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {version} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "record").rglob("*.*")), ids=lambda path: path.name)
def test_records_hold_no_image_of_a_data_set(path):
    assert path.suffix in (".csv", ".md", ".tex", ".json", ".svg", ".png", ".txt")
    assert "examples" not in path.name
