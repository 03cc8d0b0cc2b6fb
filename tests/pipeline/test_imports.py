import os
import re
import subprocess
import sys
from pathlib import Path

HEAVY = ("keras", "tensorflow", "jax", "torch", "scipy", "numba", "pandas", "skimage", "miscnn")


def test_the_package_imports_no_backend_and_nothing_slow():
    code = "import sys, rareseg.pipeline, rareseg.pipeline.augment, rareseg.pipeline.prediction\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = answer.stdout.split()
    assert "rareseg.pipeline.patches" in loaded
    assert not set(HEAVY) & set(loaded)


def test_miscnn_is_imported_in_one_file():
    """It is GPL-3.0; the README says that all imports of it stand there, by name or as text."""
    importing = re.compile(r"^\s*(from|import) miscnn\b|import_module\(f?[\"']miscnn", re.MULTILINE)
    files = (Path(__file__).parents[2] / "pipeline").glob("*.py")
    assert [file.name for file in files if importing.search(file.read_text(encoding="utf-8"))] == ["miscnn.py"]


def test_jax_makes_batches_without_tensorflow_and_refuses_the_bridge():
    code = """
import sys, types
import numpy as np
from rareseg.pipeline import Batches
place, pixels = (slice(None), slice(None)), np.ones((4, 4, 1), np.uint8)
case = types.SimpleNamespace(
    id="a", group="a", part="", shape=(4, 4), spacing=None, info={}, kind=lambda image: "",
    state=lambda: "", read_mask=lambda: None,
    image_slabs=lambda: iter([(place, pixels)]), label_slabs=lambda: iter([(place, pixels[..., 0])]))
print(Batches([case], {"batch_size": 2}, seed=0)[0][0].shape, "tensorflow" in sys.modules)
try:
    Batches([case], {"backend": "miscnn"}, seed=0)
except ImportError as error:
    print(error, "tensorflow" in sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    first, second = answer.stdout.splitlines()
    assert first == "(2, 4, 4, 1) False"
    assert second.startswith("MIScnn needs TensorFlow, Keras runs on jax")
    assert second.endswith("False")
