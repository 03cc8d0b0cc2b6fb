"""What benchmarks record."""

import json
import runpy
from argparse import Namespace
from pathlib import Path

RECORD = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "record.py"))


def test_a_record_names_its_backend_and_replaces_no_record_of_another(tmp_path):
    options = Namespace(record=tmp_path, quick=False)
    for backend in (None, "tensorflow", "jax"):
        name = "losses" if backend is None else "models"
        assert RECORD["finish"](name, "by hand", [RECORD["Figure"]("one", 1.0)], options, backend) == 0
    found = {path.name.partition("-2")[0]: json.loads(path.read_text())["backend"] for path in tmp_path.iterdir()}
    assert found == {"losses": None, "models": "tensorflow", "models-jax": "jax"}
