"""The package answers at once: what costs seconds is imported when it is asked for."""

import subprocess
import sys

import pytest

import rareseg.evaluation

HEAVY = ("pandas", "scipy", "keras", "tensorflow", "skimage", "sklearn")


def loaded_after(statement):
    """Return which heavy modules a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_loads_nothing_heavy():
    assert loaded_after("import rareseg.evaluation") == []


def test_tables_load_no_backend():
    assert set(loaded_after("from rareseg.evaluation import table_long")) <= {"pandas", "scipy"}


@pytest.mark.parametrize("name", rareseg.evaluation.__all__)
def test_every_public_name_is_there(name):
    assert getattr(rareseg.evaluation, name) is not None
    assert name in dir(rareseg.evaluation)


def test_unknown_names_are_refused_as_usual():
    with pytest.raises(AttributeError, match=r"module 'rareseg\.evaluation' has no attribute 'dice'"):
        _ = rareseg.evaluation.dice
